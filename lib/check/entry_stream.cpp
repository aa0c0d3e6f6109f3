#include "check/entry_stream.hpp"

#include <cassert>
#include <tuple>

namespace pymm {

using namespace format;

EntryStream::EntryStream(const Image& image) : image_(image), tail_(image.tail.sorted()) {
    for (std::size_t i = image.runs.size(); i > 0; --i) {
        Cursor cursor{i - 1, &image.runs[i - 1], std::make_unique<PageBuffer>(), 0, 0, false, false, {}, {}};
        if (advance(cursor)) cursors_.push_back(std::move(cursor));
    }
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
    bool any = at_ < tail_.size();
    std::string_view name;
    Bytes encoded;
    if (any) {
        std::tie(name, encoded) = tail_[at_];
        source_ = image_.runs.size();
    }
    for (const Cursor& c : cursors_)
        if (!any || c.name < name) {
            any = true;
            name = c.name;
            encoded = c.encoded;
            source_ = c.source;
        }
    if (!any) return false;
    // Copied: the cursors go on, and what they point to changes.
    encoded_.assign(encoded.begin(), encoded.end());
    std::size_t used = 0;
    [[maybe_unused]] const char* problem = decode_entry(encoded_, entry_, used);
    assert(problem == nullptr);
    if (at_ < tail_.size() && tail_[at_].first == entry_.name) ++at_;
    for (std::size_t i = 0; i < cursors_.size();) {
        if (cursors_[i].name == entry_.name && !advance(cursors_[i]))
            cursors_.erase(cursors_.begin() + static_cast<std::ptrdiff_t>(i));
        else
            ++i;
    }
    return true;
}

}  // namespace pymm
