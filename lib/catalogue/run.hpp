// A sorted run of the catalogue: immutable, looked up in place, never deserialized.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catalogue/space_events.hpp"
#include "format/entry.hpp"
#include "media/media.hpp"

namespace pymm {

/// Reads a run. Each page is checked (CRC, kind, number) when it is first looked at in this process;
/// all numbers in it are checked at each use. Damage throws CorruptError naming page and offset.
/// Thread-safe. The media outlives it.
class Run {
public:
    Run(const Media& data, const format::RunRef& ref, const format::Uuid& uuid);

    const format::RunRef& ref() const noexcept { return ref_; }
    /// Read and checked at the first call: opening a shelf does not touch its runs. Throws CorruptError.
    const format::RunHeader& header() const {
        // Asked for at each look-up; call_once alone writes to thread-local storage each time.
        if (!header_loaded_.load(std::memory_order_acquire)) std::call_once(header_once_, [this] { load_header(); });
        return header_;
    }

    /// Brings the cache line of the filter that find() will ask towards the processor. A hint:
    /// never a page fault, nothing where the header was not read yet.
    void prefetch(std::uint64_t hash) const noexcept;

    /// False when the run does not mention the name. The entry may be a tombstone.
    bool find(std::string_view name, std::uint64_t hash, format::EntryView& out) const;

    /// Throws CorruptError unless the entry is legal and lies in the data area. find() has done it.
    void check(const format::EntryView& entry) const;

    /// Position on the first name >= `from`, moving forward. Its entries are safe to read, no more: a merge
    /// copies them as they are, other users check() them.
    class Cursor {
    public:
        Cursor(const Run& run, std::string_view from);
        bool valid() const noexcept { return valid_; }
        std::string_view name() const noexcept { return name_; }
        format::Bytes encoded() const noexcept { return encoded_; }
        void next();

    private:
        void load();
        const Run* run_;
        std::uint32_t leaf_ = 0;  // of leaf_count
        std::uint32_t slot_ = 0;
        bool valid_ = false;
        std::string_view name_;
        format::Bytes encoded_;
    };

    /// Events that overlap [begin, ...), from the first one on.
    std::unique_ptr<EventCursor> events(std::uint64_t begin) const;

private:
    friend class RunEventCursor;
    void load_header() const;
    [[noreturn]] void damaged(std::uint32_t page, const char* problem) const;
    const std::byte* page(std::uint32_t number, format::PageType type) const;
    const std::byte* filter_page(std::uint32_t index) const;
    std::uint32_t count(const std::byte* page, std::uint32_t number) const;
    format::Bytes item(const std::byte* page, std::uint32_t number, std::uint32_t count,
                       std::uint32_t slot) const;
    /// Bytes of one entry, and its name; safe to decode.
    format::Bytes leaf_entry(std::uint32_t number, std::uint32_t slot, std::string_view& name) const;
    std::string_view leaf_name(const std::byte* page, std::uint32_t number, std::uint32_t count,
                               std::uint32_t slot) const;
    /// The leaf that may hold the name, as an index into the leaves.
    std::uint32_t descend(std::string_view name) const;

    const Media& data_;
    format::RunRef ref_;
    format::Uuid uuid_;
    mutable std::once_flag header_once_;
    mutable std::atomic<bool> header_loaded_{false};
    mutable format::RunHeader header_{};
    std::unique_ptr<std::atomic<std::uint64_t>[]> verified_;  // a bit per page
};

/// Counts the pages that a RunWriter fills, exactly: the same packing, without the bytes.
class RunSizer {
public:
    /// As for RunWriter: in order, all names before the first event.
    void add(std::size_t name_size, std::size_t entry_size);
    void add_event() noexcept { ++events_; }
    std::uint64_t names() const noexcept { return names_; }
    /// When the writer is told names() as its bound.
    std::uint64_t pages() const;

private:
    std::uint64_t names_ = 0;
    std::uint64_t events_ = 0;
    std::size_t bytes_ = 0;  // of the leaf that is being filled
    std::size_t slots_ = 0;
    std::vector<std::uint16_t> firsts_;  // length of each leaf's first name
};

/// Writes a run in one pass, in sorted order, to an extent that the caller allocated.
class RunWriter {
public:
    /// What a run will hold at the most.
    struct Bound {
        std::uint64_t names = 0;
        std::uint64_t bytes = 0;      // of all entries
        std::uint64_t max_entry = 0;  // bytes of the longest one
        std::uint64_t max_name = 0;
        std::uint64_t events = 0;
    };
    /// Pages that are surely enough for it.
    static std::uint64_t pages_bound(const Bound& bound);
    /// The same once a log of `log` bytes, whatever it says, is merged into it.
    static std::uint64_t pages_bound(const Bound& runs, std::uint64_t log);

    /// Writes to [offset, offset + pages * kPage) of `data`. `names_bound` sizes the filter.
    RunWriter(Media& data, std::uint64_t offset, std::uint64_t pages, const format::Uuid& uuid,
              std::uint64_t run_id, std::uint64_t names_bound);

    void add(std::string_view name, format::Bytes entry);
    /// After the last add().
    void add_event(const Event& event);
    /// Writes what remains; the caller drains. Offset, size, run_id and entries of the result are set.
    format::RunRef finish(std::uint32_t level, std::uint64_t sequence);

private:
    struct Level {  // a page of items under construction
        std::vector<std::byte> items;
        std::vector<std::uint16_t> slots;
    };
    void begin_events();
    std::uint32_t emit_items(Level& level, format::PageType type);
    void emit(std::byte* page, format::PageType type, std::uint16_t count);
    void build_index();
    void emit_events();
    void flush_buffer();

    Media& data_;
    std::uint64_t offset_;
    std::uint64_t limit_;  // pages
    std::uint64_t run_id_;
    format::RunHeader header_{};
    Level leaf_;
    std::string leaf_first_;
    std::vector<std::pair<std::string, std::uint32_t>> firsts_;  // first name and number of each page
    std::vector<std::byte> filter_;
    std::uint64_t filter_blocks_;
    std::vector<Event> events_;
    std::vector<std::byte> buffer_;  // pages not yet written
    std::uint32_t buffer_first_ = 0;
    std::uint32_t next_page_ = 1;
    bool in_events_ = false;
};

}  // namespace pymm
