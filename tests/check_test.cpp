// What a check finds, damage by damage, in the files of real shelves. Repair: check_repair_test.cpp; salvage:
// check_salvage_test.cpp.
#include <doctest/doctest.h>
#include <unistd.h>

#include "catalogue/run.hpp"
#include "check_files.hpp"
#include "format/crc32c.hpp"

using namespace pymm;
using namespace pymm::test;
using namespace pymm::format;

namespace {

void expect_found(const SampleShelf& shelf, std::string_view structure) {
    const auto map = file_bytes(shelf.map), data = file_bytes(shelf.data);
    const CheckReport report = shelf.check();
    INFO(text_of(report));
    CHECK(mentions(report, structure));
    CHECK(report.exit_code() == 4);
    CHECK(report.uncorrected() > 0);
    CHECK(report.backup.empty());
    // Without repair not a byte changes.
    CHECK(file_bytes(shelf.map) == map);
    CHECK(file_bytes(shelf.data) == data);
}

}  // namespace

TEST_CASE("a sound shelf is clean, and its figures are right") {
    const SampleShelf shelf;
    const CheckReport report = shelf.check(Repair::none, true);
    INFO(text_of(report));
    CHECK(report.findings.empty());
    CHECK(report.exit_code() == 0);
    CHECK(report.blobs == shelf.contents.size());
    CHECK(report.leaked == 0);
    std::uint64_t bytes = 0;
    for (const auto& [name, info] : shelf.infos) bytes += info.extent;
    CHECK(report.bytes > bytes);  // headers, too
    CHECK(shelf.root().run_count > 1);
    // Repair of what needs none changes nothing.
    const auto map = file_bytes(shelf.map), data = file_bytes(shelf.data);
    CHECK(shelf.check(Repair::all).exit_code() == 0);
    CHECK(file_bytes(shelf.map) == map);
    CHECK(file_bytes(shelf.data) == data);
}

TEST_CASE("a shelf that a crash left is clean: its log is a note") {
    const SampleShelf shelf(40, false);
    const CheckReport report = shelf.check();
    INFO(text_of(report));
    CHECK(report.exit_code() == 0);
    CHECK(report.blobs == shelf.contents.size());
    for (const Finding& f : report.findings) CHECK(f.severity == Severity::note);
}

TEST_CASE("an empty shelf, and one that was never written, are clean") {
    const Scratch scratch;
    Namespace::open(scratch.path()).create("s", {.capacity = 1 << 20}).close();
    const CheckReport report = check(scratch.path(), "s");
    INFO(text_of(report));
    CHECK(report.findings.empty());
    CHECK(report.blobs == 0);
}

TEST_CASE("superblocks") {
    SampleShelf shelf;
    SUBCASE("first copy: checksum") { flip(shelf.map, 100); expect_found(shelf, "superblock copy 0"); }
    SUBCASE("second copy: magic") { flip(shelf.map, 4096); expect_found(shelf, "superblock copy 1"); }
    SUBCASE("both") {
        flip(shelf.map, 200);
        flip(shelf.map, 4296);
        expect_found(shelf, "superblock copy 0");
    }
    SUBCASE("an old copy") {
        Superblock sb = shelf.root();
        sb.generation -= 5;
        seal_superblock(sb);
        overwrite(shelf.map, 0, &sb, sizeof sb);
        expect_found(shelf, "superblock copy 0");
    }
    SUBCASE("two of one generation that differ") {
        Superblock sb = shelf.root();
        ++sb.blobs;
        seal_superblock(sb);
        overwrite(shelf.map, 4096, &sb, sizeof sb);
        expect_found(shelf, "superblock copy 1");
    }
    SUBCASE("numbers out of range under a right checksum") {
        Superblock sb = shelf.root();
        sb.log_offset = sb.capacity;
        shelf.write_root(sb);
        expect_found(shelf, "superblock copy");
    }
    SUBCASE("counters") {
        Superblock sb = shelf.root();
        SUBCASE("blobs") { ++sb.blobs; }
        SUBCASE("used") { sb.used += 64; }
        SUBCASE("next run") { sb.next_run_id = 1; }
        shelf.write_root(sb);
        expect_found(shelf, "superblock copy");
    }
    SUBCASE("next id") {
        Superblock sb = shelf.root();
        sb.next_id = 1;
        shelf.write_root(sb);
        expect_found(shelf, "entry");
    }
    SUBCASE("ids used up, says the superblock: it can be read, not written, and mended without a guess") {
        Superblock sb = shelf.root();
        SUBCASE("the last one") { sb.next_id = UINT64_MAX; }
        SUBCASE("the limit") { sb.next_id = kIdLimit; }
        shelf.write_root(sb);
        expect_found(shelf, "superblock copy");
        CHECK(shelf.missing().empty());
        {
            Shelf s = Namespace::open(shelf.path).shelf("s");
            CHECK_THROWS_AS(s.put("new", filled(10, 1), Type::value(Kind::bytes)), CorruptError);
            CHECK_THROWS_AS(s.erase("again"), CorruptError);
        }
        CHECK(shelf.missing().empty());
        CHECK(shelf.check(Repair::safe).exit_code() == 1);
        CHECK(shelf.root().next_id < kIdLimit);
        CHECK(shelf.missing().empty());
        Shelf s = Namespace::open(shelf.path).shelf("s");
        s.put("new", filled(10, 1), Type::value(Kind::bytes));
        for (const auto& [name, info] : shelf.infos) REQUIRE(s.find("new")->id != info.id);
    }
}

TEST_CASE("a newer format is refused, not judged") {
    const SampleShelf shelf;
    Superblock sb = shelf.root();
    SUBCASE("incompatible features") {
        sb.incompat = 4;
        shelf.write_root(sb);
        CHECK_THROWS_AS(shelf.check(), VersionError);
        CHECK_THROWS_AS(shelf.check(Repair::all), VersionError);
    }
    SUBCASE("features that allow reading: looked at, not mended") {
        sb.ro_compat = 4;
        shelf.write_root(sb);
        CHECK(shelf.check().exit_code() == 0);
        CHECK_THROWS_AS(shelf.check(Repair::safe), VersionError);
    }
}

TEST_CASE("the data header") {
    const SampleShelf shelf;
    SUBCASE("magic") { flip(shelf.data, 0); expect_found(shelf, "data header"); }
    SUBCASE("checksum") { flip(shelf.data, 33); expect_found(shelf, "data header"); }
    SUBCASE("the mark of use") {
        const std::uint32_t none = 0;
        overwrite(shelf.data, 12, &none, sizeof none);
        expect_found(shelf, "data header");
    }
}

TEST_CASE("the files of two shelves mixed up: said, and never mended") {
    const SampleShelf shelf;
    const SampleShelf other;
    std::filesystem::copy_file(other.data, shelf.data, std::filesystem::copy_options::overwrite_existing);
    expect_found(shelf, "data header");
    const auto map = file_bytes(shelf.map);
    CHECK(shelf.check(Repair::all).exit_code() == 4);
    CHECK(file_bytes(shelf.map) == map);
}

TEST_CASE("files that are missing, short or none at all") {
    SampleShelf shelf;
    SUBCASE("no .map") {
        std::filesystem::remove(shelf.map);
        const CheckReport report = shelf.check();
        CHECK(mentions(report, "map file"));
        CHECK(report.exit_code() == 4);
    }
    SUBCASE("no .data") {
        std::filesystem::remove(shelf.data);
        CHECK(mentions(shelf.check(), "data file"));
        CHECK(shelf.check(Repair::all).exit_code() == 4);
    }
    SUBCASE("neither") {
        std::filesystem::remove(shelf.map);
        std::filesystem::remove(shelf.data);
        CHECK_THROWS_AS(shelf.check(), NotFoundError);
    }
    SUBCASE("a short .map") {
        std::filesystem::resize_file(shelf.map, 8192);
        expect_found(shelf, "map file");
    }
    SUBCASE("a .data cut short") {
        std::filesystem::resize_file(shelf.data, 1 << 20);
        expect_found(shelf, "data file");
    }
    SUBCASE("a .data of a page") {
        std::filesystem::resize_file(shelf.data, 4096);
        expect_found(shelf, "data file");
    }
    SUBCASE("a .data that has grown") {
        std::filesystem::resize_file(shelf.data, 17 << 20);
        expect_found(shelf, "data file");
    }
    SUBCASE("a directory in place of the .map") {
        std::filesystem::remove(shelf.map);
        std::filesystem::create_directory(shelf.map);
        CHECK(shelf.check().exit_code() == 4);
        CHECK(shelf.check(Repair::all).exit_code() == 4);
    }
    SUBCASE("no directory") { CHECK_THROWS_AS(check(shelf.path + "/none", "s"), NotFoundError); }
    SUBCASE("no name") { CHECK_THROWS_AS(check(shelf.path, "../s"), InvalidArgumentError); }
}

TEST_CASE("runs: each page of each run") {
    const SampleShelf shelf;
    const Superblock root = shelf.root();
    for (std::uint32_t r = 0; r < root.run_count; ++r)
        for (std::uint64_t page = 0; page < root.runs[r].size / kPage; ++page) {
            const std::uint64_t at = root.runs[r].offset + page * kPage + 40;
            const std::string name = "run " + std::to_string(root.runs[r].run_id) + " page " + std::to_string(page);
            CAPTURE(name);
            flip(shelf.data, at);
            CHECK(mentions(shelf.check(), name));
            flip(shelf.data, at);
        }
    CHECK(shelf.check().clean());
}

TEST_CASE("the zone table") {
    const SampleShelf shelf;
    flip(shelf.data, shelf.root().zone_offset);
    expect_found(shelf, "zone table");
}

TEST_CASE("zones that are wrong under a right checksum") {
    const SampleShelf shelf;
    Superblock root = shelf.root();
    Zone zone;
    const auto bytes = file_bytes(shelf.data);
    std::memcpy(&zone, bytes.data() + root.zone_offset, sizeof zone);
    zone.free += 4096;
    overwrite(shelf.data, root.zone_offset, &zone, sizeof zone);
    root.zone_crc = crc32c(&zone, sizeof zone);
    shelf.write_root(root);
    expect_found(shelf, "zone 0");
}

TEST_CASE("the log") {
    const SampleShelf shelf(43, false);
    const Superblock root = shelf.root();
    const auto bytes = file_bytes(shelf.data);
    std::vector<std::uint64_t> commits;
    for (std::uint64_t at = 0; at < root.log_size;) {
        CommitHeader header;
        std::memcpy(&header, bytes.data() + root.log_offset + at, sizeof header);
        if (header.magic != kCommitMagic || header.salt != root.log_salt) break;
        commits.push_back(root.log_offset + at);
        at += (header.size + 63) / 64 * 64;
    }
    REQUIRE(commits.size() > 2);
    SUBCASE("a commit in the middle") {
        flip(shelf.data, commits[commits.size() / 2] + 60);
        expect_found(shelf, "log commit");
    }
    SUBCASE("the first") {
        flip(shelf.data, commits[0]);
        expect_found(shelf, "log commit");
    }
    SUBCASE("the last reads as torn: a note") {
        flip(shelf.data, commits.back() + 60);
        const CheckReport report = shelf.check();
        INFO(text_of(report));
        CHECK(report.exit_code() == 0);
        CHECK(std::any_of(report.findings.begin(), report.findings.end(),
                          [](const Finding& f) { return f.found.find("cut short") != std::string::npos; }));
    }
}

TEST_CASE("extent headers") {
    const SampleShelf shelf;
    const BlobInfo& info = shelf.infos.at("small/7");
    SUBCASE("damaged") { flip(shelf.data, info.offset - 60); }
    SUBCASE("the descriptor in it") {
        const BlobInfo& wide = shelf.infos.at("structured");
        const auto bytes = file_bytes(shelf.data);
        const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        const auto at = all.find("('field33'");
        REQUIRE(at != std::string_view::npos);
        CHECK(wide.size == 1920);
        flip(shelf.data, at);
    }
    expect_found(shelf, "extent header");
}

TEST_CASE("a check takes no writer's shelf for repair, and looks at it without") {
    const SampleShelf shelf;
    Shelf open = Namespace::open(shelf.path).shelf("s");
    CHECK(shelf.check().clean());
    CHECK_THROWS_AS(shelf.check(Repair::safe), BusyError);
    open.put("more", filled(100, 1));
    const CheckReport report = shelf.check();
    INFO(text_of(report));
    CHECK(report.findings.empty());
    CHECK(report.blobs == shelf.contents.size() + 1);
}

TEST_CASE("a damaged commit beside a live writer is found") {
    const SampleShelf shelf;
    Shelf open = Namespace::open(shelf.path).shelf("s");
    for (unsigned i = 0; i < 5; ++i) open.put("more/" + std::to_string(i), filled(100, i), Type::value(Kind::bytes));
    CHECK(shelf.check().clean());
    const Superblock root = shelf.root();
    flip(shelf.data, root.log_offset + 200);
    const CheckReport report = shelf.check();
    INFO(text_of(report));
    CHECK(mentions(report, "log commit"));
    CHECK(report.exit_code() == 4);
    flip(shelf.data, root.log_offset + 200);
    CHECK(shelf.check().clean());
}

TEST_CASE("forged sizes cost neither memory nor time") {
    SampleShelf shelf;
    std::string expected = "run ";
    Superblock root = shelf.root();
    root.capacity = std::uint64_t{1} << 39;  // as much as the thread sanitizer leaves room for
    root.zone_shift = 32;
    root.zone_offset = root.zone_size = 0;
    std::filesystem::resize_file(shelf.data, root.capacity);
    SUBCASE("a filter") {
        RunRef& ref = root.runs[root.run_count - 1];
        ref.offset = std::uint64_t{1} << 36;
        ref.size = std::uint64_t{1} << 38;
        alignas(8) std::byte page[kPage]{};
        RunHeader header{};
        header.page.magic = kPageMagic;
        header.page.run_id = ref.run_id;
        header.page.type = PageType::run;
        header.uuid = root.uuid;
        header.entries = ref.entries;
        header.level = ref.level;
        header.pages = static_cast<std::uint32_t>(ref.size / kPage);
        header.leaf_start = 1;
        header.leaf_count = 1;
        header.filter_start = 2;
        header.filter_count = header.pages - 2;
        std::memcpy(page, &header, sizeof header);
        header.page.crc = crc32c(page, kPage);
        std::memcpy(page, &header, sizeof header);
        overwrite(shelf.data, ref.offset, page, sizeof page);
    }
    SUBCASE("a log") {
        root.zone_shift = 46;
        root.capacity = std::uint64_t{1} << 56;
        expected = "data file";
        std::filesystem::resize_file(shelf.data, 64 << 20);
        root.log_offset = 32 << 20;
        root.log_size = root.capacity - root.log_offset;
        root.flags &= ~kSuperblockClean;
    }
    shelf.write_root(root);
    const CheckReport report = shelf.check();
    CHECK(report.exit_code() == 4);
    CHECK(mentions(report, expected));  // the superblock's numbers are in range
}
