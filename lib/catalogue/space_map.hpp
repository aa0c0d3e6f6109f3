// Free space of the data area, as the writer sees it.
//
// What is free on media follows from the space events and the superblock's list of metadata extents.
// Here, in memory, the data area is cut into zones, and a zone's free extents are worked out only when
// something is allocated from it: opening a shelf never scans.
//
// Three states of a byte: *available* (in the free sets), *taken* (by a blob or metadata extent of the
// committed state), *held* (in neither: staged by an uncommitted put, or freed but still looked at).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "catalogue/space_events.hpp"
#include "format/layout.hpp"

namespace pymm {

/// Disjoint ranges; neighbours are joined. What changes them does all or, where there is no memory, nothing.
class RangeSet {
public:
    void add(std::uint64_t offset, std::uint64_t size);
    void remove(std::uint64_t offset, std::uint64_t size);
    const std::map<std::uint64_t, std::uint64_t>& ranges() const noexcept { return map_; }  // begin -> end
    bool overlaps(std::uint64_t offset, std::uint64_t size) const;
    void clear() { map_.clear(); }

private:
    std::map<std::uint64_t, std::uint64_t> map_;
};

/// Not thread-safe; the catalogue's lock covers it.
class SpaceMap {
public:
    /// Streams the committed events that overlap [begin, ...), sorted, newest already winning.
    using EventSource = std::function<std::unique_ptr<EventCursor>(std::uint64_t begin)>;

    SpaceMap(std::uint64_t capacity, std::uint32_t zone_shift, EventSource events);

    std::uint64_t capacity() const noexcept { return capacity_; }
    std::uint32_t zone_count() const noexcept { return static_cast<std::uint32_t>(zones_.size()); }

    /// State of an empty shelf: everything is free.
    void reset_free();
    /// State as the zone table says.
    void reset(const format::Zone* table);

    /// Committed state changed: bytes of a blob were taken or given back. Does not touch the free sets.
    void committed(std::uint64_t offset, std::uint64_t size, bool taken);
    /// A metadata extent of the root came or went. Likewise.
    void metadata(std::uint64_t offset, std::uint64_t size, bool taken);

    /// Finds `size` bytes (a multiple of kLine) aligned to `align`. They are held from then on. Nothing
    /// when there is no such extent.
    std::optional<std::uint64_t> allocate(std::uint64_t size, std::uint64_t align);
    /// Holds all of [offset, offset + size), multiples of kLine, or nothing, and then returns false: some of it is not
    /// available, or somebody still looks at it.
    bool allocate_at(std::uint64_t offset, std::uint64_t size);
    /// While set, asked before an extent is handed out: true means that somebody still looks at it. Such
    /// extents stay held and are collected for take_blocked(). For what was freed before this session, of
    /// which nobody here knows who looks at it.
    using Probe = std::function<bool(std::uint64_t offset, std::uint64_t size)>;
    void set_probe(Probe probe) { probe_ = std::move(probe); }
    bool probing() const noexcept { return probe_ != nullptr; }
    std::vector<format::Extent> take_blocked() { return std::exchange(blocked_, {}); }
    /// Bytes that must not be handed out though the committed state calls them free.
    void hold(std::uint64_t offset, std::uint64_t size) { held_.add(offset, size); }
    /// A held range becomes available. What is available already is left alone: a damaged catalogue may
    /// give the same bytes back twice. Where there is no memory for that, some of it is not handed out any more in this session.
    void release(std::uint64_t offset, std::uint64_t size);
    /// A held range is now covered by a committed event or metadata extent.
    void settle(std::uint64_t offset, std::uint64_t size) { held_.remove(offset, size); }

    std::uint64_t used() const noexcept { return capacity_ - free_; }
    std::uint64_t free() const noexcept { return free_; }
    /// An estimate of the largest free extent: exact where zones are loaded, a hint elsewhere.
    std::uint64_t largest() const;
    /// Zone table of the committed state.
    std::vector<format::Zone> table() const;

private:
    struct ZoneState {
        std::uint64_t free;     // committed
        std::uint64_t largest;  // hint
        bool loaded;
    };

    std::uint64_t zone_begin(std::size_t zone) const noexcept;
    std::uint64_t zone_end(std::size_t zone) const noexcept;
    void account(std::uint64_t offset, std::uint64_t size, bool taken);
    void load(std::size_t zone);
    std::optional<std::uint64_t> take(std::uint64_t size, std::uint64_t align);
    std::optional<std::uint64_t> find(std::uint64_t size, std::uint64_t align);
    void make_available(std::uint64_t begin, std::uint64_t end);
    void remove_available(std::uint64_t begin, std::uint64_t end);
    void set_free(std::uint64_t begin, std::uint64_t end);

    std::uint64_t capacity_;
    std::uint32_t shift_;
    EventSource events_;
    Probe probe_;
    std::vector<format::Extent> blocked_;
    std::vector<ZoneState> zones_;
    std::uint64_t free_ = 0;
    RangeSet metadata_;
    RangeSet held_;
    // Available extents of the loaded zones.
    std::map<std::uint64_t, std::uint64_t> by_offset_;              // begin -> end
    std::set<std::pair<std::uint64_t, std::uint64_t>> by_size_;     // (size, begin)
};

/// The zone shift of a shelf of this capacity.
std::uint32_t zone_shift_for(std::uint64_t capacity) noexcept;

}  // namespace pymm
