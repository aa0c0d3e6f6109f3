#include "format/entry.hpp"

#include <fmt/format.h>

#include <cstring>

#include "format/crc32c.hpp"
#include "format/names.hpp"
#include "format/type_codec.hpp"

namespace pymm::format {

std::size_t encoded_entry_size(std::size_t name, std::size_t type, std::size_t value) noexcept {
    return round_up(sizeof(Entry) + name + type + value, 8);
}

void encode_entry(const Entry& fixed, std::string_view name, Bytes type, Bytes value,
                  std::byte* out) noexcept {
    Entry entry = fixed;
    entry.name_size = static_cast<std::uint16_t>(name.size());
    entry.type_size = static_cast<std::uint16_t>(type.size());
    entry.inline_size = static_cast<std::uint32_t>(value.size());
    const std::size_t size = sizeof entry + name.size() + type.size() + value.size();
    std::memcpy(out, &entry, sizeof entry);
    out += sizeof entry;
    std::memcpy(out, name.data(), name.size());
    out += name.size();
    if (!type.empty()) std::memcpy(out, type.data(), type.size());
    out += type.size();
    if (!value.empty()) std::memcpy(out, value.data(), value.size());
    std::memset(out + value.size(), 0, round_up(size, 8) - size);
}

const char* decode_entry(Bytes bytes, EntryView& out, std::size_t& used) noexcept {
    if (bytes.size() < sizeof(Entry)) return "entry: cut short";
    std::memcpy(&out.fixed, bytes.data(), sizeof(Entry));
    const Entry& e = out.fixed;
    if (e.type_size > kMaxEntryType) return "entry: type descriptor too long";
    if (e.inline_size > kMaxInline) return "entry: inline value too long";
    const std::size_t size = encoded_entry_size(e.name_size, e.type_size, e.inline_size);
    if (size > bytes.size()) return "entry: reaches past its container";
    if ((e.flags & ~kEntryFlagsKnown) != 0) return "entry: unknown flags";
    const char* at = reinterpret_cast<const char*>(bytes.data() + sizeof(Entry));
    out.name = {at, e.name_size};
    out.type = bytes.subspan(sizeof(Entry) + e.name_size, e.type_size);
    out.value = bytes.subspan(sizeof(Entry) + e.name_size + e.type_size, e.inline_size);
    used = size;
    return nullptr;
}

const char* entry_problem(const EntryView& entry, std::uint64_t capacity) noexcept {
    const Entry& e = entry.fixed;
    if (blob_name_problem(entry.name) != nullptr && !is_journal_name(entry.name)) return "entry: illegal name";
    if (entry.tombstone()) return nullptr;
    if (entry.inlined()) {
        if (e.offset != 0 || e.extent != 0 || e.header_offset != 0 || e.header_size != 0)
            return "entry: an inline value with an extent";
        return e.size == e.inline_size ? nullptr : "entry: size is not that of the inline value";
    }
    if (e.inline_size != 0) return "entry: an extent with an inline value";
    const auto inside = [capacity](std::uint64_t offset, std::uint64_t size) {
        return offset % kLine == 0 && size % kLine == 0 && offset >= kDataStart && offset <= capacity &&
               size <= capacity - offset;
    };
    if (!inside(e.offset, e.extent)) return "entry: extent outside the data area or unaligned";
    if (!inside(e.header_offset, e.header_size)) return "entry: header outside the data area";
    if (e.header_size < sizeof(ExtentHeader)) return "entry: header too small";
    if (e.header_size > extent_header_size(kMaxName, kMaxType)) return "entry: header too large";
    if (e.size > e.extent) return "entry: size exceeds the extent";
    if (e.size >= kPage && e.offset % kPage != 0) return "entry: extent not on a page";
    return nullptr;
}

std::size_t extent_header_size(std::size_t name, std::size_t type) noexcept {
    return round_up(sizeof(ExtentHeader) + name + type, kLine);
}

namespace {

std::uint32_t extent_header_crc(const ExtentHeader& fixed, Bytes tail) noexcept {
    ExtentHeader copy = fixed;
    copy.update = 0;
    copy.crc = 0;
    return crc32c(tail.data(), tail.size(), crc32c(&copy, sizeof copy));
}

}  // namespace

void encode_extent_header(ExtentHeader fixed, std::string_view name, Bytes type,
                          std::vector<std::byte>& out) {
    const std::size_t start = out.size();
    out.resize(start + extent_header_size(name.size(), type.size()));
    std::byte* at = out.data() + start;
    fixed.magic = kExtentMagic;
    fixed.name_size = static_cast<std::uint32_t>(name.size());
    fixed.type_size = static_cast<std::uint32_t>(type.size());
    std::byte* tail = at + sizeof fixed;
    std::memcpy(tail, name.data(), name.size());
    if (!type.empty()) std::memcpy(tail + name.size(), type.data(), type.size());
    fixed.crc = extent_header_crc(fixed, Bytes(tail, name.size() + type.size()));
    std::memcpy(at, &fixed, sizeof fixed);
}

const char* decode_extent_header(Bytes bytes, std::uint64_t offset, const Uuid& uuid,
                                 ExtentHeaderView& out) {
    if (bytes.size() < sizeof(ExtentHeader)) return "extent header: cut short";
    std::memcpy(&out.fixed, bytes.data(), sizeof(ExtentHeader));
    const ExtentHeader& h = out.fixed;
    if (h.magic != kExtentMagic) return "extent header: no magic";
    if (h.uuid != uuid) return "extent header: of another shelf";
    if (h.own_offset != offset) return "extent header: of another place";
    if (h.name_size > kMaxName || h.type_size > kMaxType) return "extent header: lengths out of range";
    if (bytes.size() - sizeof h < std::size_t{h.name_size} + h.type_size)
        return "extent header: reaches past its extent";
    const Bytes tail = bytes.subspan(sizeof h, std::size_t{h.name_size} + h.type_size);
    if (extent_header_crc(h, tail) != h.crc) return "extent header: wrong checksum";
    out.name = {reinterpret_cast<const char*>(tail.data()), h.name_size};
    out.type = tail.subspan(h.name_size);
    return nullptr;
}

BlobInfo blob_info(const EntryView& entry, Bytes header, const Uuid& uuid) {
    const Entry& e = entry.fixed;
    const auto damaged = [&](const char* problem) {
        throw CorruptError(fmt::format("blob '{}': {}; the shelf is damaged there: erase the blob or "
                                       "restore the shelf from a copy",
                                       entry.name, problem));
    };
    BlobInfo info;
    info.name = entry.name;
    info.id = e.id;
    info.size = e.size;
    info.offset = e.offset;
    info.extent = e.extent;
    info.sequence = e.sequence;
    info.created = Clock::time_point(std::chrono::duration_cast<Clock::duration>(
        std::chrono::nanoseconds(e.created_ns)));
    info.modified = Clock::time_point(std::chrono::duration_cast<Clock::duration>(
        std::chrono::nanoseconds(e.modified_ns)));
    info.mode = e.mode;
    info.inlined = entry.inlined();
    info.sealed = (e.flags & kEntrySealed) != 0;
    if ((e.flags & kEntryContentCrc) != 0) info.checksum = e.content_crc;
    Bytes type = entry.type;
    ExtentHeaderView outside;
    if ((e.flags & kEntryTypeInHeader) != 0) {
        if (const char* problem = decode_extent_header(header, e.header_offset, uuid, outside))
            damaged(problem);
        type = outside.type;
    }
    if (!decode_type(type, info.type)) damaged("malformed type descriptor");
    if (const char* problem = type_problem(info.type, info.size)) damaged(problem);
    return info;
}

}  // namespace pymm::format
