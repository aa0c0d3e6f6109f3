// A shelf image as few bytes: what is not zero, with its place. For the fuzzer's inputs.
//
//     u16 data_pages                       size of the .data in pages of 4,096; read as 2 to 256
//     { u32 place, u16 units, bytes }*     place: in units of 16 bytes; bit 31: in the .map, else in the .data
//
// All little-endian. Every string of bytes means some image: what lies outside is left out, what is cut short ends
// there. The .map has 16,384 bytes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "specimen/image.hpp"

namespace pymm::test {

/// Into an image that is used again and again, as making a new one takes longer than opening it.
void decode_sparse(std::span<const std::byte> bytes, ShelfImage& image);
std::vector<std::byte> encode_sparse(const ShelfImage& image);

}  // namespace pymm::test
