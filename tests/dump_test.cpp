// Dumps of hostile shelves: numbers with right checksums and no sense. What a dump shows of sound and damaged ones is
// tested through the command, tests/cli/test_cli_dump.py; here it runs under the sanitizers.
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <vector>

#include <pymm/dump.hpp>
#include <pymm/pymm.hpp>

#include "format/crc32c.hpp"
#include "format/superblock.hpp"
#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;
namespace fs = std::filesystem;

namespace {

using Image = std::vector<std::byte>;

Image load(const std::string& path) {
    Image bytes(fs::file_size(path));
    std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return bytes;
}

void store(const std::string& path, const Image& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

struct Tally {
    std::map<std::string, int> kinds;
    int problems = 0;
};

Tally tally(const std::string& path, const DumpOptions& options = {}) {
    Tally t;
    dump(path, "s", options, [&](const DumpItem& item) {
        ++t.kinds[std::string(item.kind)];
        if (!item.problem.empty()) ++t.problems;
        return true;
    });
    return t;
}

/// A shelf with runs, and with a log that nobody folded.
class Specimen {
public:
    Specimen() {
        const Namespace ns = Namespace::open(dir_.path());
        Shelf shelf = ns.create("s", {.capacity = 1 << 20, .sparse = true});
        for (int i = 0; i < 200; ++i) {
            const std::vector<std::byte> value(static_cast<std::size_t>(i) * 13);
            shelf.put("name " + std::to_string(i), value, i % 2 == 0 ? Type::raw() : Type::value(Kind::bytes));
        }
        shelf.close();
        shelf = ns.shelf("s");
        shelf.put("late", std::vector<std::byte>(500));
        shelf.put("value", std::vector<std::byte>(5), Type::value(Kind::bytes));
        shelf.erase("name 8");
        // Copied while it is open: a crash.
        map = load(dir_.path() + "/s.map");
        data = load(dir_.path() + "/s.data");
        shelf.close();
        restore();
    }

    void restore() const {
        store(dir_.path() + "/s.map", map);
        store(dir_.path() + "/s.data", data);
    }
    void root(format::Superblock sb) const {
        format::seal_superblock(sb);
        Image changed = map;
        for (const std::uint64_t at : format::kSuperblockOffset) std::memcpy(changed.data() + at, &sb, sizeof sb);
        store(dir_.path() + "/s.map", changed);
    }
    const std::string& path() const { return dir_.path(); }

    Image map, data;

private:
    Scratch dir_;
};

int rounds(int few) { return std::getenv("PYMM_TEST_LONG") != nullptr ? 20 * few : few; }

}  // namespace

TEST_CASE("all structures are shown") {
    const Specimen s;
    Tally t = tally(s.path());
    CHECK(t.problems == 0);
    CHECK(t.kinds["superblock"] == 2);
    CHECK(t.kinds["blob"] == 201);
    CHECK(t.kinds["entry"] >= 200);
    CHECK(t.kinds["commit"] == 3);
    CHECK(t.kinds["put"] == 2);
    CHECK(t.kinds["erase"] == 1);
    for (const char* kind : {"run", "page", "index item", "space event", "zone", "alloc", "free", "extent header"})
        CHECK_MESSAGE(t.kinds[kind] > 0, std::string(kind));
    int calls = 0;
    dump(s.path(), "s", {}, [&](const DumpItem&) { return ++calls < 7; });
    CHECK(calls == 7);
    CHECK_THROWS_AS(dump(s.path(), "t", {}, [](const DumpItem&) { return true; }), NotFoundError);
    CHECK_THROWS_AS(dump(s.path(), "../s", {}, [](const DumpItem&) { return true; }), InvalidArgumentError);
}

TEST_CASE("superblocks whose numbers make no sense") {
    Specimen s;
    format::Superblock sb;
    std::memcpy(&sb, s.map.data(), sizeof sb);
    REQUIRE(sb.run_count > 0);
    const std::size_t end = offsetof(format::Superblock, runs) + sb.run_count * sizeof(format::RunRef);
    const std::uint64_t odd[] = {0, 1, 63, 4096, UINT64_MAX, UINT64_MAX - 4095, 1ull << 63, s.data.size(), s.data.size() - 4096};
    int wrong = 0;
    for (std::size_t at = offsetof(format::Superblock, uuid); at < end; at += 8)
        for (const std::uint64_t value : odd) {
            format::Superblock changed = sb;
            std::memcpy(reinterpret_cast<std::byte*>(&changed) + at, &value, sizeof value);
            s.root(changed);
            DumpOptions options;
            options.blobs = at % 64 == 0;
            wrong += tally(s.path(), options).problems > 0 ? 1 : 0;
        }
    CHECK(wrong > 100);
}

TEST_CASE("pages and commits with right checksums and random contents") {
    Specimen s;
    format::Superblock sb;
    std::memcpy(&sb, s.map.data(), sizeof sb);
    std::mt19937_64 random(5);
    for (int round = 0; round < rounds(300); ++round) {
        Image changed = s.data;
        const format::RunRef& run = sb.runs[random() % sb.run_count];
        std::byte* const page = changed.data() + run.offset + random() % (run.size / format::kPage) * format::kPage;
        for (int i = 0; i < 3; ++i) {
            const std::uint64_t value = random() % 3 == 0 ? random() : random() % 5000;
            std::memcpy(page + 20 + random() % (format::kPage - 28), &value, 1 + random() % 8);
        }
        format::PageHeader header;
        std::memcpy(&header, page, sizeof header);
        header.crc = 0;
        std::memcpy(page, &header, sizeof header);
        header.crc = crc32c(page, format::kPage);
        std::memcpy(page, &header, sizeof header);

        std::byte* const commit = changed.data() + sb.log_offset;
        format::CommitHeader c;
        std::memcpy(&c, commit, sizeof c);
        const std::uint64_t value = random();
        std::memcpy(commit + sizeof c + random() % (c.size - sizeof c - 8), &value, 1 + random() % 8);
        c.crc = 0;
        std::memcpy(commit, &c, sizeof c);
        c.crc = crc32c(commit, c.size);
        std::memcpy(commit, &c, sizeof c);
        store(s.path() + "/s.data", changed);
        CHECK_MESSAGE(tally(s.path()).kinds["run"] == static_cast<int>(sb.run_count), "round ", round);
    }
}
