// The check of a shelf on media: what pymm::check() does once the files are mapped. The power-cut simulator
// and the fuzz target call it on media in memory.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <pymm/check.hpp>

#include "format/layout.hpp"
#include "media/lease.hpp"
#include "media/media.hpp"

namespace pymm {

/// What a repair is going to replace, to be saved before.
struct Replaced {
    std::vector<format::Extent> data;  ///< ranges of the data file; all of the map is always meant, too
};

/// Media and lease outlive the check. To repair, the media are writable and the caller holds the writer's lock;
/// without repair nothing is written, and a `lease` that does not hold it lets the check run beside a writer.
struct CheckTarget {
    Media& map;
    Media& data;
    Lease* lease = nullptr;   ///< null: nobody else is there
    bool map_missing = false; ///< `map` is a blank stand-in: there is no .map
    /// Called once before the first change that replaces something. Returns where it was saved; throws to give up.
    std::function<std::string(const Replaced&)> save;
};

/// Throws VersionError, NoSpaceError, IoError, and what `progress` and `save` throw.
CheckReport check_media(const CheckTarget& target, const CheckOptions& options);

}  // namespace pymm
