// What lies in a namespace beside its whole shelves: traces of crashes and of repairs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pymm {

struct Leftover {
    enum class Kind {
        temporary,   ///< a .map that never got its name: a creation was cut short, or is under way
        unfinished,  ///< a .data without .map to which nothing was ever committed: likewise
        orphan,      ///< a .data that was in use and has lost its .map: check() with Repair::all can save it
        backup,      ///< what a repair replaced
    };
    Kind kind;
    std::string file;   ///< name in the namespace's directory
    std::string shelf;  ///< the shelf it belongs, or belonged, to
};
std::string_view leftover_name(Leftover::Kind kind) noexcept;
/// One sentence: what it is, and what can be done with it.
std::string_view leftover_text(Leftover::Kind kind) noexcept;

/// Sorted by file. Files of other programs are none of ours, and a shelf that lacks its .data is listed by
/// Namespace::list. Reads a few bytes of each .data without .map, changes nothing. Throws NotFoundError,
/// InvalidArgumentError, IoError for the directory itself.
std::vector<Leftover> find_leftovers(const std::string& path);

}  // namespace pymm
