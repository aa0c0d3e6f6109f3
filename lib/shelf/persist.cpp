// Making durable what was stored through views.
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

namespace {

// A gap that is worth less than another sync.
constexpr std::uint64_t kJoin = 256 << 20;

}  // namespace

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

void ShelfCore::flush_all(std::vector<Extent> extents) {
    std::erase_if(extents, [](const Extent& e) { return e.size == 0; });
    if (extents.empty()) return;
    std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    // A sync costs what is dirty, and a flush of the disk: between these extents little is. But a large span is synced in
    // pieces, a flush each.
    const bool page = parts_.data->granularity() == Granularity::page;
    guarded([&] {
        for (std::size_t i = 0; i < extents.size();) {
            const std::uint64_t begin = extents[i].offset;
            std::uint64_t end = begin + extents[i].size;
            while (++i < extents.size() && extents[i].offset <= end + (page ? kJoin : 0))
                end = std::max(end, extents[i].offset + extents[i].size);
            parts_.data->flush(begin, end - begin);
        }
        parts_.data->drain();
    });
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
    std::vector<Extent> extents;
    for (const Range& range : ranges) extents.push_back({range.offset, range.size});
    flush_all(std::move(extents));
    // A view that lived may have been stored to behind the flush, be it gone now: the next call's business.
    const auto lock = exclusive();
    for (const Range& range : ranges) {
        const auto now = touched_.find(range.offset);
        if (range.idle && now != touched_.end() && now->second.turn == range.turn) touched_.erase(now);
    }
}

}  // namespace pymm
