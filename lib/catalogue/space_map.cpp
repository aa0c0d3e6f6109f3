#include "catalogue/space_map.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace pymm {

using namespace format;

void RangeSet::add(std::uint64_t offset, std::uint64_t size) {
    if (size == 0) return;
    std::uint64_t begin = offset, end = offset + size;
    auto it = map_.lower_bound(begin);
    if (it != map_.begin() && std::prev(it)->second >= begin) --it;
    std::map<std::uint64_t, std::uint64_t>::node_type node;  // of the first that it touches
    while (it != map_.end() && it->first <= end) {
        begin = std::min(begin, it->first);
        end = std::max(end, it->second);
        const auto touched = it++;
        if (node) map_.erase(touched);
        else node = map_.extract(touched);
    }
    if (!node) {
        map_.emplace(begin, end);
        return;
    }
    node.key() = begin;
    node.mapped() = end;
    map_.insert(std::move(node));
}

void RangeSet::remove(std::uint64_t offset, std::uint64_t size) {
    if (size == 0) return;
    const std::uint64_t end = offset + size;
    // What reaches beyond the end is split first, as there may be no memory for that.
    if (const auto behind = map_.lower_bound(end); behind != map_.begin()) {
        const auto last = std::prev(behind);
        if (last->second > end) {
            map_.emplace_hint(behind, end, last->second);
            last->second = end;
        }
    }
    auto it = map_.lower_bound(offset);
    if (it != map_.begin() && std::prev(it)->second > offset) std::prev(it)->second = offset;
    while (it != map_.end() && it->first < end) it = map_.erase(it);
}

bool RangeSet::overlaps(std::uint64_t offset, std::uint64_t size) const {
    auto it = map_.lower_bound(offset + size);
    return it != map_.begin() && std::prev(it)->second > offset;
}

std::uint32_t zone_shift_for(std::uint64_t capacity) noexcept {
    std::uint32_t shift = kMinZoneShift;
    while (((capacity - 1) >> shift) + 1 > kMaxZones) ++shift;
    return shift;
}

SpaceMap::SpaceMap(std::uint64_t capacity, std::uint32_t zone_shift, EventSource events)
    : capacity_(capacity), shift_(zone_shift), events_(std::move(events)),
      zones_(((capacity - 1) >> zone_shift) + 1) {
    reset_free();
}

std::uint64_t SpaceMap::zone_begin(std::size_t zone) const noexcept {
    return zone == 0 ? kDataStart : std::uint64_t{zone} << shift_;
}

std::uint64_t SpaceMap::zone_end(std::size_t zone) const noexcept {
    return std::min(capacity_, std::uint64_t{zone + 1} << shift_);
}

void SpaceMap::reset_free() {
    free_ = 0;
    for (std::size_t z = 0; z < zones_.size(); ++z) {
        const std::uint64_t size = zone_end(z) - zone_begin(z);
        zones_[z] = {size, size, false};
        free_ += size;
    }
    metadata_.clear();
    held_.clear();
    by_offset_.clear();
    by_size_.clear();
}

void SpaceMap::reset(const Zone* table) {
    reset_free();
    free_ = 0;
    for (std::size_t z = 0; z < zones_.size(); ++z) {
        // A table that promises more than a zone holds is damaged; the exact numbers come from load().
        const std::uint64_t size = zone_end(z) - zone_begin(z);
        zones_[z] = {std::min(table[z].free, size), std::min(table[z].largest, size), false};
        free_ += zones_[z].free;
    }
}

void SpaceMap::account(std::uint64_t offset, std::uint64_t size, bool taken) {
    while (size != 0) {
        const std::size_t z = offset >> shift_;
        const std::uint64_t piece = std::min(size, zone_end(z) - offset);
        if (taken) {
            const std::uint64_t n = std::min(piece, zones_[z].free);
            zones_[z].free -= n;
            free_ -= n;
        } else {
            zones_[z].free += piece;
            free_ += piece;
            if (!zones_[z].loaded) zones_[z].largest = std::max(zones_[z].largest, piece);
        }
        offset += piece;
        size -= piece;
    }
}

void SpaceMap::committed(std::uint64_t offset, std::uint64_t size, bool taken) {
    account(offset, size, taken);
}

void SpaceMap::metadata(std::uint64_t offset, std::uint64_t size, bool taken) {
    account(offset, size, taken);
    if (taken) metadata_.add(offset, size);
    else metadata_.remove(offset, size);
}

void SpaceMap::set_free(std::uint64_t begin, std::uint64_t end) {
    const auto at = by_offset_.emplace(begin, end).first;
    try {
        by_size_.emplace(end - begin, begin);
    } catch (...) {
        by_offset_.erase(at);
        throw;
    }
}

void SpaceMap::make_available(std::uint64_t begin, std::uint64_t end) {
    if (begin >= end) return;
    ZoneState& zone = zones_[begin >> shift_];
    zone.largest = std::max(zone.largest, end - begin);
    auto it = by_offset_.lower_bound(begin);
    assert(it == by_offset_.end() || it->first >= end);
    if (it != by_offset_.end() && it->first == end) {
        end = it->second;
        by_size_.erase({it->second - it->first, it->first});
        it = by_offset_.erase(it);
    }
    if (it != by_offset_.begin()) {
        auto before = std::prev(it);
        assert(before->second <= begin);
        if (before->second == begin) {
            begin = before->first;
            by_size_.erase({before->second - before->first, before->first});
            by_offset_.erase(before);
        }
    }
    set_free(begin, end);
}

void SpaceMap::remove_available(std::uint64_t begin, std::uint64_t end) {
    auto it = std::prev(by_offset_.upper_bound(begin));
    const auto [b, e] = *it;
    assert(b <= begin && end <= e);
    by_size_.erase({e - b, b});
    by_offset_.erase(it);
    if (b < begin) set_free(b, begin);
    if (end < e) set_free(end, e);
}

// Free = the zone, less committed taken ranges, metadata extents and what is held.
void SpaceMap::load(std::size_t zone) {
    const std::uint64_t begin = zone_begin(zone), end = zone_end(zone);
    RangeSet free;
    free.add(begin, end - begin);
    const auto cursor = events_(begin);
    Event event;
    while (cursor->next(event) && event.offset < end)
        if (event.taken) free.remove(event.offset, event.size);
    const auto subtract = [&](const RangeSet& other) {
        auto it = other.ranges().upper_bound(begin);
        if (it != other.ranges().begin()) --it;
        for (; it != other.ranges().end() && it->first < end; ++it)
            free.remove(it->first, it->second - it->first);
    };
    subtract(metadata_);
    std::uint64_t total = 0;
    for (const auto& [b, e] : free.ranges()) total += e - b;
    subtract(held_);
    ZoneState& state = zones_[zone];
    free_ = free_ - state.free + total;
    state.free = total;  // the exact number, whatever the table said
    state.loaded = true;
    state.largest = 0;
    for (const auto& [b, e] : free.ranges()) make_available(b, e);
}

std::optional<std::uint64_t> SpaceMap::take(std::uint64_t size, std::uint64_t align) {
    const auto fits = [&](std::uint64_t begin, std::uint64_t length) -> std::optional<std::uint64_t> {
        const std::uint64_t at = (begin + align - 1) & ~(align - 1);
        if (at - begin > length || length - (at - begin) < size) return std::nullopt;
        return at;
    };
    std::optional<std::uint64_t> found;
    auto it = by_size_.lower_bound({size, 0});
    // Best fit among the closest sizes; an unaligned extent may need the slack that the second search has.
    for (int tries = 0; it != by_size_.end() && tries < 16 && !found; ++it, ++tries)
        found = fits(it->second, it->first);
    if (!found && it != by_size_.end()) {
        it = by_size_.lower_bound({size + align - kLine, 0});
        if (it != by_size_.end()) found = fits(it->second, it->first);
    }
    if (!found) return std::nullopt;
    remove_available(*found, *found + size);
    held_.add(*found, size);
    return found;
}

std::optional<std::uint64_t> SpaceMap::allocate(std::uint64_t size, std::uint64_t align) {
    for (;;) {
        const auto found = find(size, align);
        if (!found || !probe_ || !probe_(*found, size)) return found;
        blocked_.push_back({*found, size});
    }
}

bool SpaceMap::allocate_at(std::uint64_t offset, std::uint64_t size) {
    assert(size != 0 && offset % kLine == 0 && size % kLine == 0);
    if (offset > capacity_ || size > capacity_ - offset) return false;
    for (std::size_t z = offset >> shift_; z < zones_.size() && zone_begin(z) < offset + size; ++z)
        if (!zones_[z].loaded) load(z);
    const auto behind = by_offset_.upper_bound(offset);
    if (behind == by_offset_.begin() || std::prev(behind)->second < offset + size) return false;
    if (probe_ && probe_(offset, size)) return false;
    remove_available(offset, offset + size);
    held_.add(offset, size);
    return true;
}

std::optional<std::uint64_t> SpaceMap::find(std::uint64_t size, std::uint64_t align) {
    assert(size != 0 && size % kLine == 0 && std::has_single_bit(align));
    if (auto found = take(size, align)) return found;
    // First the zones whose hint promises enough, then every zone with free bytes: hints may be wrong.
    for (int pass = 0; pass < 2; ++pass) {
        for (std::size_t z = 0; z < zones_.size(); ++z) {
            if (zones_[z].loaded || zones_[z].free == 0) continue;
            if (pass == 0 && zones_[z].largest < std::min(size, zone_end(z) - zone_begin(z))) continue;
            load(z);
            if (auto found = take(size, align)) return found;
        }
    }
    // Sizes between the closest ones and the sure ones: look at each that is long enough.
    for (auto it = by_size_.lower_bound({size, 0}); it != by_size_.end(); ++it) {
        const std::uint64_t at = (it->second + align - 1) & ~(align - 1);
        if (at - it->second > it->first || it->first - (at - it->second) < size) continue;
        remove_available(at, at + size);
        held_.add(at, size);
        return at;
    }
    return std::nullopt;
}

void SpaceMap::release(std::uint64_t offset, std::uint64_t size) {
    held_.remove(offset, size);
    while (size != 0) {
        const std::size_t z = offset >> shift_;
        const std::uint64_t piece = std::min(size, zone_end(z) - offset);
        if (zones_[z].loaded) {
            RangeSet fresh;
            fresh.add(offset, piece);
            auto it = by_offset_.lower_bound(offset);
            if (it != by_offset_.begin() && std::prev(it)->second > offset) --it;
            for (; it != by_offset_.end() && it->first < offset + piece; ++it)
                fresh.remove(it->first, it->second - it->first);
            for (const auto& [begin, end] : fresh.ranges()) make_available(begin, end);
        }
        offset += piece;
        size -= piece;
    }
}

std::uint64_t SpaceMap::largest() const {
    std::uint64_t best = by_size_.empty() ? 0 : by_size_.rbegin()->first;
    std::uint64_t whole = 0;  // zones in a row that are free from end to end
    for (std::size_t z = 0; z < zones_.size(); ++z) {
        const ZoneState& zone = zones_[z];
        if (zone.loaded) {
            whole = 0;
            continue;
        }
        const std::uint64_t size = zone_end(z) - zone_begin(z);
        whole = zone.free == size ? whole + size : 0;
        best = std::max({best, whole, std::min(zone.largest, zone.free)});
    }
    return best;
}

std::vector<Zone> SpaceMap::table() const {
    std::vector<Zone> table(zones_.size());
    for (std::size_t z = 0; z < zones_.size(); ++z)
        table[z] = {zones_[z].free, std::min(zones_[z].largest, zones_[z].free)};
    return table;
}

}  // namespace pymm
