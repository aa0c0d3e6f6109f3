// Journal of a transaction <-> bytes (docs/FORMAT.md, "Journals").
#pragma once

#include <cstdint>
#include <vector>

#include "format/entry.hpp"
#include "format/layout.hpp"
#include "media/media.hpp"

namespace pymm::format {

/// Bytes in front of the copies, in a journal of so many ranges.
std::uint64_t journal_data_start(std::size_t ranges) noexcept;

/// Where the copy of each range goes: sets `data` of all. The journal's size.
std::uint64_t lay_out_journal(std::vector<JournalRange>& ranges) noexcept;

/// Header and ranges, journal_data_start() bytes. `crc`: zero at first, and the journal's then.
std::vector<std::byte> encode_journal_start(const std::vector<JournalRange>& ranges, std::uint64_t size,
                                            std::uint32_t crc);

/// The ranges of the journal of `size` bytes at `offset`. Null when all of it is sound, and each range and its copy lies where
/// it can; else what is wrong. Reads all of it in place. Throws IoError when that cannot be done.
const char* read_journal(const Media& data, std::uint64_t offset, std::uint64_t size, std::vector<JournalRange>& ranges);

}  // namespace pymm::format
