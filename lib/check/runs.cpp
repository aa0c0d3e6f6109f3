// Runs: every page, what stands in it, and whether index, filter and counts agree with the leaves.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "catalogue/filter.hpp"
#include "check/entry_check.hpp"
#include "check/image.hpp"
#include "check/pages.hpp"

namespace pymm {

using namespace format;

namespace {

// So many bad pages, and this many more for each sound one, end the look at a run: a forged size must not keep us busy for
// days, nor a sound page here and there in a sparse file.
constexpr std::uint64_t kGiveUp = 1 << 16;
constexpr std::uint64_t kGiveUpSlope = 8;
constexpr std::uint32_t kGiveUpFilter = 1 << 10;

class RunCheck {
public:
    RunCheck(Image& image, RunImage& run) : image_(image), run_(run), pages_(run.ref.size / kPage) {}

    void check() {
        check_header();
        if (run_.header) load_filter();
        for (std::uint32_t number = 1; number < pages_; ++number) {
            if (bad_ >= kGiveUp + kGiveUpSlope * sound_) {
                lose(number, pages_);
                break;
            }
            check_page(number);
        }
        if (run_.header) {
            check_counts();
            if (run_.complete) check_index();
        }
        if (!run_.complete) image_.incomplete = true;
    }

    // What stands in the pages that are known to be sound; the others are not looked at. What filter, index and counts say
    // is not asked: the entries alone are wanted.
    void collect(const std::vector<std::uint32_t>& sound) {
        std::uint64_t next = 1;
        for (const std::uint32_t number : sound) {
            if (number >= pages_) break;
            if (number == 0) {
                check_header();
                continue;
            }
            lose(next, number);
            check_page(number);
            next = std::uint64_t{number} + 1;
        }
        lose(next, pages_);
        if (!run_.complete) image_.incomplete = true;
    }

private:
    // Pages [from, to) cannot be read.
    void lose(std::uint64_t from, std::uint64_t to) {
        const auto meets = [&](std::uint64_t start, std::uint64_t count) { return from < start + count && start < to; };
        if (from >= to) return;
        if (!run_.header || meets(run_.header->leaf_start, run_.header->leaf_count)) lose_entries();
        if (!run_.header || meets(run_.header->space_start, run_.header->space_count)) run_.events_complete = false;
    }

    std::string name(std::uint32_t number) const { return fmt::format("run {} page {}", run_.ref.run_id, number); }
    std::uint64_t at(std::uint32_t number) const { return run_.ref.offset + std::uint64_t{number} * kPage; }

    void finding(Cure cure, std::uint32_t number, std::string expected, std::string found) {
        image_.data_finding(cure, Severity::error, name(number), at(number), std::move(expected), std::move(found));
    }

    bool read(std::uint32_t number, PageProblem& problem) {
        image_.progress(kPage);
        if (!image_.read(at(number), kPage, page_.bytes)) {
            problem = {"a readable page", "none"};
            return false;
        }
        return page_sound(page_, run_.ref.run_id, number, problem);
    }

    // Counts of the header that must hold before they are used.
    const char* header_problem(const RunHeader& h) const {
        const auto section = [this](std::uint64_t start, std::uint64_t size) {
            return size == 0 || (start >= 1 && start + size <= pages_);
        };
        if (h.page.type != PageType::run) return "no run header";
        if (h.uuid != image_.root->uuid) return "the uuid of another shelf";
        if (h.pages != pages_ || h.entries != run_.ref.entries || h.level != run_.ref.level)
            return "other numbers than the superblock's";
        if (!section(h.leaf_start, h.leaf_count) || !section(h.filter_start, h.filter_count) ||
            !section(h.space_start, h.space_count) || h.index_root >= pages_)
            return "sections outside the run";
        if (h.index_depth > 16 || (h.leaf_count > 1 && h.index_root == 0) ||
            (h.leaf_count == 0) != (h.entries == 0) || (h.entries != 0) != (h.filter_count != 0) ||
            h.max_entry > kPage || h.max_name > kMaxName)
            return "numbers that disagree";
        return nullptr;
    }

    void check_header() {
        PageProblem problem;
        if (!read(0, problem)) return finding(Cure::catalogue, 0, problem.expected, problem.found);
        RunHeader header;
        std::memcpy(&header, page_.bytes, sizeof header);
        if (const char* what = header_problem(header)) return finding(Cure::catalogue, 0, "a run header", what);
        run_.header = header;
    }

    static bool in(std::uint32_t number, std::uint32_t start, std::uint32_t count) {
        return number >= start && number - start < count;
    }

    void load_filter() {
        const RunHeader& h = *run_.header;
        // Grows with what is there: a forged count must not cost memory or time.
        std::uint32_t bad = 0;
        for (std::uint32_t i = 0; i < h.filter_count && bad < kGiveUpFilter; ++i) {
            filter_.resize(filter_.size() + kPage);
            PageProblem ignored;  // reported when its turn comes
            const bool sound = read(h.filter_start + i, ignored) && page_.header().type == PageType::filter;
            bad = sound ? 0 : bad + 1;
            // A page that cannot be read says nothing about any name.
            if (sound) std::memcpy(filter_.data() + i * kPage, page_.bytes, kPage);
            else std::memset(filter_.data() + i * kPage, 0xff, kPage);
        }
    }

    void check_page(std::uint32_t number) {
        PageType role = PageType::index;  // what is neither leaf nor filter nor space page
        if (run_.header) {
            const RunHeader& h = *run_.header;
            if (in(number, h.leaf_start, h.leaf_count)) role = PageType::leaf;
            else if (in(number, h.filter_start, h.filter_count)) role = PageType::filter;
            else if (in(number, h.space_start, h.space_count)) role = PageType::space;
        }
        PageProblem problem;
        bool sound = read(number, problem);
        if (sound && run_.header && page_.header().type != role) {
            problem = {fmt::format("a page of type {}", static_cast<int>(role)),
                       fmt::format("type {}", static_cast<int>(page_.header().type))};
            sound = false;
        }
        ++(sound ? sound_ : bad_);
        if (sound && page_.header().type == PageType::index) ++index_pages_;
        if (!sound) {
            // Entries are what the catalogue cannot do without; all else can be worked out from them.
            const bool entries = !run_.header || role == PageType::leaf;
            if (entries) lose_entries();
            if (!run_.header || role == PageType::space) run_.events_complete = false;
            if (entries) first_names_.emplace_back();
            return finding(entries ? Cure::catalogue : Cure::accounts, number, problem.expected, problem.found);
        }
        switch (page_.header().type) {
            case PageType::leaf: return check_leaf(number);
            case PageType::space: return check_space(number);
            default: return;
        }
    }

    void check_leaf(std::uint32_t number) {
        const std::uint32_t count = page_.header().count;
        first_names_.emplace_back();
        const auto bad = [&](std::uint32_t slot, std::string expected, std::string found) {
            lose_entries();
            finding(Cure::catalogue, number, fmt::format("item {}: {}", slot, expected), std::move(found));
        };
        if (count == 0 || count > (kPage - sizeof(PageHeader)) / 8)
            return bad(0, "a number of items in range", fmt::format("{}", count));
        run_.leaves.push_back(number);
        for (std::uint32_t slot = 0; slot < count; ++slot) {
            EntryView entry;
            Bytes encoded;
            if (const char* problem = leaf_entry(page_, slot, entry, encoded)) {
                bad(slot, "an entry", problem);
                continue;
            }
            if (slot == 0) first_names_.back() = entry.name;
            if (any_ && entry.name <= last_) {
                bad(slot, "a name above the one before", fmt::format("'{}'", printable(entry.name)));
                continue;
            }
            if (!run_.gaps.empty() && run_.gaps.back().open) {
                run_.gaps.back().before = entry.name;
                run_.gaps.back().open = false;
            }
            any_ = true;
            last_ = entry.name;
            ++entries_;
            max_entry_ = std::max(max_entry_, encoded.size());
            max_name_ = std::max(max_name_, entry.name.size());
            image_.note_id(entry.fixed.id);
            if (!filter_.empty() && !filter_names(entry.name))
                finding(Cure::accounts, number, fmt::format("item {}: a name that the filter has", slot),
                        fmt::format("'{}', which it has not", printable(entry.name)));
        }
    }

    // What cannot be read stood between the last name and the next.
    void lose_entries() {
        run_.complete = false;
        if (run_.gaps.empty() || !run_.gaps.back().open) run_.gaps.push_back({last_, {}, true});
    }

    bool filter_names(std::string_view name) const {
        const std::uint64_t hash = name_hash(name);
        const std::uint64_t blocks = std::uint64_t{run_.header->filter_count} * kFilterBlocksPerPage;
        const std::uint64_t block = filter_block(hash, blocks);
        const std::uint64_t at = block / kFilterBlocksPerPage * kPage + kFilterBlock * (1 + block % kFilterBlocksPerPage);
        return at >= filter_.size() || filter_has(filter_.data() + at, hash);
    }

    void check_space(std::uint32_t number) {
        const std::uint32_t count = page_.header().count;
        const auto bad = [&](std::string expected, std::string found) {
            run_.events_complete = false;
            finding(Cure::accounts, number, std::move(expected), std::move(found));
        };
        if (count == 0 || count > kEventsPerPage)
            return bad("a number of events in range", fmt::format("{}", count));
        for (std::uint32_t i = 0; i < count; ++i) {
            SpaceEvent raw;
            std::memcpy(&raw, page_.bytes + sizeof(PageHeader) + i * sizeof raw, sizeof raw);
            const Event event{raw.offset, raw.size & ~kSpaceTaken, (raw.size & kSpaceTaken) != 0};
            const std::uint64_t capacity = image_.root->capacity;
            if (event.size == 0 || event.offset % kLine != 0 || event.size % kLine != 0 || event.offset < kDataStart ||
                event.offset > capacity || event.size > capacity - event.offset) {
                bad(fmt::format("event {} inside the data area", i), fmt::format("{}+{}", event.offset, event.size));
            } else if (!run_.events.empty() && event.offset < run_.events.back().end()) {
                bad(fmt::format("event {} behind offset {}", i, run_.events.back().end()),
                    fmt::format("{}", event.offset));
            } else {
                run_.events.push_back(event);
            }
        }
    }

    void check_counts() {
        const RunHeader& h = *run_.header;
        const auto differ = [&](const char* what, std::uint64_t expected, std::uint64_t found) {
            if (expected != found)
                finding(Cure::accounts, 0, fmt::format("{} {}", expected, what), fmt::format("{}", found));
        };
        if (run_.complete) {
            differ("entries", h.entries, entries_);
            if (h.max_entry < max_entry_ || h.max_name < max_name_)
                finding(Cure::accounts, 0, fmt::format("longest entry {}, longest name {}", h.max_entry, h.max_name),
                        fmt::format("{} and {}", max_entry_, max_name_));
        }
        if (run_.events_complete) differ("space events", h.events, run_.events.size());
    }

    // Index pages: in order they name each page of the level below, with its first name.
    void check_index() {
        const RunHeader& h = *run_.header;
        if (h.index_root == 0) return;
        std::uint32_t next = 0;
        // Each is named once.
        budget_ = index_pages_;
        std::string first;
        if (walk(h.index_root, h.index_depth, next, first) && next != h.leaf_count)
            finding(Cure::accounts, h.index_root, fmt::format("an index of {} leaves", h.leaf_count),
                    fmt::format("{}", next));
    }

    bool walk(std::uint32_t number, std::uint32_t depth, std::uint32_t& next, std::string& first) {
        const RunHeader& h = *run_.header;
        if (depth == 0) {
            if (number != h.leaf_start + next || next >= h.leaf_count) {
                finding(Cure::accounts, number, fmt::format("the index to name leaf page {}", h.leaf_start + next),
                        fmt::format("page {}", number));
                return false;
            }
            first = first_names_[next++];
            return true;
        }
        PageProblem problem;
        PageBuffer page;
        if (budget_-- == 0 || number == 0 || number >= pages_ || !image_.read(at(number), kPage, page.bytes) ||
            !page_sound(page, run_.ref.run_id, number, problem) || page.header().type != PageType::index) {
            finding(Cure::accounts, number, "an index page", "none");
            return false;
        }
        const std::uint32_t count = page.header().count;
        for (std::uint32_t slot = 0; slot < count; ++slot) {
            const Bytes bytes = page_item(page, slot);
            IndexItem item{};
            if (bytes.size() >= sizeof item) std::memcpy(&item, bytes.data(), sizeof item);
            if (bytes.size() < sizeof item || item.name_size > bytes.size() - sizeof item) {
                finding(Cure::accounts, number, fmt::format("item {}: a name and a page", slot), "out of range");
                return false;
            }
            const std::string_view here(reinterpret_cast<const char*>(bytes.data() + sizeof item), item.name_size);
            std::string below;
            if (!walk(item.child, depth - 1, next, below)) return false;
            if (here != below) {
                finding(Cure::accounts, number, fmt::format("item {}: first name '{}'", slot, printable(below)),
                        fmt::format("'{}'", here));
                return false;
            }
            if (slot == 0) first = below;
        }
        return true;
    }

    Image& image_;
    RunImage& run_;
    std::uint64_t pages_;
    PageBuffer page_;
    std::vector<std::byte> filter_;
    std::vector<std::string> first_names_;  // of each leaf, in order
    std::string last_;
    bool any_ = false;
    std::uint64_t entries_ = 0;
    std::size_t max_entry_ = 0;
    std::size_t max_name_ = 0;
    std::uint64_t budget_ = 0;
    std::uint64_t sound_ = 0, bad_ = 0, index_pages_ = 0;
};

}  // namespace

void check_run(Image& image, RunImage& run) { RunCheck(image, run).check(); }
void collect_run(Image& image, RunImage& run, const std::vector<std::uint32_t>& sound) { RunCheck(image, run).collect(sound); }

void check_runs(Image& image) {
    const Superblock& root = *image.root;
    image.runs.resize(root.run_count);
    for (std::uint32_t i = 0; i < root.run_count; ++i) {
        image.runs[i].ref = root.runs[i];
        check_run(image, image.runs[i]);
        if (root.runs[i].run_id >= root.next_run_id)
            image.map_finding(Cure::accounts, Severity::error, fmt::format("superblock copy {}", image.root_index),
                              kSuperblockOffset[image.root_index] + offsetof(Superblock, next_run_id),
                              fmt::format("next run id above {}", root.runs[i].run_id),
                              fmt::format("{}", root.next_run_id));
    }
}

}  // namespace pymm
