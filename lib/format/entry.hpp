// Catalogue entry and extent header <-> bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <pymm/shelf.hpp>

#include "format/layout.hpp"

namespace pymm::format {

using Bytes = std::span<const std::byte>;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
    return (value + unit - 1) & ~(unit - 1);
}

/// A decoded entry. `fixed` is a copy (what lies on media may change under us when a hostile process
/// writes the file); name, type and value point into the bytes it was decoded from.
struct EntryView {
    Entry fixed{};
    std::string_view name;
    Bytes type;
    Bytes value;  // inline value

    bool tombstone() const noexcept { return (fixed.flags & kEntryTombstone) != 0; }
    bool inlined() const noexcept { return (fixed.flags & kEntryInline) != 0; }
};

std::size_t encoded_entry_size(std::size_t name, std::size_t type, std::size_t value) noexcept;
/// Writes encoded_entry_size() bytes; sets name_size, type_size and inline_size of what is written.
void encode_entry(const Entry& fixed, std::string_view name, Bytes type, Bytes value,
                  std::byte* out) noexcept;

/// Null on success, else what is wrong. Checks what reading it safely needs: lengths and flags. `used`
/// receives the entry's bytes.
const char* decode_entry(Bytes bytes, EntryView& out, std::size_t& used) noexcept;
/// Null when the name is legal and the entry's extents lie in the data area of a shelf of `capacity` bytes, aligned as they
/// must be, and sizes agree.
const char* entry_problem(const EntryView& entry, std::uint64_t capacity) noexcept;

/// Bytes of an extent header with this name and type, a multiple of kLine.
std::size_t extent_header_size(std::size_t name, std::size_t type) noexcept;
/// Appends the header's bytes to `out`; fills magic, sizes and CRC.
void encode_extent_header(ExtentHeader fixed, std::string_view name, Bytes type,
                          std::vector<std::byte>& out);

struct ExtentHeaderView {
    ExtentHeader fixed{};
    std::string_view name;
    Bytes type;
};
/// Null when `bytes`, found at `offset`, is a sound header of shelf `uuid`; else what is wrong.
const char* decode_extent_header(Bytes bytes, std::uint64_t offset, const Uuid& uuid,
                                 ExtentHeaderView& out);

/// BlobInfo of an entry. The type may lie in the extent header: `header` is then its bytes on media.
/// Throws CorruptError.
BlobInfo blob_info(const EntryView& entry, Bytes header, const Uuid& uuid);

}  // namespace pymm::format
