#include "check/entry_stream.hpp"

#include <algorithm>
#include <cassert>

namespace pymm {

using namespace format;

EntryStream::EntryStream(const Image& image, Versions versions)
    : image_(image), all_(versions == Versions::all), tail_(image.tail.sorted()) {
    for (std::size_t i = image.runs.size(); i > 0; --i) {
        Cursor cursor{i - 1, &image.runs[i - 1], std::make_unique<PageBuffer>(), 0, 0, false, false, {}, {}};
        if (!advance(cursor)) continue;
        cursors_.push_back(std::move(cursor));
        push(cursors_.size() - 1);
    }
}

void EntryStream::push(std::size_t cursor) {
    heap_.push_back(cursor);
    std::push_heap(heap_.begin(), heap_.end(), [this](std::size_t a, std::size_t b) {
        const int order = cursors_[a].name.compare(cursors_[b].name);
        return order != 0 ? order > 0 : a > b;
    });
}

std::size_t EntryStream::pop() {
    std::pop_heap(heap_.begin(), heap_.end(), [this](std::size_t a, std::size_t b) {
        const int order = cursors_[a].name.compare(cursors_[b].name);
        return order != 0 ? order > 0 : a > b;
    });
    const std::size_t cursor = heap_.back();
    heap_.pop_back();
    return cursor;
}

// To the next entry that can be read and stands in order.
bool EntryStream::advance(Cursor& c) {
    while (c.leaf < c.run->leaves.size()) {
        if (!c.loaded) {
            const std::uint32_t number = c.run->leaves[c.leaf];
            PageProblem ignored;
            c.loaded = image_.read(c.run->ref.offset + std::uint64_t{number} * kPage, kPage, c.page->bytes) &&
                       page_sound(*c.page, c.run->ref.run_id, number, ignored);
            c.slot = 0;
        }
        if (!c.loaded || c.slot >= c.page->header().count) {
            ++c.leaf;
            c.loaded = false;
            continue;
        }
        EntryView entry;
        if (leaf_entry(*c.page, c.slot++, entry, c.encoded) != nullptr) continue;
        if (c.any && entry.name <= c.name) continue;
        c.any = true;
        c.name = entry.name;
        return true;
    }
    return false;
}

bool EntryStream::next() {
    const bool tail = at_ < tail_.size() && (heap_.empty() || tail_[at_].first <= cursors_[heap_.front()].name);
    if (!tail && heap_.empty()) return false;
    const Bytes encoded = tail ? tail_[at_].second : cursors_[heap_.front()].encoded;
    source_ = tail ? image_.runs.size() : cursors_[heap_.front()].source;
    // Copied: the cursors go on, and what they point to changes.
    encoded_.assign(encoded.begin(), encoded.end());
    std::size_t used = 0;
    [[maybe_unused]] const char* problem = decode_entry(encoded_, entry_, used);
    assert(problem == nullptr);
    if (tail) ++at_;
    bool first = !tail;
    while (!heap_.empty() && (first || (!all_ && cursors_[heap_.front()].name == entry_.name))) {
        first = false;
        const std::size_t cursor = pop();
        if (advance(cursors_[cursor])) push(cursor);
    }
    return true;
}

}  // namespace pymm
