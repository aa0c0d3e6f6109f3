// Makes every checksum of a shelf image right for what it covers, so that a mutation of the image is seen by
// the checks behind the checksums.
#pragma once

#include <cstddef>
#include <span>

namespace pymm::test {

/// Both superblocks, and whatever either of them names: the zone table, all pages of the runs, the commits of the
/// log as far as they hang together; then the data header and every extent header in the data. Never reads outside, whatever
/// the image says. Magic numbers are left as they are: what lost them is no structure any more.
void fix_checksums(std::span<std::byte> map, std::span<std::byte> data);

}  // namespace pymm::test
