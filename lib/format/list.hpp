// Damage to the structure of a linked list, for checks (docs/FORMAT.md, "Linked lists"). <pymm/list.hpp> reads them.
#pragma once

#include <cstddef>
#include <span>

namespace pymm::format {

/// Null when the root, all nodes of the present version and the values that it refers to are sound, as far as they have
/// checksums, or are of a version that is not known here; else what is wrong. Allocates nothing: may run where loads are
/// guarded.
const char* list_problem(std::span<const std::byte> list) noexcept;

}  // namespace pymm::format
