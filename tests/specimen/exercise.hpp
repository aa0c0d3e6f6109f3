// Does to a shelf image, however damaged or hostile, all that users do to a shelf.
#pragma once

#include <cstdint>

#include "specimen/image.hpp"

namespace pymm::test {

struct Exercised {
    bool opened = false;         ///< by a reader
    bool written = false;        ///< a commit was made
    std::uint64_t blobs = 0;     ///< read
    std::uint64_t findings = 0;  ///< of a check
    std::uint64_t repaired = 0;  ///< 1: a repair changed something
};

/// Opens the image, lists it, reads every byte of every blob; checks it; repairs a copy, reopens that and reads it;
/// writes to another copy in every way, closes and reopens it. Any pymm::Error is a right answer and is caught; whatever
/// else happens is a bug and gets out: other exceptions, failed assertions, what sanitizers see, and hangs.
enum class Exercise { all, repair_only, write_only };  ///< reading and checking are always done
Exercised exercise(ShelfImage& image, Exercise what = Exercise::all);

}  // namespace pymm::test
