// CRC32C (Castagnoli, RFC 3720 appendix B.4) by isa-l.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pymm {

/// CRC32C of `size` bytes; `seed` continues an earlier result. crc32c("123456789") is 0xe3069283.
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed = 0) noexcept;

}  // namespace pymm
