// Making durable what was stored through views.
#include <fmt/format.h>

#include <mutex>
#include <shared_mutex>
#include <vector>

#include "shelf/transaction.hpp"

namespace pymm {

void ShelfCore::persist_range(std::uint64_t offset, std::uint64_t size) {
    if (failed_.load())
        throw ReadOnlyError(fmt::format("shelf '{}' is read-only since an error of the media ({}); what was "
                                        "stored since may be lost", parts_.name, failure_));
    // Its commit makes them durable.
    if (joins()) {
        const std::shared_lock lock(mutex_);
        if (tx_ && joins() && tx_->covers(offset, size)) return;
    }
    guarded([&] { parts_.data->persist(offset, size); });
}

void ShelfCore::persist() {
    struct Range {
        std::uint64_t offset, size;
        std::uint64_t turn;
        bool idle;  // no writable view of it lives: nobody stores to it any more
    };
    std::vector<Range> ranges;
    {
        const auto lock = exclusive();
        require_open();
        if (!writable()) return;
        ranges.reserve(touched_.size());
        for (const auto& [offset, touched] : touched_) {
            const auto pin = pins_.find(offset);
            ranges.push_back({offset, touched.size, touched.turn, pin == pins_.end() || pin->second.writable == 0});
        }
    }
    if (ranges.empty()) return;
    if (failed_.load()) require_writable();
    // A view that dies meanwhile may let an extent be reused: flushing foreign bytes is harmless.
    guarded([&] {
        if (parts_.data->granularity() == Granularity::page) {
            // One sync, not one for each: it costs what is dirty, and between these extents nothing else is.
            const std::uint64_t begin = ranges.front().offset;
            parts_.data->flush(begin, ranges.back().offset + ranges.back().size - begin);
        } else {
            for (const Range& range : ranges)
                if (range.size != 0) parts_.data->flush(range.offset, range.size);
        }
        parts_.data->drain();
    });
    // A view that lived may have been stored to behind the flush, be it gone now: the next call's business.
    const auto lock = exclusive();
    for (const Range& range : ranges) {
        const auto now = touched_.find(range.offset);
        if (range.idle && now != touched_.end() && now->second.turn == range.turn) touched_.erase(now);
    }
}

}  // namespace pymm
