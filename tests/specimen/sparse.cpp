#include "specimen/sparse.hpp"

#include <algorithm>
#include <cstring>

#include "format/layout.hpp"

namespace pymm::test {

namespace {

constexpr std::uint64_t kUnit = 16;
constexpr std::uint32_t kInMap = std::uint32_t{1} << 31;
constexpr std::size_t kMaxUnits = 0xffff;

void clear(PageBytes& bytes, std::size_t size) {
    if (bytes.size() == size) std::memset(bytes.data(), 0, size);
    else bytes = PageBytes(size);
}

void encode_file(const PageBytes& file, std::uint32_t where, std::vector<std::byte>& out) {
    const auto is_zero = [&](std::size_t unit) {
        const std::byte* at = file.data() + unit * kUnit;
        return std::all_of(at, at + kUnit, [](std::byte b) { return b == std::byte{0}; });
    };
    const std::size_t units = file.size() / kUnit;
    for (std::size_t i = 0; i < units;) {
        if (is_zero(i)) {
            ++i;
            continue;
        }
        std::size_t end = i + 1;
        while (end < units && end - i < kMaxUnits && !is_zero(end)) ++end;
        const auto place = static_cast<std::uint32_t>(i) | where;
        const auto count = static_cast<std::uint16_t>(end - i);
        const std::size_t at = out.size();
        out.resize(at + 6 + (end - i) * kUnit);
        std::memcpy(&out[at], &place, 4);
        std::memcpy(&out[at + 4], &count, 2);
        std::memcpy(&out[at + 6], file.data() + i * kUnit, (end - i) * kUnit);
        i = end;
    }
}

}  // namespace

void decode_sparse(std::span<const std::byte> bytes, ShelfImage& image) {
    std::uint16_t pages = 0;
    if (bytes.size() >= 2) std::memcpy(&pages, bytes.data(), 2);
    clear(image.map, format::kMapSize);
    clear(image.data, std::clamp<std::size_t>(pages, 2, 256) * format::kPage);
    for (std::size_t at = 2; at + 6 < bytes.size();) {
        std::uint32_t place;
        std::uint16_t units;
        std::memcpy(&place, &bytes[at], 4);
        std::memcpy(&units, &bytes[at + 4], 2);
        at += 6;
        PageBytes& file = (place & kInMap) != 0 ? image.map : image.data;
        const std::uint64_t offset = std::uint64_t{place & ~kInMap} * kUnit;
        const std::size_t size = std::min<std::size_t>(units * kUnit, bytes.size() - at);
        if (offset < file.size())
            std::memcpy(file.data() + offset, &bytes[at], std::min<std::size_t>(size, file.size() - offset));
        at += size;
    }
}

std::vector<std::byte> encode_sparse(const ShelfImage& image) {
    const auto pages = static_cast<std::uint16_t>(image.data.size() / format::kPage);
    std::vector<std::byte> out(2);
    std::memcpy(out.data(), &pages, 2);
    encode_file(image.map, kInMap, out);
    encode_file(image.data, 0, out);
    return out;
}

}  // namespace pymm::test
