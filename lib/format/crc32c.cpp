#include "format/crc32c.hpp"

#include <isa-l/crc.h>

#include <algorithm>

namespace pymm {

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed) noexcept {
    // isa-l takes an int length and leaves the conventional inversions to the caller.
    auto* at = static_cast<unsigned char*>(const_cast<void*>(data));
    std::uint32_t crc = ~seed;
    while (size != 0) {
        const std::size_t piece = std::min<std::size_t>(size, 1u << 30);
        crc = crc32_iscsi(at, static_cast<int>(piece), crc);
        at += piece;
        size -= piece;
    }
    return ~crc;
}

}  // namespace pymm
