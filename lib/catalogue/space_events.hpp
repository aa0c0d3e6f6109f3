// Space events: "these bytes were taken", "these were given back", the newest wins.
//
// The state of the data area is: everything is free, then the events of the runs, oldest first, then
// those of the log tail. Extents of the log, the runs and the zone table are not events: the superblock
// names them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "format/layout.hpp"

namespace pymm {

struct Event {
    std::uint64_t offset;
    std::uint64_t size;
    bool taken;
    std::uint64_t end() const noexcept { return offset + size; }
};

/// Events that do not overlap, sorted by offset; setting a range overwrites what it covers.
class EventMap {
public:
    void set(std::uint64_t offset, std::uint64_t size, bool taken);
    void clear() { map_.clear(); }
    std::size_t size() const noexcept { return map_.size(); }
    /// Those that overlap [begin, end), whole.
    std::vector<Event> range(std::uint64_t begin, std::uint64_t end) const;
    std::vector<Event> all() const { return range(0, UINT64_MAX); }

private:
    struct Piece {
        std::uint64_t end;
        bool taken;
    };
    std::map<std::uint64_t, Piece> map_;  // by offset
};

/// Sorted stream of events that do not overlap.
class EventCursor {
public:
    virtual ~EventCursor() = default;
    /// False at the end. May throw CorruptError.
    virtual bool next(Event& event) = 0;
};

class VectorEventCursor final : public EventCursor {
public:
    explicit VectorEventCursor(std::vector<Event> events) : events_(std::move(events)) {}
    bool next(Event& event) override {
        if (at_ == events_.size()) return false;
        event = events_[at_++];
        return true;
    }

private:
    std::vector<Event> events_;
    std::size_t at_ = 0;
};

/// Sweeps several streams, oldest first, into one: where they overlap the newest wins; neighbours of
/// the same kind are joined.
class EventMerge final : public EventCursor {
public:
    /// `drop_free`: leave out what was given back; right when nothing older exists.
    EventMerge(std::vector<std::unique_ptr<EventCursor>> sources, bool drop_free);
    bool next(Event& event) override;

private:
    bool next_piece(Event& piece);

    struct Source {
        std::unique_ptr<EventCursor> cursor;
        Event current{};
        bool live = false;
    };
    std::vector<Source> sources_;
    std::uint64_t at_ = 0;
    bool drop_free_;
    Event pending_{};
    bool has_pending_ = false;
};

}  // namespace pymm
