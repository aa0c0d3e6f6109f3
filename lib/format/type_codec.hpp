// Type descriptor <-> bytes (docs/FORMAT.md, "Type descriptor").
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <pymm/type.hpp>

namespace pymm::format {

/// Bytes that encode() needs.
std::size_t encoded_type_size(const Type& type) noexcept;
/// Writes exactly encoded_type_size(type) bytes.
void encode_type(const Type& type, std::byte* out) noexcept;

/// Null when a blob of `size` bytes can be of this type: kinds known, shape and strides agree and stay
/// inside; else what is wrong. For use on what callers pass and on what is read from media.
const char* type_problem(const Type& type, std::uint64_t size) noexcept;

/// False when the bytes are no type descriptor. Does not relate it to a size: see type_problem().
bool decode_type(std::span<const std::byte> bytes, Type& out);

}  // namespace pymm::format
