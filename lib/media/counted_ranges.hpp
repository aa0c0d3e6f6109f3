// CountedRanges: how often each byte of a range of numbers is marked. A description's locks do not
// count: unlocking drops a byte however often it was locked. This does the counting.
#pragma once

#include <cassert>
#include <cstdint>
#include <iterator>
#include <map>

namespace pymm {

class CountedRanges {
public:
    /// Marks [start, end) once more.
    void add(std::uint64_t start, std::uint64_t end) {
        split(start);
        split(end);
        for (std::uint64_t at = start; at < end;) {
            auto it = pieces_.lower_bound(at);
            if (it == pieces_.end() || it->first > at) {  // a gap: nobody has marked it yet
                const std::uint64_t to = it == pieces_.end() || it->first > end ? end : it->first;
                it = pieces_.emplace_hint(it, at, Piece{to, 0});
            }
            ++it->second.count;
            at = it->second.end;
        }
    }

    /// Takes one mark from [start, end), which add() has marked, and calls `dropped(start, end)` for
    /// each part that nobody marks any more. Allocates nothing unless add() was called with other
    /// bounds.
    template <class F>
    void remove(std::uint64_t start, std::uint64_t end, F&& dropped) {
        split(start);
        split(end);
        std::uint64_t from = start;  // [from, at) is dropped
        std::uint64_t at = start;
        while (at < end) {
            const auto it = pieces_.find(at);
            assert(it != pieces_.end() && "unmarked what was not marked");
            if (it == pieces_.end()) break;
            const std::uint64_t next = it->second.end;
            if (--it->second.count == 0) {
                pieces_.erase(it);
            } else {
                if (from < at) dropped(from, at);
                from = next;
            }
            at = next;
        }
        if (from < at) dropped(from, at);
    }

    bool empty() const noexcept { return pieces_.empty(); }

private:
    struct Piece {
        std::uint64_t end;
        std::uint64_t count;
    };

    /// Makes `at` a boundary between pieces.
    void split(std::uint64_t at) {
        auto it = pieces_.upper_bound(at);
        if (it == pieces_.begin()) return;
        it = std::prev(it);
        if (it->first == at || it->second.end <= at) return;
        const Piece tail{it->second.end, it->second.count};
        pieces_.emplace(at, tail);
        it->second.end = at;
    }

    std::map<std::uint64_t, Piece> pieces_;  // by start; disjoint, counts at least 1
};

}  // namespace pymm
