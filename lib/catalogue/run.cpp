#include "catalogue/run.hpp"

#include <fmt/format.h>

#include <cstring>

#include "catalogue/filter.hpp"
#include "format/crc32c.hpp"
#include "media/guarded_read.hpp"

namespace pymm {

using namespace format;

namespace {

template <class T>
T load(const std::byte* at) noexcept {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

}  // namespace

Run::Run(const Media& data, const RunRef& ref, const Uuid& uuid) : data_(data), ref_(ref), uuid_(uuid) {
    if (ref.offset > data.size() || ref.size > data.size() - ref.offset || ref.size < kPage)
        throw CorruptError(fmt::format("{}: run {} lies outside the file", data.name(), ref.run_id));
    verified_ = std::make_unique<std::atomic<std::uint64_t>[]>(ref.size / kPage / 64 + 1);
}

void Run::load_header() const {
    const std::uint64_t pages = ref_.size / kPage;
    header_ = load<RunHeader>(page(0, PageType::run));
    const RunHeader& h = header_;
    const auto section = [pages](std::uint64_t start, std::uint64_t size) {
        return size == 0 || (start >= 1 && start + size <= pages);
    };
    if (h.uuid != uuid_) damaged(0, "belongs to another shelf");
    if (h.pages != pages || h.entries != ref_.entries) damaged(0, "disagrees with the superblock");
    if (!section(h.leaf_start, h.leaf_count) || !section(h.filter_start, h.filter_count) ||
        !section(h.space_start, h.space_count) || h.index_root >= pages || h.index_depth > 16 ||
        (h.leaf_count > 1 && h.index_root == 0) || (h.leaf_count == 0) != (h.entries == 0) ||
        (h.entries != 0 && h.filter_count == 0))
        damaged(0, "sections out of range");
    if (h.entries > std::uint64_t{h.leaf_count} * (kPage / sizeof(Entry)) || h.max_entry > kPage ||
        h.max_name > kMaxName || h.events > std::uint64_t{h.space_count} * kEventsPerPage)
        damaged(0, "counts out of range");
    header_loaded_.store(true, std::memory_order_release);
}

void Run::damaged(std::uint32_t page, const char* problem) const {
    throw CorruptError(fmt::format("{}: run {} page {} at offset {}: {}; run a check of the shelf and "
                                   "restore it from a copy",
                                   data_.name(), ref_.run_id, page, ref_.offset + page * kPage, problem));
}

const std::byte* Run::page(std::uint32_t number, PageType type) const {
    if (number >= ref_.size / kPage) damaged(number, "page number out of range");
    const std::byte* at = data_.data() + ref_.offset + std::uint64_t{number} * kPage;
    std::atomic<std::uint64_t>& word = verified_[number / 64];
    const std::uint64_t bit = std::uint64_t{1} << (number % 64);
    PageHeader header;
    // At every look, since a file can be shortened after the page was checked.
    guarded_copy(&header, data_, ref_.offset + std::uint64_t{number} * kPage, sizeof header, "catalogue");
    if ((word.load(std::memory_order_relaxed) & bit) == 0) {
        PageHeader clean = header;
        clean.crc = 0;
        if (header.magic != kPageMagic) damaged(number, "no page magic");
        if (header.run_id != ref_.run_id || header.number != number) damaged(number, "a page of another place");
        std::uint32_t crc = 0;
        guarded_read(data_, ref_.offset + std::uint64_t{number} * kPage, kPage, "catalogue", [&]() noexcept {
            crc = crc32c(at + sizeof clean, kPage - sizeof clean, crc32c(&clean, sizeof clean));
        });
        if (crc != header.crc) damaged(number, "wrong checksum");
        word.fetch_or(bit, std::memory_order_relaxed);
    }
    if (header.type != type) damaged(number, "unexpected type of page");
    return at;
}

// A name that is nowhere asks every run's filter, so a page checked before costs no look at its header.
const std::byte* Run::filter_page(std::uint32_t index) const {
    const std::uint32_t number = header_.filter_start + index;
    if ((verified_[number / 64].load(std::memory_order_relaxed) >> (number % 64) & 1) == 0)
        return page(number, PageType::filter);
    return data_.data() + ref_.offset + std::uint64_t{number} * kPage;
}

std::uint32_t Run::count(const std::byte* page, std::uint32_t number) const {
    const std::uint32_t n = load<PageHeader>(page).count;
    if (n == 0 || n > (kPage - sizeof(PageHeader)) / 8) damaged(number, "number of items out of range");
    return n;
}

Bytes Run::item(const std::byte* page, std::uint32_t number, std::uint32_t count, std::uint32_t slot) const {
    const std::uint32_t offset = load<std::uint16_t>(page + kPage - 2 * (std::uint64_t{slot} + 1));
    const std::uint32_t limit = static_cast<std::uint32_t>(kPage) - 2 * count;
    if (offset < sizeof(PageHeader) || offset >= limit) damaged(number, "item offset out of range");
    return {page + offset, limit - offset};
}

std::string_view Run::leaf_name(const std::byte* page, std::uint32_t number, std::uint32_t count,
                                std::uint32_t slot) const {
    const Bytes bytes = item(page, number, count, slot);
    if (bytes.size() < sizeof(Entry)) damaged(number, "entry cut short");
    const auto size = load<std::uint16_t>(bytes.data() + offsetof(Entry, name_size));
    if (size > bytes.size() - sizeof(Entry)) damaged(number, "entry's name cut short");
    return {reinterpret_cast<const char*>(bytes.data() + sizeof(Entry)), size};
}

Bytes Run::leaf_entry(std::uint32_t number, std::uint32_t slot, std::string_view& name) const {
    const std::byte* at = page(number, PageType::leaf);
    const std::uint32_t n = count(at, number);
    if (slot >= n) damaged(number, "slot out of range");
    const Bytes bytes = item(at, number, n, slot);
    if (bytes.size() < sizeof(Entry)) damaged(number, "entry cut short");
    // Only the sizes: a merge looks at millions of entries and wants no more than their extent and name.
    const auto name_size = load<std::uint16_t>(bytes.data() + offsetof(Entry, name_size));
    const auto type_size = load<std::uint16_t>(bytes.data() + offsetof(Entry, type_size));
    const auto value_size = load<std::uint32_t>(bytes.data() + offsetof(Entry, inline_size));
    const std::size_t size = encoded_entry_size(name_size, type_size, value_size);
    if (size > bytes.size() || value_size > kMaxInline) damaged(number, "entry reaches past its page");
    name = {reinterpret_cast<const char*>(bytes.data() + sizeof(Entry)), name_size};
    return bytes.first(size);
}

void Run::check(const EntryView& entry) const {
    if (const char* problem = entry_problem(entry, data_.size()))
        throw CorruptError(fmt::format("{}: run {}: {}; run a check of the shelf and restore it from a copy",
                                       data_.name(), ref_.run_id, problem));
}

std::uint32_t Run::descend(std::string_view name) const {
    std::uint32_t number = header().index_root;
    if (number == 0) return 0;
    for (std::uint32_t depth = header().index_depth; depth > 0; --depth) {
        const std::byte* at = page(number, PageType::index);
        const std::uint32_t n = count(at, number);
        const auto name_of = [&](std::uint32_t slot) -> std::string_view {
            const Bytes bytes = item(at, number, n, slot);
            if (bytes.size() < sizeof(IndexItem)) damaged(number, "item cut short");
            const auto head = load<IndexItem>(bytes.data());
            if (head.name_size > bytes.size() - sizeof head) damaged(number, "item's name cut short");
            return {reinterpret_cast<const char*>(bytes.data() + sizeof head), head.name_size};
        };
        std::uint32_t low = 0, high = n;  // the last item whose name is <= `name`, else the first
        while (high - low > 1) {
            const std::uint32_t middle = (low + high) / 2;
            if (name_of(middle) <= name) low = middle;
            else high = middle;
        }
        const Bytes bytes = item(at, number, n, low);
        if (bytes.size() < sizeof(IndexItem)) damaged(number, "item cut short");
        number = load<IndexItem>(bytes.data()).child;
    }
    if (number < header().leaf_start || number - header().leaf_start >= header().leaf_count)
        damaged(number, "the index points outside the leaves");
    return number - header().leaf_start;
}

void Run::prefetch(std::uint64_t hash) const noexcept {
    if (!header_loaded_.load(std::memory_order_acquire) || header_.entries == 0) return;
    const std::uint64_t block = filter_block(hash, std::uint64_t{header_.filter_count} * kFilterBlocksPerPage);
    const std::uint64_t number = header_.filter_start + block / kFilterBlocksPerPage;
    __builtin_prefetch(data_.data() + ref_.offset + number * kPage +
                       kFilterBlock * (1 + block % kFilterBlocksPerPage));
}

bool Run::find(std::string_view name, std::uint64_t hash, EntryView& out) const {
    if (header().entries == 0) return false;
    const std::uint64_t blocks = std::uint64_t{header_.filter_count} * kFilterBlocksPerPage;
    const std::uint64_t block = filter_block(hash, blocks);
    const std::byte* filter = filter_page(static_cast<std::uint32_t>(block / kFilterBlocksPerPage));
    const std::byte* line = filter + kFilterBlock * (1 + block % kFilterBlocksPerPage);
    bool may_have = false;
    guarded_read(data_, static_cast<std::uint64_t>(line - data_.data()), kFilterBlock, "catalogue",
                 [&]() noexcept { may_have = filter_has(line, hash); });
    if (!may_have) return false;

    const std::uint32_t number = header().leaf_start + descend(name);
    const std::byte* at = page(number, PageType::leaf);
    const std::uint32_t n = count(at, number);
    std::uint32_t low = 0, high = n;
    while (low < high) {
        const std::uint32_t middle = (low + high) / 2;
        const std::string_view found = leaf_name(at, number, n, middle);
        if (found == name) {
            std::string_view again;
            std::size_t used = 0;
            if (const char* problem = decode_entry(leaf_entry(number, middle, again), out, used))
                damaged(number, problem);
            check(out);
            return true;
        }
        if (found < name) low = middle + 1;
        else high = middle;
    }
    return false;
}

Run::Cursor::Cursor(const Run& run, std::string_view from) : run_(&run) {
    if (run.header().leaf_count == 0) return;
    leaf_ = run.descend(from);
    const std::uint32_t number = run.header().leaf_start + leaf_;
    const std::byte* at = run.page(number, PageType::leaf);
    const std::uint32_t n = run.count(at, number);
    std::uint32_t low = 0, high = n;
    while (low < high) {
        const std::uint32_t middle = (low + high) / 2;
        if (run.leaf_name(at, number, n, middle) < from) low = middle + 1;
        else high = middle;
    }
    slot_ = low;
    load();
}

void Run::Cursor::load() {
    valid_ = false;
    while (leaf_ < run_->header().leaf_count) {
        const std::uint32_t number = run_->header().leaf_start + leaf_;
        const std::byte* at = run_->page(number, PageType::leaf);
        if (slot_ < run_->count(at, number)) {
            encoded_ = run_->leaf_entry(number, slot_, name_);
            valid_ = true;
            return;
        }
        ++leaf_;
        slot_ = 0;
    }
}

void Run::Cursor::next() {
    ++slot_;
    load();
}

class RunEventCursor final : public EventCursor {
public:
    RunEventCursor(const Run& run, std::uint64_t begin) : run_(run) {
        // The last page whose first event starts at or before `begin` holds the first that overlaps it.
        std::uint32_t low = 0, high = run.header().space_count;
        while (high - low > 1 && high != 0) {
            const std::uint32_t middle = (low + high) / 2;
            if (at(middle, 0).offset <= begin) low = middle;
            else high = middle;
        }
        page_ = low;
        Event event;
        while (peek(event) && event.end() <= begin) ++slot_;
    }

    bool next(Event& event) override {
        if (!peek(event)) return false;
        ++slot_;
        return true;
    }

private:
    Event at(std::uint32_t index, std::uint32_t slot) const {
        const std::uint32_t number = run_.header().space_start + index;
        const std::byte* page = run_.page(number, PageType::space);
        const std::uint32_t n = load<PageHeader>(page).count;
        if (n == 0 || n > kEventsPerPage || slot >= n) run_.damaged(number, "number of events out of range");
        const auto raw = load<SpaceEvent>(page + sizeof(PageHeader) + slot * sizeof(SpaceEvent));
        const Event event{raw.offset, raw.size & ~kSpaceTaken, (raw.size & kSpaceTaken) != 0};
        if (event.size == 0 || event.offset % kLine != 0 || event.size % kLine != 0 ||
            event.offset > run_.data_.size() || event.size > run_.data_.size() - event.offset)
            run_.damaged(number, "space event outside the data area");
        return event;
    }

    bool peek(Event& event) {
        while (page_ < run_.header().space_count) {
            const std::uint32_t number = run_.header().space_start + page_;
            const std::uint32_t n = load<PageHeader>(run_.page(number, PageType::space)).count;
            if (slot_ < n) {
                event = at(page_, slot_);
                if (event.offset < last_) run_.damaged(number, "space events out of order");
                last_ = event.offset;
                return true;
            }
            ++page_;
            slot_ = 0;
        }
        return false;
    }

    const Run& run_;
    std::uint32_t page_ = 0;
    std::uint32_t slot_ = 0;
    std::uint64_t last_ = 0;
};

std::unique_ptr<EventCursor> Run::events(std::uint64_t begin) const {
    return std::make_unique<RunEventCursor>(*this, begin);
}

}  // namespace pymm
