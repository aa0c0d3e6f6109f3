// Writes a catalogue anew: one run, an empty log, a zone table, all in space that nothing uses, then the root.
// Until the root is written the shelf is as it was; from then on it is mended. No blob's data is touched.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "check/image.hpp"

namespace pymm {

/// An entry that stands in no sound page as it is to be.
struct NewEntry {
    std::string name;
    format::Entry fixed{};
    std::vector<std::byte> type;   ///< descriptor; goes to the header if it is too long for an entry
    std::vector<std::byte> value;  ///< inline
    bool new_header = false;       ///< the extent header is written anew, elsewhere
};

struct Plan {
    format::Superblock base{};                 ///< uuid, capacity, times; counters to go on from
    std::vector<NewEntry> extra;               ///< sorted by name, none of which the image's entries keep
    std::unordered_set<std::string> left_out;  ///< names of the image's entries that do not count
    std::vector<format::Extent> keep;          ///< what must not be overwritten besides, and is to be saved
    std::uint64_t capacity = 0;
};

/// Needs the writer's lock. Throws NoSpaceError, IoError, and what `save` throws; the shelf is as it was then,
/// unless writing the root itself failed.
void rebuild(Image& image, Plan& plan);

/// The data header as it should be, durable.
void write_data_header(Image& image, const format::Uuid& uuid, std::uint64_t capacity);
/// Saves, once for each check.
void save_replaced(Image& image, const std::vector<format::Extent>& data);

}  // namespace pymm
