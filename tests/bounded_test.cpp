// Images made to keep a check busy: what is summed and what is touched grows with what is stored, however many structures
// are forged and whatever sizes they claim. Counted, not timed.
#include <doctest/doctest.h>

#include <dlfcn.h>
#include <sys/resource.h>

#include <atomic>
#include <random>

#include "catalogue/commit.hpp"
#include "check/checker.hpp"
#include "check_files.hpp"
#include "format/crc32c.hpp"
#include "format/crc_sweep.hpp"
#include "format/entry.hpp"
#include "format/type_codec.hpp"
#include "media/lease.hpp"
#include "memory_media.hpp"

using namespace pymm;
using namespace pymm::test;
using namespace pymm::format;

namespace {

std::atomic<std::uint64_t> summed_bytes{0};

}  // namespace

// Stands in front of isa-l's, for the library too: the dynamic linker looks in the program first.
extern "C" unsigned int crc32_iscsi(unsigned char* bytes, int size, unsigned int seed) {
    using Real = unsigned int (*)(unsigned char*, int, unsigned int);
    static const Real real = reinterpret_cast<Real>(::dlsym(RTLD_NEXT, "crc32_iscsi"));
    summed_bytes += static_cast<std::uint64_t>(size);
    return real(bytes, size, seed);
}

namespace {

/// Bytes that the library sums while this lives.
class Summed {
public:
    std::uint64_t bytes() const { return summed_bytes - before_; }

private:
    std::uint64_t before_ = summed_bytes;
};

/// Page faults of this process while this lives: a hole that is read through a mapping costs them.
class Faults {
public:
    Faults() : before_(now()) {}
    std::uint64_t count() const { return now() - before_; }

private:
    static std::uint64_t now() {
        struct rusage usage;
        ::getrusage(RUSAGE_SELF, &usage);
        return static_cast<std::uint64_t>(usage.ru_minflt + usage.ru_majflt);
    }
    std::uint64_t before_;
};

constexpr std::uint64_t kData = 16 << 20;  // of a SampleShelf
// A few times all that there is. What grew with the product of magics and sizes would be hundreds of times that.
constexpr std::uint64_t kFew = 12 * kData;

std::vector<std::byte> raw_type() {
    std::vector<std::byte> type(encoded_type_size(Type::raw()));
    encode_type(Type::raw(), type.data());
    return type;
}

/// A sound commit without records.
CommitHeader empty_commit(std::uint64_t sequence, std::uint64_t salt) {
    CommitHeader h{kCommitMagic, sizeof h, sequence, salt, 0, 0, 0};
    h.crc = crc32c(&h, sizeof h);
    return h;
}

void seal_page(std::byte* page) {
    const std::uint32_t none = 0;
    std::memcpy(page + offsetof(PageHeader, crc), &none, sizeof none);
    const std::uint32_t crc = crc32c(page, kPage);
    std::memcpy(page + offsetof(PageHeader, crc), &crc, sizeof crc);
}

std::vector<std::byte> page_of(std::uint64_t run_id, std::uint32_t number, PageType type, std::uint16_t count) {
    std::vector<std::byte> page(kPage);
    const PageHeader h{kPageMagic, 0, run_id, number, type, count, {}};
    std::memcpy(page.data(), &h, sizeof h);
    seal_page(page.data());
    return page;
}

/// A leaf with one inline value.
std::vector<std::byte> leaf_of(std::uint64_t run_id, std::uint32_t number, const std::string& name, std::uint64_t id,
                               std::uint64_t sequence) {
    std::vector<std::byte> page = page_of(run_id, number, PageType::leaf, 1);
    const std::vector<std::byte> value = filled(8, 1);
    const Type type = Type::value(Kind::bytes);
    std::vector<std::byte> descriptor(encoded_type_size(type));
    encode_type(type, descriptor.data());
    Entry e{};
    e.id = id;
    e.sequence = sequence;
    e.size = value.size();
    e.flags = kEntryInline;
    e.share_count = 1;
    encode_entry(e, name, descriptor, value, page.data() + sizeof(PageHeader));
    const std::uint16_t at = sizeof(PageHeader);
    std::memcpy(page.data() + kPage - 2, &at, sizeof at);
    seal_page(page.data());
    return page;
}

std::vector<std::byte> run_header(const Uuid& uuid, std::uint64_t run_id, std::uint32_t pages, std::uint64_t entries) {
    std::vector<std::byte> page = page_of(run_id, 0, PageType::run, 0);
    RunHeader h;
    std::memcpy(&h, page.data(), sizeof h);
    h.uuid = uuid;
    h.entries = entries;
    h.leaf_start = 1;
    h.leaf_count = static_cast<std::uint32_t>(entries);
    h.filter_start = h.leaf_start + h.leaf_count;
    h.filter_count = entries != 0;
    h.pages = pages;
    h.max_entry = kPage;
    h.max_name = kMaxName;
    std::memcpy(page.data(), &h, sizeof h);
    seal_page(page.data());
    return page;
}

void check_still_whole(const SampleShelf& shelf) {
    CHECK(shelf.missing() == std::vector<std::string>{});
    CHECK(shelf.check().clean());
}

/// Salvages the shelf from its data file alone; `most` in bytes summed.
void check_salvage_costs(const SampleShelf& shelf, std::uint64_t most) {
    std::filesystem::remove(shelf.map);
    const Summed summed;
    const CheckReport report = shelf.check(Repair::all);
    INFO(text_of(report));
    CHECK(summed.bytes() < most);
    CHECK(report.repaired);
}

}  // namespace

TEST_CASE("a sweep finds exactly the ranges whose checksum is right, and sums each byte once") {
    std::mt19937 random(7);
    std::uint64_t right = 0;
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        struct Head {
            std::uint32_t size, crc;
            std::uint64_t other;  // counts as 0
        };
        const std::uint64_t n = 64 * (20 + random() % 200);
        std::vector<std::byte> bytes(n);
        for (std::byte& b : bytes) b = static_cast<std::byte>(random());
        std::vector<std::uint64_t> starts;
        for (std::uint64_t at = 0; at + 64 <= n; at += 64)
            if (random() % 3 != 0) starts.push_back(at);
        const auto sum = [&](std::uint64_t at) {
            Head h;
            std::memcpy(&h, &bytes[at], sizeof h);
            const Head clean{h.size, 0, 0};
            return crc32c(&bytes[at + sizeof h], h.size - sizeof h, crc32c(&clean, sizeof clean));
        };
        // From behind, so that nested ones stay sound when the outer one is made.
        for (auto it = starts.rbegin(); it != starts.rend(); ++it) {
            const std::uint64_t most = n - *it;
            std::uint64_t size = sizeof(Head) + random() % (most - sizeof(Head) + 1);
            if (random() % 4 == 0) size = sizeof(Head);
            if (random() % 4 == 0) size = most;
            Head h{static_cast<std::uint32_t>(size), 0, random()};
            std::memcpy(&bytes[*it], &h, sizeof h);
            h.crc = random() % 3 == 0 ? static_cast<std::uint32_t>(random()) : sum(*it);
            std::memcpy(&bytes[*it], &h, sizeof h);
        }
        // One gap, over which no range is found; pieces of any size.
        const std::uint64_t gap = random() % 2 == 0 ? 64 * (random() % (n / 64)) : n;
        std::multimap<std::uint64_t, std::uint64_t> expected, found;
        for (const std::uint64_t at : starts) {
            Head h;
            std::memcpy(&h, &bytes[at], sizeof h);
            const bool over_gap = at < gap + 64 && at + h.size > gap;
            if (!over_gap && sum(at) == h.crc) expected.emplace(at, h.size);
        }
        std::uint64_t last_end = 0;
        CrcSweep sweep([&](const CrcSweep::Sound& s) {
            CHECK(s.tag == s.begin + 5);
            CHECK(s.begin + s.size >= last_end);
            last_end = s.begin + s.size;
            found.emplace(s.begin, s.size);
        });
        for (std::uint64_t from = 0; from < n;) {
            if (from == gap) {
                from += 64;
                continue;
            }
            const std::uint64_t to = std::min({n, from < gap ? gap : n, from + 64 * (1 + random() % 40)});
            sweep.piece(from, &bytes[from], to - from);
            for (std::uint64_t at = from; at < to; at += 64) {
                if (!std::binary_search(starts.begin(), starts.end(), at)) continue;
                Head h;
                std::memcpy(&h, &bytes[at], sizeof h);
                const Head clean{h.size, 0, 0};
                sweep.pass(at);
                sweep.expect(h.size, h.crc, &h, &clean, sizeof h, at + 5);
            }
            sweep.pass(to);
            from = to;
        }
        CHECK(found == expected);
        CHECK(sweep.given_up() == 0);
        CHECK(sweep.summed() <= n + starts.size() * 2 * sizeof(Head));
        right += expected.size();
    }
    CHECK(right > 500);
}

TEST_CASE("a sweep that too many ranges claim gives up the longest") {
    std::vector<std::byte> bytes(64 * 80000);
    std::uint64_t found = 0;
    CrcSweep sweep([&](const CrcSweep::Sound&) { ++found; });
    sweep.piece(0, bytes.data(), bytes.size());
    const std::uint32_t crc = crc32c(bytes.data(), 128);
    for (std::uint64_t at = 0; at + 128 < bytes.size(); at += 64) {
        sweep.pass(at);
        sweep.expect(bytes.size() + 64 - at, 1, &bytes[at], &bytes[at], 40, 0);
        if (at % 6400 == 0) sweep.expect(128, crc, &bytes[at], &bytes[at], 40, 0);
    }
    sweep.pass(bytes.size());
    CHECK(sweep.given_up() > 10000);
    CHECK(found == 800);
}

TEST_CASE("a data area full of forged commits costs a salvage a few times its size") {
    SampleShelf shelf;
    const auto forge = [&](auto&& size_of) {
        std::vector<std::byte> area(4 << 20);
        for (std::uint64_t at = 0; at < area.size(); at += kLine) {
            const CommitHeader h{kCommitMagic, static_cast<std::uint32_t>(size_of(area.size() - at)), 1 + at / kLine, at, 0, 1, 1};
            std::memcpy(&area[at], &h, sizeof h);
        }
        return area;
    };
    std::vector<std::byte> area;
    SUBCASE("that all end together") { area = forge([](std::uint64_t left) { return left; }); }
    SUBCASE("of a megabyte each") { area = forge([](std::uint64_t left) { return std::min<std::uint64_t>(left, 1 << 20); }); }
    SUBCASE("that are sound, each around all behind it") {
        area = forge([](std::uint64_t left) { return left < 40 * 64 ? sizeof(CommitHeader) : left; });
        // From behind: what an outer one sums is what the inner ones are.
        for (std::uint64_t at = area.size(); at != 0;) {
            at -= kLine;
            if (at % (256 * kLine) != 0) continue;
            CommitHeader h;
            std::memcpy(&h, &area[at], sizeof h);
            h.crc = 0;
            std::memcpy(&area[at], &h, sizeof h);
            h.crc = crc32c(&area[at], h.size);
            std::memcpy(&area[at], &h, sizeof h);
        }
    }
    overwrite(shelf.data, kData - area.size(), area.data(), area.size());
    check_salvage_costs(shelf, kFew);
    check_still_whole(shelf);
}

TEST_CASE("a log full of forged commits costs opening and checking a few times its size") {
    SampleShelf shelf(0);
    shelf.contents.clear();
    shelf.infos.clear();
    {
        CreateOptions options;
        options.capacity = kData;
        options.log_size = 1 << 20;
        options.force = true;
        Shelf s = Namespace::open(shelf.path).create("s", options);
        for (unsigned i = 0; i < 20; ++i) shelf.put(s, "v/" + std::to_string(i), filled(20, i), Type::value(Kind::bytes));
        shelf.crash(s);
    }
    const Superblock root = shelf.root();
    REQUIRE(root.log_size == 1 << 20);
    const auto bytes = file_bytes(shelf.data);
    std::uint64_t used = 0, sequence = root.sequence;
    for (CommitHeader h;; used += round_up(h.size, kLine), ++sequence) {
        std::memcpy(&h, &bytes[root.log_offset + used], sizeof h);
        if (h.magic != kCommitMagic || h.salt != root.log_salt || h.sequence != sequence + 1) break;
    }
    REQUIRE(used != 0);
    std::vector<std::byte> rest(root.log_size - used);
    SUBCASE("none of them sound: a torn tail") {
        for (std::uint64_t at = 0; at < rest.size(); at += kLine) {
            const CommitHeader h{kCommitMagic, static_cast<std::uint32_t>(rest.size() - at), sequence + 1 + at / kLine,
                                 root.log_salt, 0, 1, 1};
            std::memcpy(&rest[at], &h, sizeof h);
        }
        overwrite(shelf.data, root.log_offset + used, rest.data(), rest.size());
        const Summed summed;
        CHECK(shelf.missing().empty());
        CHECK(shelf.check(Repair::none).exit_code() == 0);
        CHECK(summed.bytes() < kFew);
    }
    SUBCASE("between sound ones: gaps") {
        for (std::uint64_t at = 0, i = 0; at + 2 * kLine <= rest.size(); at += 2 * kLine, i += 2) {
            const CommitHeader forged{kCommitMagic, static_cast<std::uint32_t>(rest.size() - at), sequence + 1 + i,
                                      root.log_salt, 0, 1, 1};
            std::memcpy(&rest[at], &forged, sizeof forged);
            const CommitHeader sound = empty_commit(sequence + 2 + i, root.log_salt);
            std::memcpy(&rest[at + kLine], &sound, sizeof sound);
        }
        overwrite(shelf.data, root.log_offset + used, rest.data(), rest.size());
        const Summed summed;
        CHECK_THROWS_AS(Namespace::open(shelf.path).shelf("s"), CorruptError);
        const CheckReport report = shelf.check(Repair::all);
        CHECK(summed.bytes() < kFew);
        CHECK(report.exit_code() == 1);
        check_still_whole(shelf);
    }
}

TEST_CASE("forged extent headers that overlap cost a few times the area") {
    SampleShelf shelf;
    const Uuid uuid = shelf.root().uuid;
    std::vector<std::byte> area(4 << 20);
    const std::uint64_t base = kData - area.size();
    const bool sound = [] {
        bool yes = false;
        SUBCASE("not sound") { yes = false; }
        SUBCASE("sound") { yes = true; }
        return yes;
    }();
    for (std::uint64_t at = area.size() - (70 << 10); at != 0;) {
        at -= 2 * kLine;
        ExtentHeader h{};
        h.magic = kExtentMagic;
        h.uuid = uuid;
        h.own_offset = base + at;
        h.offset = kData / 2;
        h.extent = h.size = kData / 2;
        h.id = at;
        h.type_size = kMaxType;
        if (sound && at % (1 << 12) == 0) {
            std::memcpy(&area[at], &h, sizeof h);
            h.crc = crc32c(&area[at], sizeof h + h.type_size);
        }
        std::memcpy(&area[at], &h, sizeof h);
    }
    overwrite(shelf.data, base, area.data(), area.size());
    check_salvage_costs(shelf, kFew);
    check_still_whole(shelf);
}

TEST_CASE("pages that each claim a run of their own cost a salvage a few times the area") {
    SampleShelf shelf;
    std::vector<std::byte> area(4 << 20);
    const std::uint64_t base = kData - area.size();
    const Uuid uuid = shelf.root().uuid;
    SUBCASE("far inside of a run that reaches to the start of the file") {
        for (std::uint64_t at = 0; at < area.size(); at += kPage) {
            const auto number = static_cast<std::uint32_t>((base + at - kDataStart) / kPage);
            const auto page = page_of(5000 + at, number, PageType::index, 1);
            std::copy(page.begin(), page.end(), &area[at]);
        }
    }
    SUBCASE("as the header of one that reaches to the end of the file") {
        for (std::uint64_t at = 0; at < area.size(); at += kPage) {
            const auto pages = static_cast<std::uint32_t>((area.size() - at) / kPage);
            const auto page = run_header(uuid, 5000 + at, pages, pages > 3 ? pages - 2 : 0);
            std::copy(page.begin(), page.end(), &area[at]);
        }
    }
    overwrite(shelf.data, base, area.data(), area.size());
    check_salvage_costs(shelf, kFew);
    check_still_whole(shelf);
}

TEST_CASE("a thousand small runs of one level are compared all at once") {
    SampleShelf shelf(20);
    std::vector<std::byte> area(12 << 20);
    const std::uint64_t base = kData - area.size();
    for (const auto& [name, info] : shelf.infos) REQUIRE(info.offset + info.extent <= base);
    const Superblock root = shelf.root();
    std::uint64_t runs = 0;
    for (std::uint64_t at = 0; at + 3 * kPage <= area.size(); at += 3 * kPage, ++runs) {
        const std::string name = "forged/" + std::to_string(runs);
        const std::uint64_t run_id = 5000 + runs;
        const std::uint64_t sequence = root.sequence + 1 + runs;
        const auto header = run_header(root.uuid, run_id, 3, 1);
        const auto leaf = leaf_of(run_id, 1, name, (std::uint64_t{1} << 40) + runs, sequence);
        const auto filter = page_of(run_id, 2, PageType::filter, 0);
        std::copy(header.begin(), header.end(), &area[at]);
        std::copy(leaf.begin(), leaf.end(), &area[at + kPage]);
        std::copy(filter.begin(), filter.end(), &area[at + 2 * kPage]);
        shelf.contents[name] = filled(8, 1);
    }
    overwrite(shelf.data, base, area.data(), area.size());
    check_salvage_costs(shelf, 2 * kFew);
    CHECK(runs == 1024);
    const std::string last = "forged/" + std::to_string(runs - 1);
    CHECK(Namespace::open(shelf.path).shelf("s", Mode::read_only).contains(last));
}

TEST_CASE("many logs in the data of many blobs: which is a stored copy is found in one pass") {
    SampleShelf shelf;
    const Superblock root = shelf.root();
    const std::vector<std::byte> type = raw_type();
    const std::uint64_t base = kData - (2 << 20);
    std::vector<std::byte> area(2 << 20);
    std::uint64_t at = 0;
    // 400 incarnations of one commit, 400 blobs that claim the bytes of them all.
    for (std::uint64_t i = 0; i < 400; ++i, at += 2 * kLine) {
        const CommitHeader h = empty_commit((std::uint64_t{1} << 40) + i, 77 + i);
        std::memcpy(&area[at], &h, sizeof h);
    }
    for (std::uint64_t i = 0; i < 400; ++i) {
        ExtentHeader h{};
        h.uuid = root.uuid;
        h.own_offset = base + at;
        h.offset = base;
        h.extent = h.size = area.size();
        h.id = (std::uint64_t{1} << 41) + i;
        std::vector<std::byte> bytes;
        encode_extent_header(h, "forged" + std::to_string(i), type, bytes);
        std::copy(bytes.begin(), bytes.end(), &area[at]);
        at += round_up(bytes.size(), kLine);
        REQUIRE(at < area.size());
    }
    overwrite(shelf.data, base, area.data(), area.size());
    check_salvage_costs(shelf, kFew);
}

TEST_CASE("holes are passed over, not read") {
    SampleShelf shelf;
    constexpr std::uint64_t size = std::uint64_t{2} << 30;
    std::filesystem::resize_file(shelf.data, size);
    Superblock root = shelf.root();
    root.capacity = size;
    root.zone_shift = 32;
    root.zone_offset = root.zone_size = 0;
    SUBCASE("a forged log: opening, checking and repairing") {
        root.log_offset = 32 << 20;
        root.log_size = size - root.log_offset;
        root.flags &= ~kSuperblockClean;
        shelf.write_root(root);
        const Faults faults;
        CHECK(shelf.missing().empty());
        (void)shelf.check();
        CHECK(faults.count() < 8192);
        const CheckReport report = shelf.check(Repair::all);
        INFO(text_of(report));
        CHECK(report.repaired);
        CHECK(faults.count() < 16384);
        check_still_whole(shelf);
    }
    SUBCASE("no root: salvage") {
        std::filesystem::remove(shelf.map);
        const Faults faults;
        const CheckReport report = shelf.check(Repair::all);
        INFO(text_of(report));
        CHECK(report.repaired);
        CHECK(faults.count() < 16384);
        check_still_whole(shelf);
    }
}

namespace {

/// Some reader looks at [from, to).
class OneReader final : public Lease {
public:
    std::uint64_t from = 0, to = 0, asked = 0;

    bool try_acquire_writer() override { return true; }
    void release_writer() noexcept override {}
    bool writer_alive() override { return false; }
    void mark_extent(std::uint64_t, std::uint64_t) override {}
    void unmark_extent(std::uint64_t, std::uint64_t) noexcept override {}
    bool extent_marked(std::uint64_t offset, std::uint64_t size) override {
        ++asked;
        return offset < to && from < offset + size;
    }
    std::optional<Mark> mark_in(std::uint64_t offset, std::uint64_t size) override {
        if (!extent_marked(offset, size)) return std::nullopt;
        return Mark{from, to - from};
    }
    void detach_in_child() noexcept override {}
};

}  // namespace

TEST_CASE("a repair asks once about what a reader looks at") {
    SampleShelf shelf;
    const Superblock root = shelf.root();
    flip(shelf.data, root.runs[0].offset + kPage + 200);
    // An extent header that is to be written anew: the smallest thing that space is looked for.
    {
        const auto bytes = file_bytes(shelf.data);
        for (std::uint64_t at = kDataStart, flipped = 0; flipped < 20 && at < bytes.size(); at += kLine) {
            ExtentHeader h;
            std::memcpy(&h, &bytes[at], sizeof h);
            if (h.magic == kExtentMagic && h.own_offset == at) flip(shelf.data, at + 30), ++flipped;
        }
    }
    const auto m = file_bytes(shelf.map), d = file_bytes(shelf.data);
    MemoryMedia map("map", m.size()), data("data", d.size());
    std::memcpy(map.data(), m.data(), m.size());
    std::memcpy(data.data(), d.data(), d.size());
    OneReader reader;
    // All but the last megabyte.
    reader.from = kDataStart;
    reader.to = kData - (1 << 20);
    const std::vector<std::byte> before(data.data() + reader.from, data.data() + reader.to);
    CheckOptions options;
    options.repair = Repair::all;
    const CheckReport report = check_media({map, data, &reader, false, {}}, options);
    INFO(text_of(report));
    CHECK(report.repaired);
    CHECK(std::equal(before.begin(), before.end(), data.data() + reader.from));
    // One for each thing that is written, and one for each free piece that is marked.
    CHECK(reader.asked < 1000);
}
