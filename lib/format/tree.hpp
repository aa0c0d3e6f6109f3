// Damage to the structure of a tree, for checks (docs/FORMAT.md, "Trees"). <pymm/tree.hpp> reads trees.
#pragma once

#include <cstddef>
#include <span>

namespace pymm::format {

/// Null when header and metadata have the checksums that they should have, or are of a version that is not known here;
/// else what is wrong. Reads all metadata. Allocates nothing: may run where loads are guarded.
const char* tree_problem(std::span<const std::byte> tree) noexcept;

}  // namespace pymm::format
