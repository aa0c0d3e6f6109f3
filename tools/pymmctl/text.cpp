#include "text.hpp"

#include <unistd.h>

#include <array>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace pymmctl {

std::string human_size(std::uint64_t bytes) {
    if (bytes < 1024) return fmt::format("{} B", bytes);
    constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    // 1023.95 would be printed as 1024.0
    while (value >= 1023.95 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string counted(std::uint64_t n, std::string_view noun) {
    return fmt::format("{} {}{}", n, noun, n == 1 ? "" : "s");
}

std::string iso_time(pymm::Clock::time_point time, bool fraction) {
    const auto whole = std::chrono::floor<std::chrono::seconds>(time);
    const std::time_t seconds = pymm::Clock::to_time_t(whole);
    std::tm parts{};
    if (gmtime_r(&seconds, &parts) == nullptr) return "?";  // a year beyond int
    std::string text = fmt::format("{:%Y-%m-%dT%H:%M:%S}", parts);
    if (fraction)
        text += fmt::format(
            ".{:09}", std::chrono::duration_cast<std::chrono::nanoseconds>(time - whole).count());
    return text + 'Z';
}

std::string shape_text(const pymm::Type& type) {
    if (!pymm::is_array(type.kind)) return "-";
    return type.shape.size() == 1 ? fmt::format("({},)", type.shape[0])
                                  : fmt::format("({})", fmt::join(type.shape, ", "));
}

std::string maxshape_text(const pymm::Type& type) {
    const auto most = type.max_rows();
    if (!most || type.shape.empty()) return "-";
    std::string text = *most == UINT64_MAX ? "(None," : fmt::format("({},", *most);
    for (std::size_t d = 1; d < type.shape.size(); ++d) text += fmt::format("{} {}", d == 1 ? "" : ",", type.shape[d]);
    return text + ")";
}

std::string_view order_text(const pymm::Type& type) {
    if (!pymm::is_array(type.kind)) return "";
    if (type.c_contiguous()) return "C";
    return type.f_contiguous() ? "F" : "";
}

std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
        if (byte == 0xc2 && next >= 0x80 && next < 0xa0) {  // C1 controls in UTF-8
            out += '?';
            ++i;
        } else {
            out += byte < 0x20 || byte == 0x7f ? '?' : text[i];
        }
    }
    return out;
}

std::string for_fd(int fd, std::string_view text) {
    return isatty(fd) == 1 ? printable(text) : std::string(text);
}

bool is_utf8(std::span<const std::byte> bytes) noexcept {
    const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
    const auto* const end = p + bytes.size();
    while (p < end) {
        if (*p < 0x80) {
            ++p;
            continue;
        }
        // Second byte's range: RFC 3629, section 4.
        const unsigned lead = *p;
        std::ptrdiff_t more = 0;
        unsigned low = 0x80, high = 0xbf;
        if (lead >= 0xc2 && lead <= 0xdf) more = 1;
        else if (lead >= 0xe0 && lead <= 0xef) {
            more = 2;
            if (lead == 0xe0) low = 0xa0;
            if (lead == 0xed) high = 0x9f;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            more = 3;
            if (lead == 0xf0) low = 0x90;
            if (lead == 0xf4) high = 0x8f;
        } else {
            return false;
        }
        if (end - p <= more || p[1] < low || p[1] > high) return false;
        for (std::ptrdiff_t i = 2; i <= more; ++i)
            if (p[i] < 0x80 || p[i] > 0xbf) return false;
        p += more + 1;
    }
    return true;
}

}  // namespace pymmctl
