// What a check knows of a shelf while it looks at it: bounded access to the bytes, and what was found so far.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "catalogue/memtable.hpp"
#include "check/checker.hpp"
#include "check/reporter.hpp"
#include "format/entry.hpp"
#include "format/layout.hpp"
#include "media/guarded_read.hpp"

namespace pymm {

/// One run of the root as far as it can be read.
struct RunImage {
    format::RunRef ref{};
    std::optional<format::RunHeader> header;  ///< when its page is sound
    std::vector<std::uint32_t> leaves;        ///< sound leaf pages, in order
    std::vector<Event> events;                ///< of sound space pages, sorted, disjoint
    bool complete = true;                     ///< no leaf is missing
    /// Names that are missing may lie between these.
    struct Gap {
        std::string after;   ///< the last name before it
        std::string before;  ///< the first one behind it
        bool open = true;    ///< there is none behind it
    };
    std::vector<Gap> gaps;
    bool events_complete = true;              ///< no space page is missing
};

struct Image {
    Image(const CheckTarget& t, const CheckOptions& o, CheckReport& r)
        : target(t), options(o), report(r), reporter(r) {}
    ~Image() { unmark_all(); }
    Image(const Image&) = delete;
    Image& operator=(const Image&) = delete;

    const CheckTarget& target;
    const CheckOptions& options;
    CheckReport& report;
    Reporter reporter;

    bool live = false;  ///< a writer is beside us
    std::optional<format::Superblock> root;
    int root_index = -1;
    bool mixed = false;  ///< the two files belong to different shelves
    std::uint64_t generation = 0;                ///< of a superblock that is sound, but of no use as root
    std::optional<format::Uuid> header_uuid;     ///< of a sound data header
    std::uint64_t capacity = 0;                  ///< bytes of the data file

    std::vector<RunImage> runs;  ///< oldest first
    Memtable tail;
    std::uint64_t sequence = 0;   ///< last commit
    std::uint64_t log_used = 0;
    std::int64_t new_names = 0;   ///< names that the tail adds, less those it erases
    bool torn = false;            ///< the log ends with a commit that was cut short
    std::uint64_t max_id = 0;     ///< of all entries
    bool incomplete = false;      ///< entries are missing, so what nobody has may belong to one of them

    bool log_gap = false;         ///< commits of the log are missing
    std::vector<std::string> bad_headers;  ///< blobs whose extent header can be made anew from the entry
    bool events_known() const noexcept {
        return std::all_of(runs.begin(), runs.end(), [](const RunImage& r) { return r.events_complete; });
    }

    std::vector<format::Extent> owned;  ///< by blobs: headers and data; sorted once all are there

    /// Marks for the writer beside us, and gives up all marks again.
    void mark(format::Extent extent) {
        target.lease->mark_extent(extent.offset, extent.size);
        marked.push_back(extent);
    }
    void unmark_all() noexcept {
        for (const format::Extent& e : marked) target.lease->unmark_extent(e.offset, e.size);
        marked.clear();
    }
    std::vector<format::Extent> marked;

    void note_id(std::uint64_t id) noexcept {
        if (id < format::kIdLimit) max_id = std::max(max_id, id);
    }
    /// Copies bytes of the data file. False when they are not there or cannot be read.
    bool read(std::uint64_t offset, std::uint64_t size, void* out) const noexcept {
        const Media& data = target.data;
        if (offset > data.size() || size > data.size() - offset) return false;
        const std::byte* fault = nullptr;
        return survives_bus_error([&]() noexcept { std::memcpy(out, data.data() + offset, size); }, fault);
    }
    /// So many more bytes were read.
    void progress(std::uint64_t bytes) {
        done = std::min(done + bytes, total);
        if (options.progress && (done - told >= (1 << 22) || done == total)) options.progress(told = done, total);
    }
    bool saved = false;  ///< what a repair replaces
    std::uint64_t done = 0, told = 0, total = 0;

    void map_finding(Cure cure, Severity severity, std::string structure, std::uint64_t offset, std::string expected,
                     std::string found, std::string action = {}) {
        reporter.add(cure, {severity, std::move(structure), target.map.name(), offset, std::move(expected),
                            std::move(found), {}, false, std::move(action)});
    }
    void data_finding(Cure cure, Severity severity, std::string structure, std::uint64_t offset,
                      std::string expected, std::string found, std::string blob = {}, std::string action = {}) {
        reporter.add(cure, {severity, std::move(structure), target.data.name(), offset, std::move(expected),
                            std::move(found), std::move(blob), false, std::move(action)});
    }
};

/// What the events call taken: the log's included, or the runs' alone. Sorted, neighbours joined.
std::vector<format::Extent> taken_by_events(const Image& image, bool with_tail);
/// Sorted ranges, joined where they touch or overlap.
std::vector<format::Extent> joined_ranges(const std::vector<format::Extent>& sorted);
/// Free bytes of each zone, `used` being sorted and disjoint.
std::vector<std::uint64_t> free_in_zones(std::uint64_t capacity, std::uint32_t shift,
                                         const std::vector<format::Extent>& used);
// Calls visit for the pieces of `a` that `b` lacks.
template <class F>
void for_each_missing(const std::vector<format::Extent>& a, const std::vector<format::Extent>& b, F&& visit) {
    std::size_t j = 0;
    for (const format::Extent& e : a) {
        std::uint64_t at = e.offset;
        const std::uint64_t end = e.offset + e.size;
        while (j < b.size() && b[j].offset + b[j].size <= at) ++j;
        for (std::size_t k = j; k < b.size() && b[k].offset < end; ++k) {
            if (b[k].offset > at) visit(format::Extent{at, b[k].offset - at});
            at = std::max(at, b[k].offset + b[k].size);
        }
        if (at < end) visit(format::Extent{at, end - at});
    }
}

/// Log, zone table and runs.
std::vector<format::Extent> root_extents(const format::Superblock& sb);

/// Both superblock copies and the data header; sets root, live, and marks what the root names. Throws VersionError.
void check_root(Image& image);
/// A copy of the commit of `size` bytes at `offset` of the data file. False unless it is sound; nothing is allocated
/// before that is known, as sizes can be forged.
bool copy_commit(const Image& image, std::uint64_t offset, std::uint64_t size, std::uint64_t sequence,
                 std::uint64_t salt, std::vector<std::byte>& bytes);
/// Every commit; sets tail and sequence.
void check_log(Image& image);
/// Every page of every run; fills runs.
void check_runs(Image& image);
void check_run(Image& image, RunImage& run);
/// Fills a run from these pages of it, which are sound; reports nothing about the others.
void collect_run(Image& image, RunImage& run, const std::vector<std::uint32_t>& sound);
/// Every entry with its extent header, and with `scrub` its data; fills owned and counts.
void check_entries(Image& image);
/// What is taken against what the blobs have; overlaps, zones, counters.
void check_space(Image& image);

}  // namespace pymm
