#include "catalogue/space_events.hpp"

#include <algorithm>

namespace pymm {

void EventMap::set(std::uint64_t offset, std::uint64_t size, bool taken) {
    const std::uint64_t end = offset + size;
    std::uint64_t begin = offset;
    std::uint64_t stop = end;
    auto it = map_.lower_bound(offset);
    if (it != map_.begin()) {
        auto before = std::prev(it);
        if (before->second.end > offset || (before->second.end == offset && before->second.taken == taken)) {
            const Piece old = before->second;
            if (old.taken == taken) {
                begin = before->first;
                stop = std::max(stop, old.end);
                it = map_.erase(before);
            } else {
                before->second.end = offset;
                if (old.end > end) map_.emplace(end, Piece{old.end, old.taken});
                it = std::next(before);
            }
        }
    }
    while (it != map_.end() && it->first <= end) {
        if (it->first == end && it->second.taken != taken) break;
        const Piece old = it->second;
        it = map_.erase(it);
        if (old.taken == taken) {
            stop = std::max(stop, old.end);
        } else if (old.end > end) {
            map_.emplace(end, Piece{old.end, old.taken});
            break;
        }
    }
    map_[begin] = Piece{stop, taken};
}

std::vector<Event> EventMap::range(std::uint64_t begin, std::uint64_t end) const {
    std::vector<Event> found;
    auto it = map_.upper_bound(begin);
    if (it != map_.begin() && std::prev(it)->second.end > begin) --it;
    for (; it != map_.end() && it->first < end; ++it)
        found.push_back({it->first, it->second.end - it->first, it->second.taken});
    return found;
}

EventMerge::EventMerge(std::vector<std::unique_ptr<EventCursor>> sources, bool drop_free)
    : drop_free_(drop_free) {
    for (auto& cursor : sources) {
        Source source{std::move(cursor)};
        source.live = source.cursor->next(source.current);
        sources_.push_back(std::move(source));
    }
}

// The next maximal stretch on which the same source wins.
bool EventMerge::next_piece(Event& piece) {
    for (;;) {
        std::uint64_t boundary = UINT64_MAX;
        const Source* winner = nullptr;
        for (Source& s : sources_) {  // oldest first: a later hit wins
            while (s.live && s.current.end() <= at_) s.live = s.cursor->next(s.current);
            if (!s.live) continue;
            if (s.current.offset <= at_) {
                winner = &s;
                boundary = std::min(boundary, s.current.end());
            } else {
                boundary = std::min(boundary, s.current.offset);
            }
        }
        if (boundary == UINT64_MAX) return false;
        const std::uint64_t start = at_;
        at_ = boundary;
        if (winner != nullptr) {
            piece = {start, boundary - start, winner->current.taken};
            return true;
        }
    }
}

bool EventMerge::next(Event& event) {
    Event piece;
    while (next_piece(piece)) {
        if (drop_free_ && !piece.taken) continue;
        if (has_pending_ && pending_.end() == piece.offset && pending_.taken == piece.taken) {
            pending_.size += piece.size;
            continue;
        }
        if (has_pending_) {
            event = pending_;
            pending_ = piece;
            return true;
        }
        pending_ = piece;
        has_pending_ = true;
    }
    if (!has_pending_) return false;
    event = pending_;
    has_pending_ = false;
    return true;
}

}  // namespace pymm
