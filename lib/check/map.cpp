// The map of a shelf: one sweep over the space events and the extents that the root names.
#include <pymm/map.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "shelf/core.hpp"

namespace pymm {

using namespace format;

std::string_view space_use_name(SpaceUse use) noexcept {
    switch (use) {
        case SpaceUse::free: return "free";
        case SpaceUse::blobs: return "blobs";
        case SpaceUse::metadata: return "metadata";
    }
    return "unknown";
}

namespace {

/// Metadata, by offset. What the root names was checked when it was read.
std::vector<SpaceRegion> metadata_of(const Superblock& root) {
    std::vector<SpaceRegion> all{{0, kDataStart, SpaceUse::metadata, "data header"},
                                 {root.log_offset, root.log_size, SpaceUse::metadata, "log"}};
    if (root.zone_size != 0) all.push_back({root.zone_offset, root.zone_size, SpaceUse::metadata, "zone table"});
    for (std::uint32_t i = 0; i < root.run_count; ++i)
        all.push_back({root.runs[i].offset, root.runs[i].size, SpaceUse::metadata, "run"});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
    return all;
}

/// Joins what is pushed in order of offset into regions without gaps, and counts.
class Sweep {
public:
    Sweep(const Media& media, const std::function<bool(const SpaceRegion&)>& visit)
        : media_(media), visit_(visit), wanted_(static_cast<bool>(visit)) {}

    void push(std::uint64_t offset, std::uint64_t size, SpaceUse use, std::string_view what) {
        if (offset < at_)
            throw CorruptError(fmt::format("{}: {} at offset {}: overlaps what is before it; run a check of the shelf",
                                           media_.name(), what, offset));
        if (offset > at_) append({at_, offset - at_, SpaceUse::free, space_use_name(SpaceUse::free)});
        append({offset, size, use, what});
        at_ = offset + size;
    }

    SpaceFigures finish() {
        if (at_ < media_.size()) append({at_, media_.size() - at_, SpaceUse::free, space_use_name(SpaceUse::free)});
        emit();
        figures_.capacity = media_.size();
        return figures_;
    }

private:
    void append(const SpaceRegion& region) {
        const bool joined = pending_.size != 0 && region.use != SpaceUse::metadata && pending_.use == region.use;
        if (joined) {
            pending_.size += region.size;
            return;
        }
        emit();
        pending_ = region;
    }

    void emit() {
        if (pending_.size == 0) return;
        switch (pending_.use) {
            case SpaceUse::blobs: figures_.blobs += pending_.size; break;
            case SpaceUse::metadata: figures_.metadata += pending_.size; break;
            case SpaceUse::free:
                figures_.free += pending_.size;
                figures_.largest_free = std::max(figures_.largest_free, pending_.size);
                ++figures_.free_extents;
                break;
        }
        wanted_ = wanted_ && visit_(pending_);
    }

    const Media& media_;
    const std::function<bool(const SpaceRegion&)>& visit_;
    bool wanted_;
    std::uint64_t at_ = 0;
    SpaceRegion pending_;
    SpaceFigures figures_;
};

}  // namespace

SpaceFigures map_space(const Shelf& shelf, const std::function<bool(const SpaceRegion&)>& visit) {
    SpaceFigures figures;
    ShelfCore::of(shelf).examine([&](const Catalogue& catalogue) {
        Sweep sweep(catalogue.media(), visit);
        const std::vector<SpaceRegion> metadata = metadata_of(catalogue.root());
        auto next = metadata.begin();
        const auto metadata_before = [&](std::uint64_t offset) {
            for (; next != metadata.end() && next->offset < offset; ++next)
                sweep.push(next->offset, next->size, next->use, next->what);
        };
        const std::unique_ptr<EventCursor> events = catalogue.space_events();
        for (Event event; events->next(event);) {
            if (!event.taken) continue;
            metadata_before(event.offset);
            sweep.push(event.offset, event.size, SpaceUse::blobs, space_use_name(SpaceUse::blobs));
        }
        metadata_before(UINT64_MAX);
        figures = sweep.finish();
        figures.sequence = catalogue.sequence();
    });
    return figures;
}

}  // namespace pymm
