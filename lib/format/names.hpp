// Legal names: UTF-8 without traps. Used on what callers pass and on what is read from media.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pymm::format {

/// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

/// Null when `name` is a legal blob name, else what is wrong with it.
const char* blob_name_problem(std::string_view name) noexcept;
const char* shelf_name_problem(std::string_view name) noexcept;

/// Names of what the library keeps in the catalogue for itself: they begin with a NUL, as no user's do.
inline bool is_internal_name(std::string_view name) noexcept { return !name.empty() && name.front() == '\0'; }
/// A journal's name is this and a number in decimal digits.
inline constexpr std::string_view kJournalName("\0journal/", 9);
/// The name of a transaction's journal of that number ...
std::string journal_name(std::uint32_t number);
/// ... and whether this is one.
bool is_journal_name(std::string_view name) noexcept;

/// An illegal name as messages show it: its first 80 bytes, with control characters (a NUL would end the
/// message) and, where it is not UTF-8, its other bytes written as \xNN.
std::string printable_name(std::string_view name);

}  // namespace pymm::format
