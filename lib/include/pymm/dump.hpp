// Dump: the structures of a shelf as they lie in its two files, piece by piece, for people who look for damage.
//
// Believes nothing that it reads, and goes on behind damage: each item says what is wrong with it. What every field
// means is in docs/FORMAT.md; the fields have the names that they have there.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <pymm/error.hpp>

namespace pymm {

struct DumpField {
    enum class Form {
        number,
        hex,   ///< salts, checksums, magics
        time,  ///< `number` is nanoseconds since 1970, UTC
        text,  ///< `text`: any bytes, UTF-8 where nothing is damaged
    };
    std::string_view name;
    Form form = Form::number;
    std::uint64_t number = 0;
    std::string text;
};

/// One structure. Items of greater depth behind it are parts of it.
struct DumpItem {
    std::string_view kind;    ///< "superblock", "commit", "put", "run", "page", "entry", ...
    unsigned depth = 0;
    bool in_map = false;      ///< lies in the .map, else in the .data
    std::uint64_t offset = 0; ///< in that file
    std::uint64_t size = 0;   ///< bytes; 0 where that is not known
    std::vector<DumpField> fields;
    std::string problem;      ///< empty, or what is wrong
};

struct DumpOptions {
    bool superblocks = true;  ///< both copies, live page, data header
    bool zones = true;        ///< the zone table
    bool log = true;          ///< commits and their records, also sound ones behind damage
    bool runs = true;         ///< run headers, pages, entries, index items, space events
    bool blobs = true;        ///< the catalogue as it is in effect: every blob, its extent, its extent header
    std::string blob;         ///< of log, runs and blobs only what speaks of this name, and what is damaged
};

/// Calls `visit` for each item, in the order of the options above, until it returns false. Reads a piece at a time:
/// memory is that of the largest commit, at most 256 MiB, whatever the shelf holds. Changes nothing, and takes no
/// lock: beside a writer the parts may be of different moments, and may look damaged though they are not.
///
/// One of the two files may be missing or be cut short; then the items say so. Throws NotFoundError (both are missing),
/// InvalidArgumentError (names). Read errors are problems of the items.
void dump(const std::string& path, std::string_view shelf, const DumpOptions& options,
          const std::function<bool(const DumpItem&)>& visit);

}  // namespace pymm
