#include "format/names.hpp"

#include <fmt/format.h>

#include <cstdint>

#include "format/layout.hpp"

namespace pymm::format {

bool is_utf8(std::string_view text) noexcept {
    std::size_t i = 0;
    while (i < text.size()) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x80) {
            ++i;
            continue;
        }
        std::size_t more;
        std::uint32_t code;
        std::uint32_t smallest;
        if ((c & 0xe0) == 0xc0) {
            more = 1, code = c & 0x1fu, smallest = 0x80;
        } else if ((c & 0xf0) == 0xe0) {
            more = 2, code = c & 0x0fu, smallest = 0x800;
        } else if ((c & 0xf8) == 0xf0) {
            more = 3, code = c & 0x07u, smallest = 0x10000;
        } else {
            return false;
        }
        if (text.size() - i <= more) return false;
        for (std::size_t k = 1; k <= more; ++k) {
            const auto d = static_cast<unsigned char>(text[i + k]);
            if ((d & 0xc0) != 0x80) return false;
            code = (code << 6) | (d & 0x3fu);
        }
        if (code < smallest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return false;
        i += more + 1;
    }
    return true;
}

const char* blob_name_problem(std::string_view name) noexcept {
    if (name.empty()) return "it is empty";
    if (name.size() > kMaxName) return "it is longer than 1024 bytes";
    // One pass for what ordinary names never need more than: components and plain ASCII.
    bool ascii = true;
    std::size_t start = 0;
    for (std::size_t i = 0; i <= name.size(); ++i) {
        if (i < name.size() && name[i] != '/') {
            if (name[i] == '\0') return "it contains a NUL";
            if (static_cast<unsigned char>(name[i]) >= 0x80) ascii = false;
            continue;
        }
        const std::string_view part = name.substr(start, i - start);
        if (part.empty()) return "it has an empty component (a slash at an end, or two in a row)";
        if (part == "." || part == "..") return "it has a component \".\" or \"..\"";
        start = i + 1;
    }
    if (!ascii && !is_utf8(name)) return "it is not UTF-8";
    return nullptr;
}

const char* shelf_name_problem(std::string_view name) noexcept {
    if (name.empty()) return "it is empty";
    if (name.size() > 200) return "it is longer than 200 bytes";
    if (name.front() == '.') return "it starts with a dot";
    for (const char c : name) {
        if (c == '/') return "it contains a slash";
        if (c == '\0') return "it contains a NUL";
    }
    if (!is_utf8(name)) return "it is not UTF-8";
    return nullptr;
}

std::string journal_name(std::uint32_t number) {
    return std::string(kJournalName) + std::to_string(number);
}

bool is_journal_name(std::string_view name) noexcept {
    if (!name.starts_with(kJournalName)) return false;
    const std::string_view number = name.substr(kJournalName.size());
    if (number.empty() || number.size() > 10 || (number.front() == '0' && number.size() > 1)) return false;
    return number.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string printable_name(std::string_view name) {
    constexpr std::size_t longest = 80;
    std::string_view shown = name;
    if (name.size() > longest) {
        std::size_t end = longest;  // not inside a character
        while (end > longest - 4 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;
        shown = name.substr(0, end);
    }
    const bool utf8 = is_utf8(shown);
    std::string text;
    for (const char c : shown) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) text += fmt::format("\\x{:02x}", byte);
        else text += c;
    }
    if (shown.size() < name.size()) text += "...";
    return text;
}

}  // namespace pymm::format
