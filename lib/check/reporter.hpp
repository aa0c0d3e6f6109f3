// Collects findings, and remembers what would cure each.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <pymm/check.hpp>

namespace pymm {

/// What mends a finding. From `catalogue` on something may be lost or has to be guessed.
enum class Cure : std::uint8_t {
    superblock,   ///< write the copy again from the sound one
    data_header,  ///< write it again from the superblock
    header,       ///< write the extent header again from the entry
    fold,         ///< fold the log
    accounts,     ///< make the catalogue anew from its sound entries: counters, space, index, filters
    catalogue,    ///< the same, and search the data area for what the catalogue lost
    none,         ///< only a copy of the shelf helps
};

class Reporter {
public:
    explicit Reporter(CheckReport& report) : report_(report) {}

    void add(Cure cure, Finding finding);
    /// All findings with this cure were corrected.
    void cured(Cure cure, const std::string& action);
    std::uint64_t errors(Cure cure) const noexcept { return errors_[static_cast<std::size_t>(cure)]; }

    /// Findings of any severity.
    bool any(Cure cure) const noexcept { return std::find(cures_.begin(), cures_.end(), cure) != cures_.end(); }

private:
    static constexpr std::size_t kCures = static_cast<std::size_t>(Cure::none) + 1;
    CheckReport& report_;
    std::vector<Cure> cures_;  // of report_.findings, in step
    std::array<std::uint64_t, kCures> errors_{};
    std::array<std::uint64_t, kCures> omitted_{};
};

}  // namespace pymm
