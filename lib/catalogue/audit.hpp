// Audit: holds the catalogue against itself. The core of what a check of a shelf does; it reads every
// entry, so it costs what the number of blobs costs.
#pragma once

#include <string>
#include <vector>

#include "catalogue/catalogue.hpp"

namespace pymm {

struct AuditReport {
    std::vector<std::string> problems;  // empty: sound
    std::uint64_t blobs = 0;
    std::uint64_t bytes = 0;   // allocated to blobs
    std::uint64_t leaked = 0;  // bytes marked as taken that nothing refers to
};

/// Verifies that all entries decode, that extent headers agree with them, that no two extents overlap,
/// that the space events say exactly what blobs and metadata occupy, and that the counters are right.
/// Reads `data` for the extent headers. Wants the core's lock. Throws CorruptError where pages cannot
/// be read at all.
AuditReport audit(const Catalogue& catalogue, const Media& data);

}  // namespace pymm
