#include "check/entry_check.hpp"

#include <fmt/format.h>

#include <cstddef>

#include "check/image.hpp"
#include "format/journal.hpp"
#include "format/names.hpp"
#include "format/type_codec.hpp"

namespace pymm {

using namespace format;

std::string printable(std::string_view text) {
    const bool utf8 = is_utf8(text);
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) out += fmt::format("\\x{:02x}", byte);
        else out += c;
    }
    return out;
}

const char* type_problem_of(Bytes type, std::uint64_t size) {
    Type decoded;
    if (!decode_type(type, decoded)) return "a malformed type descriptor";
    return type_problem(decoded, size);
}

Disagreement compare_header(const Entry& e, const ExtentHeader& h) noexcept {
    const auto differ = [](const char* field, std::size_t offset, std::uint64_t expected, std::uint64_t found) {
        return Disagreement{field, offset, expected, found};
    };
    if (h.id != e.id) return differ("id", offsetof(ExtentHeader, id), e.id, h.id);
    if (h.offset != e.offset) return differ("data at offset", offsetof(ExtentHeader, offset), e.offset, h.offset);
    if (h.extent != e.extent) return differ("extent", offsetof(ExtentHeader, extent), e.extent, h.extent);
    if (h.size != e.size) return differ("size", offsetof(ExtentHeader, size), e.size, h.size);
    if (h.sequence >= e.sequence)
        return differ("sequence below", offsetof(ExtentHeader, sequence), e.sequence, h.sequence);
    return {};
}

const char* journal_problem(const Image& image, const Entry& e) {
    const std::uint64_t size = image.target.data.size();
    if ((e.flags & kEntryInline) != 0 || e.offset > size || e.size > size - e.offset) return "no extent";
    std::vector<JournalRange> ranges;
    try {
        return read_journal(image.target.data, e.offset, e.size, ranges);
    } catch (const IoError&) {
        return "it cannot be read";
    }
}

void append_extents(const Entry& e, std::vector<Extent>& out) {
    if (e.header_offset + e.header_size == e.offset) {
        out.push_back({e.header_offset, e.header_size + e.extent});
        return;
    }
    out.push_back({e.header_offset, e.header_size});
    if (e.extent != 0) out.push_back({e.offset, e.extent});
}

}  // namespace pymm
