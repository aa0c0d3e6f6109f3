// The .npy format, versions 1.0 to 3.0, without NumPy.
// Source: numpy.lib.format ("Format Version 1.0/2.0/3.0"), NEP 1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <pymm/type.hpp>

#include "input.hpp"

namespace pymmctl {

inline constexpr std::array npy_magic{std::byte{0x93}, std::byte{'N'}, std::byte{'U'},
                                      std::byte{'M'},  std::byte{'P'}, std::byte{'Y'}};

/// True when the input, which is not consumed, starts as .npy files do.
bool looks_like_npy(Input& input);

/// Consumes the header; the array's bytes, Type::nbytes() of them, follow. Throws Failure: corrupt;
/// version; usage for dtypes that hold Python objects.
pymm::Type read_npy_header(Input& input);

/// The header with which an array of this type is to be written. Throws Failure(usage) where the type
/// is no contiguous array or scalar.
std::string npy_header(const pymm::Type& type, const std::string& where);

}  // namespace pymmctl
