// Bytes from an input or another shelf onto a shelf.
#pragma once

#include <cstdint>

#include <pymm/shelf.hpp>

#include "input.hpp"
#include "progress.hpp"

namespace pymmctl {

/// From here on a blob is staged and filled piece by piece; smaller ones are put in one go.
inline constexpr std::uint64_t stage_from = 4u << 20;

/// Reads `size` bytes, all that the input may have, and puts them. Throws Failure(corrupt) when it ends
/// before or goes on after; the shelf is unchanged then. `text`: they must be UTF-8.
void put_sized(pymm::Shelf& shelf, const std::string& name, const pymm::Type& type,
               std::uint64_t size, Input& input, Progress& progress, bool text = false);

/// Puts whatever comes until the input ends. Bytes wait on the shelf itself, not in memory.
/// `type_for` gives the type once the size is known; it may throw.
void put_unsized(pymm::Shelf& shelf, const std::string& name,
                 const std::function<pymm::Type(std::uint64_t)>& type_for, Input& input,
                 Progress& progress, bool text = false);

/// The blob's bytes in pieces, each looked at before: an IoError names the place that cannot be read, where a
/// write(2) from there would only tell of a bad address.
void for_each_piece(const pymm::View& view, const std::function<void(std::span<const std::byte>)>& use);

/// The bytes of a view, staged on `shelf`.
pymm::Staged stage_copy(pymm::Shelf& shelf, const pymm::View& view, Progress& progress);

}  // namespace pymmctl
