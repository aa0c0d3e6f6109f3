// The superblock pair: which copy counts, what is refused, and that nothing damaged is believed.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstring>

#include "format/crc32c.hpp"
#include "format/superblock.hpp"

using namespace pymm::format;

namespace {

constexpr std::uint64_t kCapacity = 8 << 20;

Superblock sound(std::uint64_t generation = 5) {
    Superblock sb{};
    sb.uuid = {1, 2, 3};
    sb.generation = generation;
    sb.sequence = 40;
    sb.capacity = kCapacity;
    sb.next_id = 1;
    sb.base_log_size = sb.log_size = 8192;
    sb.log_offset = kDataStart;
    sb.log_salt = 77;
    sb.zone_shift = kMinZoneShift;
    sb.zone_offset = 65536;
    sb.zone_size = 64;
    sb.run_count = 2;
    sb.runs[0] = {131072, 8192, 1, 3, 20, 0, 0};
    sb.runs[1] = {262144, 4096, 2, 3, 40, 0, 0};
    sb.next_run_id = 3;
    seal_superblock(sb);
    return sb;
}

std::vector<std::byte> map_of(const Superblock& first, const Superblock& second) {
    std::vector<std::byte> map(kMapSize);
    std::memcpy(map.data() + kSuperblockOffset[0], &first, sizeof first);
    std::memcpy(map.data() + kSuperblockOffset[1], &second, sizeof second);
    return map;
}

}  // namespace

TEST_CASE("the sound copy of the higher generation counts; the first among equals") {
    SuperblockChoice c = choose_superblock(map_of(sound(5), sound(6)));
    REQUIRE(c.best);
    CHECK(c.index == 1);
    CHECK(c.best->generation == 6);
    c = choose_superblock(map_of(sound(7), sound(6)));
    CHECK(c.index == 0);
    c = choose_superblock(map_of(sound(6), sound(6)));
    CHECK(c.index == 0);
    CHECK(c.problem[0].empty());
    CHECK(c.problem[1].empty());
    CHECK(std::memcmp(&*c.best, map_of(sound(6), sound(6)).data(), sizeof(Superblock)) == 0);
}

TEST_CASE("any changed byte of a copy makes the other one count") {
    const std::vector<std::byte> good = map_of(sound(5), sound(6));
    for (std::size_t copy = 0; copy < 2; ++copy)
        for (std::size_t i = 0; i < kSuperblockSize; ++i) {
            std::vector<std::byte> map = good;
            map[kSuperblockOffset[copy] + i] ^= static_cast<std::byte>(1u << (i % 8));
            const SuperblockChoice c = choose_superblock(map);
            if (!c.best || c.index != static_cast<int>(1 - copy) || c.problem[copy].empty())
                FAIL("copy " << copy << " byte " << i);
        }
}

TEST_CASE("a copy torn at any line is not believed, unless both halves are the same") {
    const Superblock before = sound(5), after = sound(7);
    for (std::size_t cut = 64; cut < kSuperblockSize; cut += 64) {
        std::vector<std::byte> map = map_of(before, sound(6));
        std::memcpy(map.data(), &after, cut);
        const SuperblockChoice c = choose_superblock(map);
        REQUIRE(c.best);
        CHECK(c.best->generation == 6);
    }
}

TEST_CASE("two bad copies, an empty file, and files that are too short") {
    std::vector<std::byte> map = map_of(sound(5), sound(6));
    map[100] ^= std::byte{1};
    map[kPage + 100] ^= std::byte{1};
    CHECK(!choose_superblock(map).best);
    CHECK(!choose_superblock(std::vector<std::byte>(kMapSize)).best);
    CHECK(!choose_superblock({}).best);
    map = map_of(sound(5), sound(6));
    SuperblockChoice c = choose_superblock(std::span(map).first(2 * kPage - 1));
    REQUIRE(c.best);
    CHECK(c.index == 0);
    CHECK(!c.problem[1].empty());
    CHECK(!choose_superblock(std::span(map).first(kPage - 1)).best);
}

TEST_CASE("feature bits and versions") {
    std::string why;
    Superblock sb = sound();
    CHECK(superblock_support(sb, why) == Support::full);
    sb.compat = ~std::uint64_t{0};
    CHECK(superblock_support(sb, why) == Support::full);
    sb.ro_compat = 4;
    CHECK(superblock_support(sb, why) == Support::read_only);
    CHECK(why.find("0x4") != std::string::npos);
    sb.incompat = std::uint64_t{1} << 63;
    CHECK(superblock_support(sb, why) == Support::none);
    sb = sound();
    sb.version = 2;
    CHECK(superblock_support(sb, why) == Support::none);
    sb.version = 0;
    CHECK(superblock_support(sb, why) == Support::none);
    // A newer version is no damage: the copy is chosen, and refused afterwards.
    sb.version = 2;
    sb.crc = pymm::crc32c(&sb, offsetof(Superblock, crc));
    CHECK(choose_superblock(map_of(sb, sb)).best);
}

TEST_CASE("contents out of range are found, whatever the checksum says") {
    CHECK(superblock_problem(sound(), kCapacity).empty());
    using Change = void (*)(Superblock&);
    const Change changes[] = {
        [](Superblock& s) { s.size = 4095; },
        [](Superblock& s) { s.capacity = kCapacity + kPage; },
        [](Superblock& s) { s.log_offset = 0; },
        [](Superblock& s) { s.log_offset = kDataStart + 1; },
        [](Superblock& s) { s.log_offset = kCapacity; },
        [](Superblock& s) { s.log_offset = ~std::uint64_t{63}; },
        [](Superblock& s) { s.log_size = 0; },
        [](Superblock& s) { s.log_size = 64; },
        [](Superblock& s) { s.log_size = ~std::uint64_t{63}; },
        [](Superblock& s) { s.log_size = kCapacity; },
        [](Superblock& s) { s.base_log_size = 0; },
        [](Superblock& s) { s.base_log_size = kCapacity * 2; },
        [](Superblock& s) { s.base_log_size = 4097; },
        [](Superblock& s) { s.run_count = kMaxRuns + 1; },
        [](Superblock& s) { s.run_count = ~0u; },
        [](Superblock& s) { s.run_count = 3; },  // the third is all zeros
        [](Superblock& s) { s.runs[0].offset += 64; },
        [](Superblock& s) { s.runs[0].size = 0; },
        [](Superblock& s) { s.runs[0].offset = s.runs[1].offset; },
        [](Superblock& s) { s.zone_offset = s.log_offset + s.log_size - 64; },
        [](Superblock& s) { s.runs[0].size = kCapacity; },
        [](Superblock& s) { s.runs[1].sequence = 41; },
        [](Superblock& s) { s.runs[1].sequence = 19; },
        [](Superblock& s) { s.zone_shift = kMinZoneShift - 1; },
        [](Superblock& s) { s.zone_shift = 64; },
        [](Superblock& s) { s.zone_shift = ~0u; },
        [](Superblock& s) { s.zone_offset = kCapacity; },
        [](Superblock& s) { s.zone_offset = 100; },
        [](Superblock& s) { s.zone_size = 63; },
        [](Superblock& s) { s.sequence = ~std::uint64_t{0}; },
        [](Superblock& s) { s.generation = ~std::uint64_t{0}; },
    };
    for (std::size_t i = 0; i < std::size(changes); ++i) {
        Superblock sb = sound();
        changes[i](sb);
        CAPTURE(i);
        CHECK(!superblock_problem(sb, kCapacity).empty());
    }
    Superblock small = sound();
    small.capacity = 2 * kPage - 1;
    CHECK(!superblock_problem(small, small.capacity).empty());
    CHECK(!superblock_problem(sound(), kCapacity - kPage).empty());
    // A zone table too small for the zones of a large shelf.
    Superblock large = sound();
    large.capacity = std::uint64_t{1} << 30;
    CHECK(!superblock_problem(large, large.capacity).empty());
    large.zone_size = 64 * sizeof(Zone);
    CHECK(superblock_problem(large, large.capacity).empty());
    large.capacity = std::uint64_t{1} << 40;  // 65,536 zones of that size
    CHECK(!superblock_problem(large, large.capacity).empty());
}

TEST_CASE("arbitrary contents with a right checksum never lead outside the file") {
    REQUIRE(rc::check([] {
        Superblock sb = sound();
        auto* bytes = reinterpret_cast<std::uint8_t*>(&sb);
        const auto n = *rc::gen::inRange(1, 12);
        for (int i = 0; i < n; ++i)
            bytes[*rc::gen::inRange<std::size_t>(16, 400)] = *rc::gen::arbitrary<std::uint8_t>();
        if (!superblock_problem(sb, kCapacity).empty()) return;
        const auto inside = [](std::uint64_t offset, std::uint64_t size) {
            return offset >= kDataStart && offset <= kCapacity && size <= kCapacity - offset;
        };
        RC_ASSERT(inside(sb.log_offset, sb.log_size));
        RC_ASSERT(sb.zone_size == 0 || inside(sb.zone_offset, sb.zone_size));
        RC_ASSERT(sb.run_count <= kMaxRuns);
        for (std::uint32_t i = 0; i < sb.run_count; ++i) RC_ASSERT(inside(sb.runs[i].offset, sb.runs[i].size));
    }));
}

TEST_CASE("a uuid's text") {
    Uuid u;
    for (std::size_t i = 0; i < u.size(); ++i) u[i] = static_cast<std::uint8_t>(17 * i);
    CHECK(uuid_text(u) == "00112233-4455-6677-8899-aabbccddeeff");
}
