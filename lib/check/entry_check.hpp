// What an entry and its extent header must satisfy, without a word about where the entry came from. Shared by the
// check and by salvage.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "format/entry.hpp"

namespace pymm {

struct Image;

/// For messages: control characters and what is no UTF-8 as \xNN.
std::string printable(std::string_view text);

/// Null, or what is wrong with a type descriptor for data of `size` bytes.
const char* type_problem_of(format::Bytes type, std::uint64_t size);

/// Where header and entry disagree: expected (the entry's word), found (the header's). Empty: they agree.
struct Disagreement {
    const char* field = nullptr;
    std::uint64_t offset = 0;  ///< of the field in the header
    std::uint64_t expected = 0;
    std::uint64_t found = 0;
};
Disagreement compare_header(const format::Entry& entry, const format::ExtentHeader& header) noexcept;

/// Null, or what is wrong with the journal of a transaction that an entry describes.
const char* journal_problem(const Image& image, const format::Entry& entry);

/// Extents of an entry that is not inline: header, data; one if they adjoin.
void append_extents(const format::Entry& entry, std::vector<format::Extent>& out);

}  // namespace pymm
