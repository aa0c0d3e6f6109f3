// Map of a shelf's data area: what occupies which bytes, and how the free ones are scattered.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include <pymm/shelf.hpp>

namespace pymm {

enum class SpaceUse {
    free,
    blobs,     ///< data of blobs, and their headers
    metadata,  ///< data header, redo log, sorted runs, zone table
};
std::string_view space_use_name(SpaceUse use) noexcept;

/// Bytes of the data file that are used in the same way.
struct SpaceRegion {
    std::uint64_t offset = 0;  ///< in the data file
    std::uint64_t size = 0;    ///< bytes, a multiple of 64
    SpaceUse use = SpaceUse::free;
    std::string_view what;     ///< "free", "blobs", "data header", "log", "run", "zone table"
};

/// All in bytes, exact, as of one commit. `blobs` + `metadata` + `free` = `capacity`.
struct SpaceFigures {
    std::uint64_t capacity = 0;
    std::uint64_t blobs = 0;
    std::uint64_t metadata = 0;
    std::uint64_t free = 0;
    std::uint64_t largest_free = 0;
    std::uint64_t free_extents = 0;  ///< their number
    std::uint64_t sequence = 0;      ///< the commit

    /// 0: all that is free is one extent; towards 1: it is in crumbs. 0 where nothing is free.
    double fragmentation() const noexcept {
        return free == 0 ? 0 : 1.0 - static_cast<double>(largest_free) / static_cast<double>(free);
    }
};

/// Calls `visit` for each region, in order of their offsets, without a gap, from 0 to the capacity; neighbours of
/// the same use are one region, but each piece of metadata is its own. Returns the figures, of everything, also
/// when `visit` ended the calls by returning false.
///
/// Reads the space events of all runs: its time is that of the number of extents, its memory is constant.
/// Bytes that a view pins after its blob was erased, and staged ones, count as free. `visit` must not call
/// back into the shelf. Throws CorruptError where the shelf contradicts itself, ClosedError.
SpaceFigures map_space(const Shelf& shelf, const std::function<bool(const SpaceRegion&)>& visit = {});

}  // namespace pymm
