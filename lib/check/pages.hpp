// Pages of runs, read without trust: into a buffer, each number checked.
#pragma once

#include <cstdint>
#include <string>

#include "format/entry.hpp"
#include "format/layout.hpp"

namespace pymm {

struct alignas(8) PageBuffer {
    std::byte bytes[format::kPage];
    format::PageHeader header() const noexcept;
};

/// What is wrong with page `number` of run `run_id` as it stands in `page`: expected and found. Null: it is sound.
struct PageProblem {
    std::string expected;
    std::string found;
};
bool page_sound(const PageBuffer& page, std::uint64_t run_id, std::uint32_t number, PageProblem& problem);

/// Bytes from item `slot` of a leaf or index page on; empty when out of range.
format::Bytes page_item(const PageBuffer& page, std::uint32_t slot) noexcept;
/// Entry in slot `slot` of a leaf page. Null, or what is wrong.
const char* leaf_entry(const PageBuffer& page, std::uint32_t slot, format::EntryView& entry,
                       format::Bytes& encoded) noexcept;

}  // namespace pymm
