// Superblock pair: encoding, checking, choosing.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "format/layout.hpp"

namespace pymm::format {

/// Commits and generations that no shelf comes to, and only half as far as the limit: from here on no session begins, as it
/// would end in a root that cannot be opened, and salvage believes no such number.
inline constexpr std::uint64_t kPlausibleSequence = kSequenceLimit / 2;

void seal_superblock(Superblock& sb) noexcept;  // sets magic, version, size, crc

/// Why a copy was not usable; empty when it was.
struct SuperblockChoice {
    std::optional<Superblock> best;  // the sound copy of higher generation
    int index = -1;                  // which copy
    std::string problem[2];
};

/// Reads both copies from the first bytes of a .map. Unknown versions and features are no damage: see
/// version_problem().
SuperblockChoice choose_superblock(std::span<const std::byte> map);

enum class Support { full, read_only, none };
/// What this version can do with the shelf; `why` names the bits.
Support superblock_support(const Superblock& sb, std::string& why);

/// Empty, or what is wrong with the contents of a superblock whose checksum is right, for a data file
/// of `data_size` bytes. Bounds of everything that it points to.
std::string superblock_problem(const Superblock& sb, std::uint64_t data_size);

std::string uuid_text(const Uuid& uuid);

}  // namespace pymm::format
