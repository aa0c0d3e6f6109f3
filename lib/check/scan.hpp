// Looks through the data area for structures that describe themselves.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "check/image.hpp"

namespace pymm {

struct FoundHeader {
    format::ExtentHeader fixed;
    std::string name;
    std::vector<std::byte> type;
    bool renew = false;  ///< it is to be written anew, as what it says cannot be
    format::Extent header() const noexcept;
    format::Extent data() const noexcept { return {fixed.offset, fixed.extent}; }
};

struct FoundCommit {
    std::uint64_t offset, size, sequence, salt;
};

struct Scan {
    std::vector<FoundHeader> headers;
    std::vector<FoundCommit> commits;
    /// Sound pages of runs: (run id, where the run's first page is or was) -> page numbers, rising.
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<std::uint32_t>> runs;
};

/// Extent headers of shelf `uuid` (of any, if there is none) in [kDataStart, capacity) but not in `skip`, which is
/// sorted and disjoint; with `metadata` also commits and pages of runs. Holes of the file are not read. The time grows
/// with what is stored, whatever sizes are forged there; structures that reach from one range into the next of those that
/// are not skipped are not found.
void scan_data(Image& image, std::uint64_t capacity, const std::vector<format::Extent>& skip,
               const std::optional<format::Uuid>& uuid, bool metadata, Scan& out);

}  // namespace pymm
