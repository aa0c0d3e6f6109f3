#include "check/pages.hpp"

#include <fmt/format.h>

#include <cstring>

#include "format/crc32c.hpp"

namespace pymm {

using namespace format;

PageHeader PageBuffer::header() const noexcept {
    PageHeader h;
    std::memcpy(&h, bytes, sizeof h);
    return h;
}

bool page_sound(const PageBuffer& page, std::uint64_t run_id, std::uint32_t number, PageProblem& problem) {
    const PageHeader header = page.header();
    PageHeader clean = header;
    clean.crc = 0;
    const std::uint32_t crc =
        crc32c(page.bytes + sizeof clean, kPage - sizeof clean, crc32c(&clean, sizeof clean));
    if (header.magic != kPageMagic)
        problem = {fmt::format("magic {:#x}", kPageMagic), fmt::format("{:#x}", header.magic)};
    else if (header.crc != crc)
        problem = {fmt::format("checksum {:#x}", crc), fmt::format("{:#x}", header.crc)};
    else if (header.run_id != run_id || header.number != number)
        problem = {fmt::format("page {} of run {}", number, run_id),
                   fmt::format("page {} of run {}", header.number, header.run_id)};
    else
        return true;
    return false;
}

Bytes page_item(const PageBuffer& page, std::uint32_t slot) noexcept {
    const std::uint32_t count = page.header().count;
    if (slot >= count || count > (kPage - sizeof(PageHeader)) / 8) return {};
    std::uint16_t offset;
    std::memcpy(&offset, page.bytes + kPage - 2 * (std::uint64_t{slot} + 1), sizeof offset);
    const std::uint32_t limit = static_cast<std::uint32_t>(kPage) - 2 * count;
    if (offset < sizeof(PageHeader) || offset >= limit) return {};
    return {page.bytes + offset, limit - offset};
}

const char* leaf_entry(const PageBuffer& page, std::uint32_t slot, EntryView& entry, Bytes& encoded) noexcept {
    const Bytes bytes = page_item(page, slot);
    if (bytes.empty()) return "item out of range";
    std::size_t used = 0;
    if (const char* problem = decode_entry(bytes, entry, used)) return problem;
    encoded = bytes.first(used);
    return nullptr;
}

}  // namespace pymm
