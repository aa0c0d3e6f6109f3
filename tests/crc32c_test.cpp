// CRC32C against the published vectors and against the definition, bit by bit.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <array>
#include <string_view>
#include <vector>

#include "format/crc32c.hpp"

using pymm::crc32c;

namespace {

// The definition: reflected polynomial 0x82f63b78, register inverted before and after.
std::uint32_t by_definition(const std::vector<std::uint8_t>& bytes) {
    std::uint32_t crc = ~0u;
    for (const std::uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    }
    return ~crc;
}

}  // namespace

TEST_CASE("published vectors (RFC 3720, appendix B.4)") {
    CHECK(crc32c("", 0) == 0);
    CHECK(crc32c("123456789", 9) == 0xe3069283);
    std::array<std::uint8_t, 32> block{};
    CHECK(crc32c(block.data(), block.size()) == 0x8a9136aa);
    block.fill(0xff);
    CHECK(crc32c(block.data(), block.size()) == 0x62a8ab43);
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::uint8_t>(i);
    CHECK(crc32c(block.data(), block.size()) == 0x46dd794e);
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::uint8_t>(31 - i);
    CHECK(crc32c(block.data(), block.size()) == 0x113fdb5c);
    const std::array<std::uint8_t, 48> pdu{0x01, 0xc0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0,
                                           0x14, 0,    0, 0, 0,    0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                           0x28, 0,    0, 0, 0,    0, 0, 0, 2, 0, 0, 0, 0,    0, 0, 0};
    CHECK(crc32c(pdu.data(), pdu.size()) == 0xd9963a56);
}

TEST_CASE("no bytes leave the seed as it is") {
    CHECK(crc32c(nullptr, 0, 0x12345678) == 0x12345678);
}

TEST_CASE("any bytes: the definition's value, in one piece or in two") {
    REQUIRE(rc::check([](const std::vector<std::uint8_t>& bytes) {
        const std::uint32_t whole = crc32c(bytes.data(), bytes.size());
        RC_ASSERT(whole == by_definition(bytes));
        const auto cut = *rc::gen::inRange<std::size_t>(0, bytes.size() + 1);
        const std::uint32_t front = crc32c(bytes.data(), cut);
        RC_ASSERT(crc32c(bytes.data() + cut, bytes.size() - cut, front) == whole);
    }));
}

TEST_CASE("lengths and alignments around the widths of the fast paths") {
    std::vector<std::uint8_t> bytes(5000);
    std::uint32_t state = 1;
    for (auto& b : bytes) b = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    for (std::size_t start = 0; start < 16; ++start)
        for (const std::size_t size : {1u, 7u, 8u, 15u, 63u, 64u, 65u, 511u, 1023u, 1024u, 3071u, 4096u, 4900u}) {
            const std::vector<std::uint8_t> copy(bytes.begin() + static_cast<std::ptrdiff_t>(start),
                                                 bytes.begin() + static_cast<std::ptrdiff_t>(start + size));
            REQUIRE(crc32c(bytes.data() + start, size) == by_definition(copy));
        }
}
