// Salvage: a catalogue that is damaged or lost is made anew from what is left (fsck -y).
#include <doctest/doctest.h>

#include <set>

#include "check_files.hpp"
#include "format/crc32c.hpp"
#include "format/entry.hpp"
#include "format/type_codec.hpp"

using namespace pymm;
using namespace pymm::test;
using namespace pymm::format;

namespace {

// After a repair: sound, open, and nothing that is there under its own name has other bytes.
std::vector<std::string> salvaged(const SampleShelf& shelf, CheckReport& report) {
    report = shelf.check(Repair::all);
    INFO(text_of(report));
    CHECK(report.exit_code() == 1);
    CHECK(report.repaired);
    const CheckReport again = shelf.check(Repair::none, true);
    INFO("again: " << text_of(again));
    CHECK(again.findings.empty());
    CHECK(again.blobs == report.blobs);
    const std::vector<std::string> missing = shelf.missing();
    {
        Shelf s = Namespace::open(shelf.path).shelf("s");
        for (const BlobInfo& info : s.list()) {
            (void)s.get(info.name).bytes();
            if (info.name.starts_with("lost+found/")) continue;
            // A renamed blob whose entry is lost is known by the name that it was put under.
            const bool first_name = info.name.starts_with("old/") &&
                                    shelf.contents.contains("new/" + info.name.substr(4)) &&
                                    !s.contains("new/" + info.name.substr(4));
            CHECK_MESSAGE((first_name || shelf.contents.contains(info.name)), info.name);
        }
        for (const auto& [name, bytes] : shelf.contents) {
            if (!s.contains(name)) continue;
            const View view = s.get(name);
            CHECK_MESSAGE(std::equal(view.bytes().begin(), view.bytes().end(), bytes.begin(), bytes.end()), name);
        }
        for (int i = 0; i < 100; ++i) s.put("fresh/" + std::to_string(i), filled(600, static_cast<unsigned>(i)));
        s.close();
    }
    CHECK(shelf.check().findings.empty());
    return missing;
}

}  // namespace

TEST_CASE("the superblocks are lost") {
    for (const bool closed : {true, false}) {
        CAPTURE(closed);
        for (const int kind : {0, 1, 2}) {
            CAPTURE(kind);
            SampleShelf shelf(43, closed);
            const std::vector<std::byte> zeros(kMapSize);
            if (kind == 0) overwrite(shelf.map, 0, zeros.data(), zeros.size());
            if (kind == 1) std::filesystem::remove(shelf.map);
            if (kind == 2) std::filesystem::resize_file(shelf.map, 100);
            CheckReport report;
            CHECK(salvaged(shelf, report) == std::vector<std::string>{});
            CHECK(report.salvaged >= shelf.contents.size());
            CHECK(std::filesystem::file_size(shelf.map) == kMapSize);
        }
    }
}

TEST_CASE("superblocks and data header are lost") {
    SampleShelf shelf;
    const std::vector<std::byte> zeros(kMapSize);
    overwrite(shelf.map, 0, zeros.data(), zeros.size());
    overwrite(shelf.data, 0, zeros.data(), kPage);
    CheckReport report;
    CHECK(salvaged(shelf, report) == std::vector<std::string>{});
}

TEST_CASE("the whole catalogue is lost: blobs with extents are found, small values are not") {
    SampleShelf shelf;
    const Superblock root = shelf.root();
    const std::vector<std::byte> zeros(16 << 20);
    overwrite(shelf.map, 0, zeros.data(), kMapSize);
    // Every page and every commit that was ever written, those given back included.
    auto bytes = file_bytes(shelf.data);
    for (std::uint64_t at = kDataStart; at < bytes.size(); at += 64) {
        std::uint32_t magic;
        std::memcpy(&magic, &bytes[at], sizeof magic);
        if (magic == kPageMagic || magic == kCommitMagic) overwrite(shelf.data, at, zeros.data(), 4);
    }
    CHECK(root.run_count > 0);
    CheckReport report;
    const std::vector<std::string> missing = salvaged(shelf, report);
    CHECK(report.lost_found > 0);
    // Whatever had an extent is under lost+found, with its name and its bytes.
    Shelf s = Namespace::open(shelf.path).shelf("s", Mode::read_only);
    std::set<std::vector<std::byte>> found;
    for (const BlobInfo& info : s.list("lost+found/")) {
        const View view = s.get(info.name);
        found.emplace(view.bytes().begin(), view.bytes().end());
    }
    for (const auto& [name, info] : shelf.infos)
        if (!info.inlined) CHECK_MESSAGE(found.contains(shelf.contents.at(name)), name);
}

TEST_CASE("a leaf page is lost: its blobs with extents come back") {
    const SampleShelf sample;
    const Superblock first = sample.root();
    REQUIRE(first.run_count > 1);
    for (std::uint32_t r = 0; r < first.run_count; ++r) {
        CAPTURE(r);
        SampleShelf shelf;
        const Superblock root = shelf.root();
        const auto bytes = file_bytes(shelf.data);
        RunHeader header;
        std::memcpy(&header, bytes.data() + root.runs[r].offset, sizeof header);
        if (header.leaf_count == 0) continue;
        flip(shelf.data, root.runs[r].offset + kPage * (header.leaf_start + header.leaf_count / 2) + 500);
        CheckReport report;
        for (const std::string& name : salvaged(shelf, report)) {
            CAPTURE(name);
            // Small values stood only there; a renamed blob is found under its first name.
            CHECK((shelf.infos.at(name).inlined || name.starts_with("new/") || report.lost_found > 0));
        }
    }
}

TEST_CASE("a run's header page is lost: everything is still there") {
    SampleShelf shelf;
    flip(shelf.data, shelf.root().runs[0].offset + 70);
    CheckReport report;
    CHECK(salvaged(shelf, report) == std::vector<std::string>{});
}

TEST_CASE("a commit in the log is damaged: the later ones count") {
    SampleShelf shelf(43, false);
    const Superblock root = shelf.root();
    const auto bytes = file_bytes(shelf.data);
    CommitHeader header;
    std::memcpy(&header, bytes.data() + root.log_offset, sizeof header);
    REQUIRE(header.magic == kCommitMagic);
    flip(shelf.data, root.log_offset + sizeof header + 20);
    CheckReport report;
    const std::vector<std::string> missing = salvaged(shelf, report);
    CHECK(missing.size() <= 2);
}

TEST_CASE("a data file cut short: what is left whole is kept, the rest told") {
    SampleShelf shelf(40, true, 1 << 20);
    std::uint64_t end = 0;
    for (const auto& [name, info] : shelf.infos) end = std::max(end, info.offset + info.extent);
    std::filesystem::resize_file(shelf.data, (end / 2 & ~(kPage - 1)) + 100);
    CheckReport report;
    report = shelf.check(Repair::all);
    INFO(text_of(report));
    CHECK(report.exit_code() == 1);
    CHECK(shelf.check().findings.empty());
    Shelf s = Namespace::open(shelf.path).shelf("s", Mode::read_only);
    for (const BlobInfo& info : s.list()) {
        if (info.name.starts_with("lost+found/")) continue;
        const View view = s.get(info.name);
        const auto& want = shelf.contents.at(info.name);
        CHECK(std::equal(view.bytes().begin(), view.bytes().end(), want.begin(), want.end()));
    }
}

TEST_CASE("two names that claim one extent: the one that its header confirms keeps it") {
    SampleShelf shelf(43, false);
    // An entry in the log is redirected to another blob's bytes, under a right checksum.
    const Superblock root = shelf.root();
    auto bytes = file_bytes(shelf.data);
    bool done = false;
    for (std::uint64_t at = root.log_offset; at < root.log_offset + root.log_size && !done;) {
        CommitHeader header;
        std::memcpy(&header, &bytes[at], sizeof header);
        if (header.magic != kCommitMagic || header.salt != root.log_salt) break;
        for (std::uint64_t r = at + sizeof header; r < at + header.size;) {
            RecordHeader record;
            std::memcpy(&record, &bytes[r], sizeof record);
            Entry entry;
            if (record.type == 1) std::memcpy(&entry, &bytes[r + sizeof record], sizeof entry);
            if (record.type == 1 && (entry.flags & kEntryInline) == 0 && entry.size >= kPage) {
                entry.offset = shelf.infos.at("page/1").offset;
                std::memcpy(&bytes[r + sizeof record], &entry, sizeof entry);
                header.crc = 0;
                std::memcpy(&bytes[at], &header, sizeof header);
                header.crc = crc32c(&bytes[at], header.size);
                std::memcpy(&bytes[at], &header, sizeof header);
                overwrite(shelf.data, at, &bytes[at], header.size);
                done = true;
                break;
            }
            r += record.size;
        }
        at += (header.size + 63) / 64 * 64;
    }
    REQUIRE(done);
    CHECK(mentions(shelf.check(), "extents"));
    // Its extent header still tells where its own bytes are.
    CheckReport report;
    CHECK(salvaged(shelf, report) == std::vector<std::string>{});
}

TEST_CASE("nothing at all to salvage is said, and nothing is changed") {
    SampleShelf shelf;
    const std::vector<std::byte> zeros(16 << 20);
    overwrite(shelf.map, 0, zeros.data(), kMapSize);
    overwrite(shelf.data, 0, zeros.data(), zeros.size());
    const CheckReport report = shelf.check(Repair::all);
    CHECK(report.exit_code() == 4);
    CHECK_FALSE(report.repaired);
    CHECK(file_bytes(shelf.data) == zeros);
}

TEST_CASE("a progress of repairs: repaired twice is repaired once") {
    SampleShelf shelf;
    flip(shelf.data, shelf.root().runs[0].offset + kPage + 200);
    CheckReport report;
    (void)salvaged(shelf, report);
    CHECK(shelf.check(Repair::all).exit_code() == 0);
}

namespace {

// Inline values until `until` says that it is enough.
template <class F>
void put_values(SampleShelf& shelf, Shelf& s, const std::string& prefix, F&& until) {
    for (unsigned i = 0; i < 5000 && !until(); ++i)
        shelf.put(s, prefix + std::to_string(i), filled(200, i), Type::value(Kind::bytes));
}

// Where the header of the blob is whose data begin at `offset`; 0: nowhere any more.
std::uint64_t header_of(const SampleShelf& shelf, std::uint64_t offset) {
    const auto bytes = file_bytes(shelf.data);
    for (std::uint64_t at = kDataStart; at + sizeof(ExtentHeader) <= bytes.size(); at += kLine) {
        ExtentHeader h;
        std::memcpy(&h, bytes.data() + at, sizeof h);
        if (h.magic == kExtentMagic && h.own_offset == at && h.offset == offset) return at;
    }
    return 0;
}

}  // namespace

TEST_CASE("without a root, a log that lies where an erased blob was still counts") {
    SampleShelf shelf(0);
    {
        Shelf s = Namespace::open(shelf.path).shelf("s");
        s.put("big", filled(2 << 20, 1));
        const BlobInfo erased = *s.find("big");
        s.erase("big");
        const auto in_erased = [&] {
            const std::uint64_t log = shelf.root().log_offset;
            return s.stat().log_bytes > 3000 && log >= erased.offset && log - erased.offset < erased.extent;
        };
        // Fills what is free in front of it, and switches the log again and again.
        for (unsigned i = 0; !in_erased() && i < 500; ++i) {
            shelf.put(s, "wide/" + std::to_string(i), filled(5000, i), Type::raw());
            shelf.put(s, "value/" + std::to_string(i), filled(200, i), Type::value(Kind::bytes));
        }
        REQUIRE(in_erased());
        shelf.crash(s);
        // Headers of erased blobs stay where they are until something else comes there.
        ExtentHeader h{};
        h.uuid = shelf.root().uuid;
        h.own_offset = (16 << 20) - kPage;
        h.offset = erased.offset;
        h.extent = erased.extent;
        h.size = erased.size;
        h.id = erased.id;
        h.sequence = erased.sequence - 1;
        std::vector<std::byte> bytes;
        std::vector<std::byte> type(encoded_type_size(Type::raw()));
        encode_type(Type::raw(), type.data());
        encode_extent_header(h, "big", type, bytes);
        overwrite(shelf.data, h.own_offset, bytes.data(), bytes.size());
    }
    std::filesystem::remove(shelf.map);
    CheckReport report;
    CHECK(salvaged(shelf, report) == std::vector<std::string>{});
}

TEST_CASE("a lost page said that a name is gone, and whose its bytes are now") {
    SampleShelf shelf(0);
    const std::string second = "x/2" + std::string(60, '2');  // its header fills the hole that the first one's leaves
    {
        Shelf s = Namespace::open(shelf.path).shelf("s");
        const auto grown = [&] {
            return [&, before = shelf.root().run_count] { return shelf.root().run_count > before; };
        };
        s.put("x/1", filled(2 << 20, 1));
        const BlobInfo first = *s.find("x/1");
        put_values(shelf, s, "a/", grown());
        // No hole in front of the header.
        const std::uint64_t header = header_of(shelf, first.offset);
        for (std::uint64_t at = 0, i = 0; at < header; ++i) {
            const std::string name = "fill/" + std::to_string(i);
            shelf.put(s, name, filled(4096, static_cast<unsigned>(i)), Type::raw());
            at = header_of(shelf, s.find(name)->offset);
        }
        s.erase("x/1");
        shelf.put(s, second, filled(2 << 20, 2), Type::raw());
        REQUIRE(s.find(second)->offset == first.offset);
        const std::uint64_t now = header_of(shelf, first.offset);
        REQUIRE(now <= header);
        REQUIRE(now + 192 >= header + 128);
        put_values(shelf, s, "b/", grown());
        s.close();
    }
    const Superblock root = shelf.root();
    const auto bytes = file_bytes(shelf.data);
    const RunRef& newest = root.runs[root.run_count - 1];
    const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    std::vector<std::uint64_t> pages;
    for (std::uint32_t i = 0; i < root.run_count; ++i)
        for (std::uint64_t at = root.runs[i].offset; at < root.runs[i].offset + root.runs[i].size; at += kPage) {
            PageHeader header;
            std::memcpy(&header, bytes.data() + at, sizeof header);
            if (header.type == PageType::leaf && all.substr(at, kPage).find(second) != std::string_view::npos)
                pages.push_back(at);
        }
    CHECK(newest.entries > 0);
    REQUIRE(pages.size() == 1);
    flip(shelf.data, pages[0] + 100);
    CheckReport report;
    const auto missing = salvaged(shelf, report);
    INFO(text_of(report));
    CHECK(std::find(missing.begin(), missing.end(), second) == missing.end());
}

namespace {

// Pages of a run of values that another shelf has, without its header page, as pages of run `run_id`.
std::vector<std::byte> foreign_pages(std::uint64_t run_id) {
    SampleShelf other(0);
    {
        Shelf s = Namespace::open(other.path).shelf("s");
        for (int i = 0; i < 60; ++i) s.put("foreign/" + std::to_string(i), filled(200, 1), Type::value(Kind::bytes));
        s.close();
    }
    const Superblock root = other.root();
    const auto bytes = file_bytes(other.data);
    const RunRef& run = root.runs[root.run_count - 1];
    std::vector<std::byte> pages(bytes.begin() + static_cast<std::ptrdiff_t>(run.offset + kPage),
                                 bytes.begin() + static_cast<std::ptrdiff_t>(run.offset + run.size));
    for (std::uint64_t at = 0; at < pages.size(); at += kPage) {
        PageHeader h;
        std::memcpy(&h, &pages[at], sizeof h);
        h.run_id = run_id;
        h.crc = 0;
        std::memcpy(&pages[at], &h, sizeof h);
        h.crc = crc32c(&pages[at], kPage);
        std::memcpy(&pages[at], &h, sizeof h);
    }
    return pages;
}

}  // namespace

TEST_CASE("without a root, a blob that holds pages of a run is a blob, not a run") {
    // What says that the blob is alive: the log alone; the log and a run; a run alone.
    for (const int kind : {0, 1, 2})
        for (const std::uint64_t run_id : {0, 1000}) {  // older and newer than all of this shelf
            CAPTURE(kind);
            CAPTURE(run_id);
            SampleShelf shelf(20);
            {
                Shelf s = Namespace::open(shelf.path).shelf("s");
                shelf.put(s, "copy", foreign_pages(run_id), Type::raw());
                if (kind != 0) s.close();
                else shelf.crash(s);
            }
            const auto bytes = file_bytes(shelf.data);
            for (std::uint64_t at = kDataStart; kind == 2 && at < bytes.size(); at += kLine) {
                const std::uint32_t none = 0;
                std::uint32_t magic;
                std::memcpy(&magic, &bytes[at], sizeof magic);
                if (magic == kCommitMagic) overwrite(shelf.data, at, &none, sizeof none);
            }
            std::filesystem::remove(shelf.map);
            CheckReport report;
            CHECK(salvaged(shelf, report) == std::vector<std::string>{});
            Shelf s = Namespace::open(shelf.path).shelf("s", Mode::read_only);
            CHECK(s.list("foreign/").empty());
        }
}

TEST_CASE("without a root and its header page, a run that lies where an erased blob was still counts") {
    SampleShelf shelf(0);
    Superblock root{};
    bool in_erased = false;
    {
        Shelf s = Namespace::open(shelf.path).shelf("s");
        for (int attempt = 0; attempt < 20 && !in_erased; ++attempt) {
            const std::string big = "big/" + std::to_string(attempt), prefix = std::to_string(attempt) + "/";
            const auto grown = [&] {
                return [&, before = shelf.root().next_run_id] { return shelf.root().next_run_id > before; };
            };
            s.put(big, filled(256 << 10, 1));
            const BlobInfo erased = *s.find(big);
            // No room in front of it.
            for (std::uint64_t i = 0, at = 0; at < erased.offset; ++i) {
                const std::string name = prefix + "wide/" + std::to_string(i);
                shelf.put(s, name, filled(8192, static_cast<unsigned>(i)), Type::raw());
                at = s.find(name)->offset;
            }
            // One run says that it is alive, the next one that it is not, and takes its place.
            put_values(shelf, s, prefix + "a/", grown());
            s.erase(big);
            put_values(shelf, s, prefix + "b/", grown());
            root = shelf.root();
            const RunRef& newest = root.runs[root.run_count - 1];
            in_erased = root.run_count > 1 && newest.offset >= erased.offset && newest.offset - erased.offset < erased.extent;
        }
        REQUIRE(in_erased);
        shelf.crash(s);
    }
    flip(shelf.data, root.runs[root.run_count - 1].offset + 70);
    std::filesystem::remove(shelf.map);
    CheckReport report;
    CHECK(salvaged(shelf, report) == std::vector<std::string>{});
    CHECK_FALSE(Namespace::open(shelf.path).shelf("s", Mode::read_only).contains("big/0"));
}

namespace {

// Sequences that no shelf comes to.
constexpr std::uint64_t kForged[] = {UINT64_MAX - 1, kSequenceLimit, kSequenceLimit - 2};

}  // namespace

TEST_CASE("forged sequences of an entry") {
    for (const std::uint64_t forged : kForged) {
        CAPTURE(forged);
        SampleShelf shelf(43, false);
        const Superblock root = shelf.root();
        auto bytes = file_bytes(shelf.data);
        CommitHeader header;
        std::memcpy(&header, &bytes[root.log_offset], sizeof header);
        bool done = false;
        for (std::uint64_t at = root.log_offset + sizeof header; !done && at < root.log_offset + header.size;) {
            RecordHeader record;
            std::memcpy(&record, &bytes[at], sizeof record);
            if (record.type == 1) {
                std::memcpy(&bytes[at + sizeof record + offsetof(Entry, sequence)], &forged, sizeof forged);
                done = true;
            }
            at += record.size;
        }
        REQUIRE(done);
        header.crc = 0;
        std::memcpy(&bytes[root.log_offset], &header, sizeof header);
        header.crc = crc32c(&bytes[root.log_offset], header.size);
        std::memcpy(&bytes[root.log_offset], &header, sizeof header);
        overwrite(shelf.data, root.log_offset, &bytes[root.log_offset], header.size);
        CHECK(shelf.check().exit_code() == 4);
        CheckReport report;
        CHECK(salvaged(shelf, report) == std::vector<std::string>{});
        CHECK(shelf.root().sequence < 1 << 20);
    }
}

TEST_CASE("forged sequences of an entry, without a root") {
    for (const std::uint64_t forged : kForged) {
        CAPTURE(forged);
        SampleShelf shelf(43, false);
        const Superblock root = shelf.root();
        auto bytes = file_bytes(shelf.data);
        // In a run: it must not make the log look older than the runs.
        const std::uint64_t run = root.runs[root.run_count - 1].offset;
        RunHeader header;
        std::memcpy(&header, &bytes[run], sizeof header);
        std::byte* const page = &bytes[run + header.leaf_start * kPage];
        std::uint16_t item = 0;
        std::memcpy(&item, page + kPage - 2, sizeof item);
        std::memcpy(page + item + offsetof(Entry, sequence), &forged, sizeof forged);
        PageHeader h;
        std::memcpy(&h, page, sizeof h);
        h.crc = 0;
        std::memcpy(page, &h, sizeof h);
        h.crc = crc32c(page, kPage);
        std::memcpy(page, &h, sizeof h);
        overwrite(shelf.data, run + header.leaf_start * kPage, page, kPage);
        std::filesystem::remove(shelf.map);
        CheckReport report;
        CHECK(salvaged(shelf, report) == std::vector<std::string>{});
        CHECK(shelf.root().sequence < 1 << 20);
    }
}

TEST_CASE("forged sequences of a commit behind the end of the log") {
    for (const std::uint64_t forged : kForged) {
        CAPTURE(forged);
        SampleShelf shelf(43, false);
        const Superblock root = shelf.root();
        CommitHeader h{kCommitMagic, sizeof h, forged, root.log_salt, 0, 0, 0};
        h.crc = crc32c(&h, sizeof h);
        overwrite(shelf.data, root.log_offset + root.log_size - kLine, &h, sizeof h);
        (void)shelf.check(Repair::all);
        CHECK(shelf.check().clean());
        CHECK(shelf.missing().empty());
        CHECK(shelf.root().sequence < 1 << 20);
        Shelf s = Namespace::open(shelf.path).shelf("s");
        s.put("more", filled(10, 1), Type::value(Kind::bytes));
        s.close();
        CHECK(shelf.check().clean());
    }
}

TEST_CASE("forged sequences of extent headers, where nothing else is left") {
    for (const std::uint64_t forged : kForged) {
        CAPTURE(forged);
        SampleShelf shelf;
        auto bytes = file_bytes(shelf.data);
        for (std::uint64_t at = kDataStart; at + sizeof(ExtentHeader) <= bytes.size(); at += kLine) {
            std::uint32_t magic;
            std::memcpy(&magic, &bytes[at], sizeof magic);
            if (magic == kPageMagic || magic == kCommitMagic) std::memset(&bytes[at], 0, sizeof magic);
            ExtentHeader h;
            std::memcpy(&h, &bytes[at], sizeof h);
            if (h.magic != kExtentMagic || h.own_offset != at) continue;
            h.sequence = forged;
            h.update = 0;
            h.crc = 0;
            std::memcpy(&bytes[at], &h, sizeof h);
            h.crc = crc32c(&bytes[at], sizeof h + h.name_size + h.type_size);
            std::memcpy(&bytes[at], &h, sizeof h);
        }
        overwrite(shelf.data, 0, bytes.data(), bytes.size());
        std::filesystem::remove(shelf.map);
        CheckReport report;
        (void)salvaged(shelf, report);
        CHECK(report.lost_found > 0);
        CHECK(shelf.root().sequence < 1 << 20);
    }
}

TEST_CASE("forged sequences of the root: it can be read, not written, and mended") {
    for (const std::uint64_t forged : kForged) {
        CAPTURE(forged);
        for (const bool generation : {false, true}) {
            CAPTURE(generation);
            SampleShelf shelf;
            Superblock root = shelf.root();
            Repair repair = generation ? Repair::safe : Repair::all;
            (generation ? root.generation : root.sequence) = forged;
            shelf.write_root(root);
            CHECK(shelf.check().exit_code() == 4);
            if (forged < kSequenceLimit) {
                CHECK(shelf.missing().empty());
                Shelf s = Namespace::open(shelf.path).shelf("s");
                CHECK_THROWS_AS(s.put("new", filled(10, 1), Type::value(Kind::bytes)), CorruptError);
            } else {
                CHECK_THROWS_AS(Namespace::open(shelf.path).shelf("s"), CorruptError);
                repair = Repair::all;
            }
            CHECK(shelf.check(repair).exit_code() == 1);
            CHECK(shelf.check().clean());
            CHECK(shelf.missing().empty());
            CHECK(shelf.root().sequence < 1 << 20);
            CHECK(shelf.root().generation < 1 << 20);
            Shelf s = Namespace::open(shelf.path).shelf("s");
            s.put("new", filled(10, 1), Type::value(Kind::bytes));
        }
    }
}
