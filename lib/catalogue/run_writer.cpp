#include <algorithm>
#include <cstring>

#include "catalogue/filter.hpp"
#include "catalogue/run.hpp"
#include "format/crc32c.hpp"

namespace pymm {

using namespace format;

namespace {
constexpr std::uint64_t kUsable = kPage - sizeof(PageHeader);
constexpr std::size_t kBufferPages = 256;  // written in pieces of 1 MiB

/// Whether an item still fits on a page of `slots` items that have `bytes`.
bool fits(std::size_t bytes, std::size_t slots, std::size_t item) { return bytes + item + 2 * (slots + 1) <= kUsable; }
constexpr std::uint64_t kMaxEntry = sizeof(Entry) + kMaxName + kMaxEntryType + kMaxInline + 16;
std::size_t index_item_size(std::size_t name) { return round_up(sizeof(IndexItem) + name, 8); }
}  // namespace

// ---- Sizes ------------------------------------------------------------------------------------------

void RunSizer::add(std::size_t name_size, std::size_t entry_size) {
    if (slots_ == 0 || !fits(bytes_, slots_, entry_size)) {
        firsts_.push_back(static_cast<std::uint16_t>(name_size));
        bytes_ = slots_ = 0;
    }
    bytes_ += entry_size;
    ++slots_;
    ++names_;
}

std::uint64_t RunSizer::pages() const {
    std::uint64_t total = 1 + firsts_.size();
    for (std::vector<std::uint16_t> below = firsts_; below.size() > 1;) {
        std::vector<std::uint16_t> above;
        std::size_t bytes = 0, slots = 0;
        for (const std::uint16_t name : below) {
            const std::size_t item = index_item_size(name);
            if (slots == 0 || !fits(bytes, slots, item)) {
                above.push_back(name);
                bytes = slots = 0;
            }
            bytes += item;
            ++slots;
        }
        total += above.size();
        below = std::move(above);
    }
    if (names_ != 0) total += filter_pages_for(filter_blocks_for(names_));
    return total + (events_ + kEventsPerPage - 1) / kEventsPerPage;
}

std::uint64_t RunWriter::pages_bound(const Bound& bound) {
    // A page is closed when the next item does not fit: it then holds more than a page less that item.
    const auto pages = [](std::uint64_t items, std::uint64_t bytes, std::uint64_t longest) {
        if (items == 0) return std::uint64_t{0};
        return std::min(items, (bytes + 2 * items) / (kUsable - std::min(longest + 2, kUsable / 2)) + 1);
    };
    std::uint64_t total = 1;
    std::uint64_t below = pages(bound.names, bound.bytes, bound.max_entry);
    total += below;
    const std::uint64_t item = index_item_size(bound.max_name);
    while (below > 1) {
        below = pages(below, below * item, item);
        total += below;
    }
    return total + filter_pages_for(filter_blocks_for(bound.names)) + bound.events / kEventsPerPage + 1;
}

// ---- Writing ----------------------------------------------------------------------------------------

std::uint64_t RunWriter::pages_bound(const Bound& runs, std::uint64_t log) {
    Bound merged = runs;
    merged.names += log / sizeof(Entry) + 1;
    // An event cuts an older one in two, at the most.
    merged.events += 2 * log / (sizeof(RecordHeader) + sizeof(Extent));
    const std::uint64_t without_log = pages_bound(merged);
    // Bound by the longest entry that there can be, which wastes much of each page ...
    merged.bytes += log;
    merged.max_entry = std::max<std::uint64_t>(runs.max_entry, kMaxEntry);
    merged.max_name = kMaxName;
    const std::uint64_t longest = pages_bound(merged);
    // ... or by those of the runs, with the log twice: where one of its entries does not fit on a page, as many
    // bytes as it has stay empty there. The same holds for its names in the index above.
    const std::uint64_t leaves = 2 * log / (kUsable - std::min(runs.max_entry + 2, kUsable / 2)) + 1;
    const std::uint64_t item = index_item_size(runs.max_name);
    const std::uint64_t index = (2 * log + leaves * item) / (kUsable - std::min(item + 2, kUsable / 2)) + 2;
    return std::min(longest, without_log + leaves + index);
}

RunWriter::RunWriter(Media& data, std::uint64_t offset, std::uint64_t pages, const Uuid& uuid,
                     std::uint64_t run_id, std::uint64_t names_bound)
    : data_(data), offset_(offset), limit_(pages), run_id_(run_id),
      filter_blocks_(filter_blocks_for(names_bound)) {
    header_.uuid = uuid;
    // Whole pages: the number of blocks is derived from the number of pages when it is read.
    filter_blocks_ = std::uint64_t{filter_pages_for(filter_blocks_)} * kFilterBlocksPerPage;
    filter_.resize(filter_blocks_ * kFilterBlock);
    header_.leaf_start = 1;
    buffer_.resize(kPage);  // page 0 is filled in last; nothing names the run before all of it is durable
}

void RunWriter::emit(std::byte* page, PageType type, std::uint16_t count) {
    PageHeader header{kPageMagic, 0, run_id_, next_page_++, type, count, {0, 0}};
    std::memcpy(page, &header, sizeof header);
    header.crc = crc32c(page, kPage);
    std::memcpy(page, &header, sizeof header);
    if (buffer_.size() >= kBufferPages * kPage) flush_buffer();
}

void RunWriter::flush_buffer() {
    if (buffer_.empty()) return;
    if (buffer_first_ + buffer_.size() / kPage > limit_)
        throw Error(Code::no_space, "sorted run: more pages than were allocated (an internal error)");
    data_.write(offset_ + buffer_first_ * kPage, buffer_.data(), buffer_.size());
    buffer_first_ = next_page_;
    buffer_.clear();
}

std::uint32_t RunWriter::emit_items(Level& level, PageType type) {
    const std::uint32_t number = next_page_;
    const std::size_t at = buffer_.size();
    buffer_.resize(at + kPage);
    std::byte* page = buffer_.data() + at;
    std::memcpy(page + sizeof(PageHeader), level.items.data(), level.items.size());
    for (std::size_t i = 0; i < level.slots.size(); ++i)
        std::memcpy(page + kPage - 2 * (i + 1), &level.slots[i], 2);
    emit(page, type, static_cast<std::uint16_t>(level.slots.size()));
    level.items.clear();
    level.slots.clear();
    return number;
}

void RunWriter::add(std::string_view name, Bytes entry) {
    if (!fits(leaf_.items.size(), leaf_.slots.size(), entry.size())) {
        firsts_.emplace_back(std::move(leaf_first_), emit_items(leaf_, PageType::leaf));
        ++header_.leaf_count;
    }
    if (leaf_.slots.empty()) leaf_first_ = name;
    header_.max_entry = std::max(header_.max_entry, static_cast<std::uint32_t>(entry.size()));
    header_.max_name = std::max(header_.max_name, static_cast<std::uint32_t>(name.size()));
    leaf_.slots.push_back(static_cast<std::uint16_t>(sizeof(PageHeader) + leaf_.items.size()));
    leaf_.items.insert(leaf_.items.end(), entry.begin(), entry.end());
    const std::uint64_t hash = name_hash(name);
    filter_set(filter_.data() + filter_block(hash, filter_blocks_) * kFilterBlock, hash);
    ++header_.entries;
}

void RunWriter::build_index() {
    while (firsts_.size() > 1) {
        std::vector<std::pair<std::string, std::uint32_t>> above;
        Level level;
        std::string first;
        for (auto& [name, child] : firsts_) {
            const IndexItem item{child, static_cast<std::uint16_t>(name.size()), 0};
            const std::size_t size = index_item_size(name.size());
            if (!fits(level.items.size(), level.slots.size(), size))
                above.emplace_back(std::move(first), emit_items(level, PageType::index));
            if (level.slots.empty()) first = name;
            level.slots.push_back(static_cast<std::uint16_t>(sizeof(PageHeader) + level.items.size()));
            const std::size_t at = level.items.size();
            level.items.resize(at + size);
            std::memcpy(level.items.data() + at, &item, sizeof item);
            std::memcpy(level.items.data() + at + sizeof item, name.data(), name.size());
        }
        above.emplace_back(std::move(first), emit_items(level, PageType::index));
        firsts_ = std::move(above);
        ++header_.index_depth;
        header_.index_root = firsts_.front().second;
    }
}

void RunWriter::begin_events() {
    in_events_ = true;
    if (!leaf_.slots.empty()) {
        firsts_.emplace_back(std::move(leaf_first_), emit_items(leaf_, PageType::leaf));
        ++header_.leaf_count;
    }
    build_index();
    if (header_.entries != 0) {
        header_.filter_start = next_page_;
        const std::byte* from = filter_.data();
        while (header_.filter_count < filter_blocks_ / kFilterBlocksPerPage) {
            const std::size_t at = buffer_.size();
            buffer_.resize(at + kPage);
            std::memcpy(buffer_.data() + at + kFilterBlock, from, kFilterBlocksPerPage * kFilterBlock);
            from += kFilterBlocksPerPage * kFilterBlock;
            emit(buffer_.data() + at, PageType::filter, 0);
            ++header_.filter_count;
        }
    }
    header_.space_start = next_page_;
}

void RunWriter::add_event(const Event& event) {
    if (!in_events_) begin_events();
    events_.push_back(event);
    ++header_.events;
    if (events_.size() == kEventsPerPage) emit_events();
}

void RunWriter::emit_events() {
    const std::size_t at = buffer_.size();
    buffer_.resize(at + kPage);
    std::byte* to = buffer_.data() + at + sizeof(PageHeader);
    for (const Event& e : events_) {
        const SpaceEvent raw{e.offset, e.size | (e.taken ? kSpaceTaken : 0)};
        std::memcpy(to, &raw, sizeof raw);
        to += sizeof raw;
    }
    const auto n = static_cast<std::uint16_t>(events_.size());
    events_.clear();
    ++header_.space_count;
    emit(buffer_.data() + at, PageType::space, n);
}

RunRef RunWriter::finish(std::uint32_t level, std::uint64_t sequence) {
    if (!in_events_) begin_events();
    if (!events_.empty()) emit_events();
    header_.pages = next_page_;
    header_.level = level;
    header_.page = {kPageMagic, 0, run_id_, 0, PageType::run, 0, {0, 0}};
    alignas(8) std::byte first[kPage]{};
    std::memcpy(first, &header_, sizeof header_);
    header_.page.crc = crc32c(first, kPage);
    std::memcpy(first, &header_, sizeof header_);
    if (buffer_first_ == 0) {  // all still here: one write
        std::memcpy(buffer_.data(), first, kPage);
        flush_buffer();
    } else {
        flush_buffer();
        data_.write(offset_, first, kPage);
    }

    RunRef ref{};
    ref.offset = offset_;
    ref.size = std::uint64_t{next_page_} * kPage;
    ref.run_id = run_id_;
    ref.entries = header_.entries;
    ref.sequence = sequence;
    ref.level = level;
    return ref;
}

}  // namespace pymm
