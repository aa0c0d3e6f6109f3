// Sound commits among bytes that nobody vouches for, each byte summed once, whatever sizes are forged there.
#pragma once

#include <cstdint>
#include <functional>

#include "format/crc_sweep.hpp"
#include "format/layout.hpp"
#include "media/media.hpp"

namespace pymm {

/// Where `sweep` has passed to stands `header`: if it may be the header of a commit that ends before `end`, its checksum
/// is expected. True then.
bool expect_commit(CrcSweep& sweep, const format::CommitHeader& header, std::uint64_t end, std::uint64_t tag);

/// What find_commits() found; `offset` is of the data file.
struct SweptCommit {
    std::uint64_t offset, size, sequence;
};

/// Bytes of the data file into `out`. False: they cannot be read, and are passed over. May throw.
using SweepRead = std::function<bool(std::uint64_t offset, std::uint64_t size, std::byte* out)>;

/// The sound commits of incarnation `salt` above commit `after` in [from, to) of the data file, at multiples of 64 bytes
/// from `from` on, in the order of their ends, until `visit` returns false. Holes are not read: no commit with
/// well-formed records has so many zeros in a row. Returns how many were given up (see CrcSweep).
std::uint64_t find_commits(const Media& data, std::uint64_t from, std::uint64_t to, std::uint64_t salt,
                           std::uint64_t after, const SweepRead& read,
                           const std::function<bool(const SweptCommit&)>& visit);

/// Calls visit(offset, size) for what may be anything but zeros in [from, to) of the media, in pieces of at most `most`
/// bytes; `from` is a multiple of 64, `most` one of pages. Holes of less than a page are part of a piece.
template <class F>
void for_each_stored(const Media& media, std::uint64_t from, std::uint64_t to, std::uint64_t most, F&& visit) {
    if (to > media.size()) to = media.size();
    for (std::uint64_t at = from; at < to;) {
        // Asked before each piece, not for where the data ends: that would walk all of a large file.
        const std::uint64_t next = media.next_data(at) & ~(format::kLine - 1);
        if (next >= at + format::kPage) at = next;
        if (at >= to) return;
        // Pieces end with a page: on tmpfs looking at a hole's page makes it data, and what follows would never be one.
        const std::uint64_t whole = most - at % format::kPage;
        const std::uint64_t n = whole < to - at ? whole : to - at;
        if (!visit(at, n)) return;
        at += n;
    }
}

}  // namespace pymm
