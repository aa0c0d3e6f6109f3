// The map of a shelf's space, compared with what the shelf says of its blobs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <random>
#include <vector>

#include <pymm/map.hpp>
#include <pymm/pymm.hpp>

#include "format/superblock.hpp"
#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;

namespace {

struct Mapped {
    std::vector<SpaceRegion> regions;
    SpaceFigures figures;
};

/// Maps, and checks what must hold for every map.
Mapped map_of(const Shelf& shelf) {
    Mapped m;
    m.figures = map_space(shelf, [&](const SpaceRegion& r) {
        m.regions.push_back(r);
        return true;
    });
    std::uint64_t at = 0, blobs = 0, free = 0, extents = 0, largest = 0;
    for (std::size_t i = 0; i < m.regions.size(); ++i) {
        const SpaceRegion& r = m.regions[i];
        REQUIRE(r.offset == at);
        REQUIRE(r.size > 0);
        if (i > 0 && r.use != SpaceUse::metadata) REQUIRE(r.use != m.regions[i - 1].use);
        at += r.size;
        if (r.use == SpaceUse::blobs) blobs += r.size;
        if (r.use != SpaceUse::free) continue;
        free += r.size;
        ++extents;
        largest = std::max(largest, r.size);
    }
    const SpaceFigures& f = m.figures;
    const ShelfInfo info = shelf.stat();
    CHECK(at == info.capacity);
    CHECK(f.capacity == info.capacity);
    CHECK(f.free == free);
    CHECK(f.free == info.free);
    CHECK(f.blobs == blobs);
    CHECK(f.blobs + f.metadata == info.used);
    CHECK(f.free_extents == extents);
    CHECK(f.largest_free == largest);
    CHECK(f.sequence == info.sequence);
    return m;
}

SpaceUse use_at(const Mapped& m, std::uint64_t offset) {
    for (const SpaceRegion& r : m.regions)
        if (offset < r.offset + r.size) return r.use;
    FAIL("outside");
    return SpaceUse::free;
}

}  // namespace

TEST_CASE("a new shelf is one free extent") {
    Scratch dir;
    const Shelf shelf = Namespace::open(dir.path()).create("s", {.capacity = 1 << 20});
    const Mapped m = map_of(shelf);
    REQUIRE(m.regions.size() == 3);
    CHECK(m.regions[0].what == "data header");
    CHECK(m.regions[1].what == "log");
    CHECK(m.regions[2].use == SpaceUse::free);
    CHECK(m.figures.fragmentation() == 0);
}

TEST_CASE("every blob is on the map, and what was erased is not") {
    Scratch dir;
    Shelf shelf = Namespace::open(dir.path()).create("s", {.capacity = 64 << 20, .sparse = true});
    std::mt19937 random(7);
    std::vector<std::byte> data(200'000);
    const int rounds = std::getenv("PYMM_TEST_LONG") != nullptr ? 20'000 : 2'000;
    for (int i = 0; i < rounds; ++i) {
        const std::string name = std::to_string(random() % 300);
        if (random() % 4 == 0 && shelf.contains(name)) shelf.erase(name);
        else shelf.put(name, std::span(data).first(random() % (random() % 8 == 0 ? data.size() : 3000)));
    }
    for (const Mode mode : {Mode::read_write, Mode::read_only}) {
        if (mode == Mode::read_only) {
            shelf.close();
            shelf = Shelf::open(dir.path(), "s", mode);
        }
        const Mapped m = map_of(shelf);
        CHECK(shelf.stat().runs > 0);
        CHECK(m.figures.free_extents > 1);
        CHECK(m.figures.fragmentation() > 0);
        std::uint64_t bytes = 0;
        for (const BlobInfo& blob : shelf.list()) {
            if (blob.inlined) continue;
            bytes += blob.extent;
            CHECK(use_at(m, blob.offset) == SpaceUse::blobs);
            CHECK(use_at(m, blob.offset + blob.extent - 1) == SpaceUse::blobs);
        }
        CHECK(bytes < m.figures.blobs);  // headers, too
    }
}

TEST_CASE("the visitor can stop; the figures are whole all the same") {
    Scratch dir;
    const Shelf shelf = Namespace::open(dir.path()).create("s", {.capacity = 1 << 20});
    int calls = 0;
    const SpaceFigures figures = map_space(shelf, [&](const SpaceRegion&) { return ++calls < 2; });
    CHECK(calls == 2);
    CHECK(figures.free == shelf.stat().free);
    CHECK(map_space(shelf).free == figures.free);
}

TEST_CASE("a closed shelf has no map") {
    Scratch dir;
    Shelf shelf = Namespace::open(dir.path()).create("s", {.capacity = 1 << 20});
    shelf.close();
    CHECK_THROWS_AS(map_space(shelf), ClosedError);
    CHECK_THROWS_AS(map_space(Shelf()), ClosedError);
}

TEST_CASE("blobs over metadata are an error that says where") {
    Scratch dir;
    Namespace ns = Namespace::open(dir.path());
    {
        Shelf shelf = ns.create("s", {.capacity = 1 << 20});
        shelf.put("x", std::vector<std::byte>(5000));
    }
    const std::uint64_t offset = Shelf::open(dir.path(), "s", Mode::read_only).find("x")->offset;
    // The zone table is moved onto the blob, with all checksums right.
    std::fstream map(dir.path() + "/s.map", std::ios::in | std::ios::out | std::ios::binary);
    std::fstream data(dir.path() + "/s.data", std::ios::in | std::ios::out | std::ios::binary);
    format::Superblock sb;
    map.read(reinterpret_cast<char*>(&sb), sizeof sb);
    REQUIRE(sb.zone_size != 0);
    std::vector<char> table(sb.zone_size);
    data.seekg(static_cast<std::streamoff>(sb.zone_offset));
    data.read(table.data(), static_cast<std::streamsize>(table.size()));
    data.seekp(static_cast<std::streamoff>(offset));
    data.write(table.data(), static_cast<std::streamsize>(table.size()));
    sb.zone_offset = offset;
    format::seal_superblock(sb);
    for (const std::uint64_t at : format::kSuperblockOffset) {
        map.seekp(static_cast<std::streamoff>(at));
        map.write(reinterpret_cast<const char*>(&sb), sizeof sb);
    }
    map.close();
    data.close();
    const Shelf shelf = ns.shelf("s", Mode::read_only);
    CHECK_THROWS_WITH_AS(map_space(shelf), doctest::Contains(("zone table at offset " + std::to_string(offset)).c_str()),
                         CorruptError);
}
