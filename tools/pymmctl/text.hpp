// Text for people and scripts: sizes, times, names, values.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <pymm/shelf.hpp>

namespace pymmctl {

/// "1.5 GiB"; exact up to 1023 bytes.
std::string human_size(std::uint64_t bytes);
/// "1 blob", "2 blobs".
std::string counted(std::uint64_t n, std::string_view noun);
/// UTC, ISO 8601: "2025-01-31T12:00:00Z", with nanoseconds when `fraction`.
std::string iso_time(pymm::Clock::time_point time, bool fraction = false);
/// "(2, 3)" as Python prints it.
std::string shape_text(const pymm::Type& type);
/// The shape that an array can grow to, None for any number of rows; "-" for those that are not made for it.
std::string maxshape_text(const pymm::Type& type);
/// "C", "F", or "" where the order means nothing (no array) or is neither.
std::string_view order_text(const pymm::Type& type);

/// For terminals: control characters, which could drive it, become '?'.
std::string printable(std::string_view text);
/// printable() when `fd` is a terminal, as is otherwise.
std::string for_fd(int fd, std::string_view text);

/// Strict: no surrogates, nothing overlong, at most U+10FFFF.
bool is_utf8(std::span<const std::byte> bytes) noexcept;

/// The value of a number, boolean, None, container or simple NumPy scalar, as Python would print it. False
/// for other kinds, whose bytes are their text. Throws CorruptError for a damaged container.
bool value_text(const pymm::Type& type, std::span<const std::byte> bytes, std::string& text);

}  // namespace pymmctl
