// Bloom filter of a run: one cache line per name (Putze, Sanders, Singler: "Cache-, Hash- and
// Space-Efficient Bloom Filters", 2007). The bits are on media: docs/FORMAT.md, "Filter page".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "format/layout.hpp"

namespace pymm {

/// FNV-1a over the bytes, finished as MurmurHash3 does (fmix64), so that all bits depend on all bytes.
inline std::uint64_t name_hash(std::string_view name) noexcept {
    std::uint64_t h = 0xcbf29ce484222325;
    for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccd;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53;
    h ^= h >> 33;
    return h;
}

/// The block of a name, of `blocks` in all.
inline std::uint64_t filter_block(std::uint64_t hash, std::uint64_t blocks) noexcept {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(hash) * blocks) >> 64);
}

inline void filter_set(std::byte* block, std::uint64_t hash) noexcept {
    std::uint64_t bits = hash * 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < format::kFilterProbes; ++i, bits >>= 9)
        block[(bits & 511) >> 3] |= std::byte{1} << (bits & 7);
}

inline bool filter_has(const std::byte* block, std::uint64_t hash) noexcept {
    std::uint64_t bits = hash * 0x9e3779b97f4a7c15;
    for (unsigned i = 0; i < format::kFilterProbes; ++i, bits >>= 9)
        if ((block[(bits & 511) >> 3] & (std::byte{1} << (bits & 7))) == std::byte{0}) return false;
    return true;
}

inline std::uint64_t filter_blocks_for(std::uint64_t names) noexcept {
    return names / format::kFilterNamesPerBlock + 1;
}
inline std::uint32_t filter_pages_for(std::uint64_t blocks) noexcept {
    return static_cast<std::uint32_t>((blocks + format::kFilterBlocksPerPage - 1) /
                                      format::kFilterBlocksPerPage);
}

}  // namespace pymm
