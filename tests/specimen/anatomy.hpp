// Which structure each byte of an undamaged shelf image belongs to.
#pragma once

#include <cstdint>
#include <vector>

#include "specimen/image.hpp"

namespace pymm::test {

enum class Part : std::uint8_t {
    superblock_0,
    superblock_1,
    live_page,
    data_header,
    data_header_used,  // `used`, which is not in the checksum
    commit,            // of the log, not the last one
    last_commit,
    run_header,
    leaf_page,
    index_page,
    filter_page,
    space_page,
    zone_table,
    type_in_header,  // an extent header that has the only copy of the blob's type
    extent_header,   // any other
    extent_update,   // `update` in either, which is not in the checksum
    blob_data,
    map_reserved,
    data_reserved,
    log_rest,  // behind the last commit, and between commits
    padding,   // of zone table and extent headers
    free_space,
    count,
};

const char* part_name(Part part) noexcept;

/// False where nothing is: damage there is no damage to the shelf.
constexpr bool is_live(Part part) noexcept {
    return part != Part::live_page && part < Part::map_reserved;
}

struct Anatomy {
    std::vector<Part> map;
    std::vector<Part> data;
    std::uint64_t commits = 0;
};

/// Opens the image, which must be sound.
Anatomy dissect(ShelfImage& image);

}  // namespace pymm::test
