// Merges the tail and sorted runs by name; of equal names the newest wins.
#pragma once

#include <memory>
#include <tuple>
#include <string_view>
#include <utility>
#include <vector>

#include "catalogue/run.hpp"

namespace pymm {

/// The runs from index `first` on, oldest first, must outlive it. Tombstones come out, too.
class EntryMerge {
public:
    using Tail = std::vector<std::pair<std::string_view, format::Bytes>>;

    EntryMerge(Tail tail, const std::vector<std::unique_ptr<Run>>& runs, std::size_t first,
               std::string_view from)
        : tail_(std::move(tail)) {
        while (at_ < tail_.size() && tail_[at_].first < from) ++at_;
        for (std::size_t i = runs.size(); i > first; --i) {
            Run::Cursor cursor(*runs[i - 1], from);
            if (cursor.valid()) cursors_.push_back(cursor);
        }
    }

    /// False at the end. `name` and `encoded` stay valid as long as tail and runs do.
    bool next(std::string_view& name, format::Bytes& encoded) {
        // Newest first, so an equal name found later is superseded. There are few runs: a scan beats a heap.
        const Run::Cursor* from = nullptr;
        bool any = at_ < tail_.size();
        if (any) std::tie(name, encoded) = tail_[at_];
        for (const Run::Cursor& c : cursors_)
            if (!any || c.name() < name) {
                any = true;
                from = &c;
                name = c.name();
            }
        if (!any) return false;
        if (from != nullptr) encoded = from->encoded();
        if (at_ < tail_.size() && tail_[at_].first == name) ++at_;
        for (std::size_t i = 0; i < cursors_.size();) {
            if (cursors_[i].name() == name) {
                cursors_[i].next();
                if (!cursors_[i].valid()) {
                    cursors_.erase(cursors_.begin() + static_cast<std::ptrdiff_t>(i));
                    continue;
                }
            }
            ++i;
        }
        return true;
    }

private:
    Tail tail_;
    std::size_t at_ = 0;
    std::vector<Run::Cursor> cursors_;  // newest first, none at its end
};

}  // namespace pymm
