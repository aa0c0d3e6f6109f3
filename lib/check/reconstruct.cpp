// A root that is lost, worked out from what it must have named.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>

#include "catalogue/space_map.hpp"
#include "check/entry_stream.hpp"
#include "check/pages.hpp"
#include "check/salvage.hpp"
#include "check/scan.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

// Torn runs that are looked at.
constexpr int kMostTorn = 16;

// Bytes that are in any of some extents, which may overlap.
class Places {
public:
    explicit Places(std::vector<Extent> extents) {
        std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
        joined_ = joined_ranges(extents);
    }
    bool has(std::uint64_t at) const {
        const auto behind = std::upper_bound(joined_.begin(), joined_.end(), at,
                                             [](std::uint64_t x, const Extent& e) { return x < e.offset; });
        return behind != joined_.begin() && at - std::prev(behind)->offset < std::prev(behind)->size;
    }

private:
    std::vector<Extent> joined_;
};

class Reconstruct {
public:
    Reconstruct(Image& image, Plan& plan) : image_(image), plan_(plan) {}

    bool run() {
        scan_data(image_, plan_.capacity, {}, std::nullopt, true, scan_);
        if (!choose_uuid()) return false;
        image_.root = plan_.base;
        gather_runs();
        sort_commits();
        adopt_headless();
        replay(image_);
        drop_torn_runs();
        drop_dead_runs();
        for (const FoundHeader& h : scan_.headers)
            if (h.fixed.uuid == plan_.base.uuid) image_.note_id(h.fixed.id);
        plan_.base.sequence = image_.sequence;
        plan_.base.next_run_id = next_run_id_;
        return true;
    }

private:
    using Place = std::pair<std::uint64_t, std::uint64_t>;  // a blob's id and where its data begin
    struct Candidate {
        RunImage run;
        const std::vector<std::uint32_t>* pages;  // the sound ones
    };

    // Of the data header; else of most extent headers and runs.
    bool choose_uuid() {
        if (image_.header_uuid) {
            plan_.base.uuid = *image_.header_uuid;
            return true;
        }
        std::map<Uuid, std::uint64_t> votes;
        for (const FoundHeader& h : scan_.headers) ++votes[h.fixed.uuid];
        for (const auto& [key, pages] : scan_.runs) {
            RunHeader header;
            if (read_header(key, header)) ++votes[header.uuid];
        }
        if (votes.empty()) return false;
        plan_.base.uuid = std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) {
                              return a.second < b.second;
                          })->first;
        return true;
    }

    bool read_header(const std::pair<std::uint64_t, std::uint64_t>& key, RunHeader& header) {
        PageBuffer page;
        PageProblem ignored;
        if (!image_.read(key.second, kPage, page.bytes) || !page_sound(page, key.first, 0, ignored) ||
            page.header().type != PageType::run)
            return false;
        std::memcpy(&header, page.bytes, sizeof header);
        return true;
    }

    void gather_runs() {
        std::vector<Extent> data;
        for (const FoundHeader& h : scan_.headers)
            if (h.fixed.extent != 0 && h.fixed.offset < plan_.capacity)
                data.push_back({h.fixed.offset, std::min(h.fixed.extent, plan_.capacity - h.fixed.offset)});
        const Places in_blobs(std::move(data));
        // The same run twice: one of them is part of somebody's stored image.
        std::map<std::uint64_t, Candidate> by_id;
        for (const auto& [key, pages] : scan_.runs) {
            next_run_id_ = std::max(next_run_id_, key.first + 1);
            RunRef ref{};
            ref.run_id = key.first;
            ref.offset = key.second;
            ref.size = (std::uint64_t{pages.back()} + 1) * kPage;
            ref.sequence = UINT64_MAX;  // not known; its entries tell
            RunHeader header;
            if (read_header(key, header)) {
                if (header.uuid != plan_.base.uuid) continue;
                const std::uint64_t size = std::uint64_t{header.pages} * kPage;
                if (size >= ref.size && size <= plan_.capacity - ref.offset) ref.size = size;
                ref.entries = header.entries;
                ref.level = header.level;
            }
            if (by_id.contains(key.first) && in_blobs.has(ref.offset)) continue;
            by_id[key.first] = Candidate{{}, &pages};
            by_id[key.first].run.ref = ref;
        }
        // What is wrong with them is no news of the shelf as it is: they may have been given back long ago.
        CheckReport unheard;
        CheckOptions quiet;
        Image scratch(image_.target, quiet, unheard);
        scratch.root = image_.root;
        scratch.capacity = image_.capacity;
        for (auto& [id, candidate] : by_id) {
            // Pages that were found, and no others: forged ones may each claim a run of any size.
            collect_run(scratch, candidate.run, *candidate.pages);
            // From the first of them to the last, not all that may be forged as the run's size: there must be space left.
            const std::uint64_t first = candidate.pages->front(), last = candidate.pages->back();
            plan_.keep.push_back({candidate.run.ref.offset + first * kPage, (last - first + 1) * kPage});
            if (candidate.run.leaves.empty() && candidate.run.events.empty()) continue;
            if (candidate.run.header) image_.runs.push_back(std::move(candidate.run));
            else headless_.push_back(std::move(candidate));
        }
        image_.note_id(scratch.max_id);
    }

    // A run whose header page is lost does not say of which shelf it is: its pages may be a stored copy that a blob holds,
    // of this shelf at an earlier time or of another one. What to believe where one lies in a blob's data:
    //
    // * Bytes belong to a live blob or to a live run, never to both. So only blobs count that runs with a header and the log
    //   say are alive, and of those runs only the ones that no merge has swallowed: what is erased has no claim.
    // * A copy of this shelf's pages is older than the blob that holds it, and so than any run that names the blob; and the
    //   log is newer than any run that it could be a copy of. So where the log or a run of a higher id names the blob, the
    //   blob holds a copy.
    // * If all that name the blob are older, the pages may be newer, and lie where the blob was. Another shelf's pages could
    //   have any id, though, so they must show that they are of this one: they say something else about the blob's name,
    //   give its bytes back, have an entry that an extent header of this shelf confirms, or repeat an entry of a run that
    //   has its header, as a merge does.
    //
    // A run that is refused is not lost: it is the data of a blob, and stays there.
    void adopt_headless() {
        if (headless_.empty()) return;
        CheckReport unheard;
        CheckOptions quiet;
        Image known(image_.target, quiet, unheard);
        known.root = image_.root;
        known.capacity = image_.capacity;
        const std::vector<bool> dead = dead_runs(image_.runs);
        for (std::size_t i = 0; i < dead.size(); ++i)
            if (!dead[i]) known.runs.push_back(image_.runs[i]);
        replay(known);
        struct Named {
            std::uint64_t offset, end, id;
            std::uint64_t run_id;  // of the run that names it; the log's is above all
            std::string name;
        };
        std::vector<Named> blobs;
        for (EntryStream stream(known); stream.next();) {
            const Entry& e = stream.entry().fixed;
            if (stream.entry().tombstone() || stream.entry().inlined() || e.extent == 0 || e.offset >= plan_.capacity) continue;
            const bool log = stream.source() == known.runs.size();
            blobs.push_back({e.offset, e.offset + std::min(e.extent, plan_.capacity - e.offset), e.id,
                             log ? UINT64_MAX : known.runs[stream.source()].ref.run_id, std::string(stream.entry().name)});
        }
        std::sort(blobs.begin(), blobs.end(), [](const Named& a, const Named& b) { return a.offset < b.offset; });
        // Of blobs that overlap, which is damage, the one counts that reaches furthest.
        std::vector<std::size_t> furthest(blobs.size());
        for (std::size_t i = 0; i < blobs.size(); ++i)
            furthest[i] = i == 0 || blobs[i].end > blobs[furthest[i - 1]].end ? i : furthest[i - 1];
        for (Candidate& candidate : headless_) {
            const RunRef& ref = candidate.run.ref;
            std::map<std::string_view, const Named*> holders;
            bool older = true;
            for (const std::uint32_t number : *candidate.pages) {
                const std::uint64_t at = ref.offset + std::uint64_t{number} * kPage;
                const auto behind = std::upper_bound(blobs.begin(), blobs.end(), at,
                                                     [](std::uint64_t x, const Named& b) { return x < b.offset; });
                if (behind == blobs.begin()) continue;
                const Named& blob = blobs[furthest[static_cast<std::size_t>(behind - blobs.begin()) - 1]];
                if (at >= blob.end) continue;
                holders.emplace(blob.name, &blob);
                older = older && blob.run_id < ref.run_id;
            }
            if (holders.empty() || (older && of_this_shelf(candidate.run, known, [&](const EntryView& entry) {
                    const auto it = holders.find(entry.name);
                    return it != holders.end() && (entry.tombstone() || entry.fixed.id != it->second->id);
                }, [&](const Event& event) {
                    return !event.taken && std::any_of(holders.begin(), holders.end(), [&](const auto& holder) {
                        return event.offset <= holder.second->offset && holder.second->offset < event.end();
                    });
                })))
                image_.runs.push_back(std::move(candidate.run));
        }
        std::sort(image_.runs.begin(), image_.runs.end(),
                  [](const RunImage& a, const RunImage& b) { return a.ref.run_id < b.ref.run_id; });
    }

    template <class E, class V>
    bool of_this_shelf(const RunImage& run, const Image& known, E&& contradicts, V&& gives_back) {
        if (std::any_of(run.events.begin(), run.events.end(), gives_back)) return true;
        if (places_.empty())
            for (const FoundHeader& h : scan_.headers)
                if (h.fixed.uuid == plan_.base.uuid) places_.emplace(h.fixed.id, h.fixed.offset);
        return any_entry(run, known, [&](const EntryStream& here, const EntryStream* there) {
            const EntryView& entry = here.entry();
            if (contradicts(entry)) return true;
            if (!entry.tombstone() && !entry.inlined() && places_.contains({entry.fixed.id, entry.fixed.offset})) return true;
            return there != nullptr && !entry.tombstone() &&
                   std::equal(here.encoded().begin(), here.encoded().end(), there->encoded().begin(), there->encoded().end());
        });
    }

    // Whether an entry of `run` is what `wanted` asks for, who gets the stream at it and, where `known` has the name, that
    // one's stream at its version.
    template <class F>
    bool any_entry(const RunImage& run, const Image& known, F&& wanted) {
        CheckReport unheard;
        CheckOptions quiet;
        Image alone(image_.target, quiet, unheard);
        alone.runs = {run};
        EntryStream there(known);
        bool more = there.next();
        for (EntryStream here(alone); here.next();) {
            while (more && there.entry().name < here.entry().name) more = there.next();
            if (wanted(here, more && there.entry().name == here.entry().name ? &there : nullptr)) return true;
        }
        return false;
    }

    // The newest runs may be what a checkpoint or an earlier repair was writing when the power failed: incomplete, and
    // telling nothing that is not known without them. No root ever named such a run.
    void drop_torn_runs() {
        std::vector<RunImage>& runs = image_.runs;
        // A crash leaves one, and the next session gives its id to another run. More than a few are forged, and each costs
        // a look at all entries: those that are left count as runs.
        for (int left = kMostTorn; left > 0 && !runs.empty() && !runs.back().complete; --left) {
            RunImage torn = std::move(runs.back());
            runs.pop_back();
            if (adds_something(torn)) {
                runs.push_back(std::move(torn));
                return;
            }
        }
    }

    bool adds_something(const RunImage& run) {
        std::unordered_set<std::uint64_t> ids;
        for (const FoundHeader& h : scan_.headers) ids.insert(h.fixed.id);
        return any_entry(run, image_, [&](const EntryStream& here, const EntryStream* there) {
            const EntryView& entry = here.entry();
            const bool same = there != nullptr && there->entry().fixed.id == entry.fixed.id &&
                              there->entry().tombstone() == entry.tombstone();
            const bool found_anyway = !entry.inlined() && !entry.tombstone() && ids.contains(entry.fixed.id);
            return !same && !found_anyway && !entry.name.starts_with("lost+found/");
        });
    }

    // A run that a later one swallowed, but whose bytes nobody wrote over yet.
    void drop_dead_runs() {
        std::vector<RunImage>& runs = image_.runs;
        const std::vector<bool> dead = dead_runs(runs);
        std::size_t to = 0;
        for (std::size_t i = 0; i < runs.size(); ++i)
            if (!dead[i]) {
                if (to != i) runs[to] = std::move(runs[i]);
                ++to;
            }
        runs.resize(to);
    }

    // A merge takes all newer runs of the levels below; one of everything may keep its level, and then shares a version
    // with what it swallowed: only a merge copies an entry as it is. All pairs of runs at once, as there may be many.
    std::vector<bool> dead_runs(const std::vector<RunImage>& runs) {
        std::vector<bool> dead(runs.size());
        std::optional<std::uint32_t> highest;
        for (std::size_t i = runs.size(); i-- > 0;) {
            if (!runs[i].header) continue;
            dead[i] = highest && *highest > runs[i].ref.level;
            if (runs[i].complete) highest = std::max(highest.value_or(0), runs[i].ref.level);
        }
        CheckReport unheard;
        CheckOptions quiet;
        Image scratch(image_.target, quiet, unheard);
        scratch.runs = runs;
        std::string name;
        std::set<std::pair<std::uint32_t, std::vector<std::byte>>> later;  // of complete runs, by level
        for (EntryStream stream(scratch, EntryStream::Versions::all); stream.next();) {
            if (stream.entry().name != name) later.clear(), name = stream.entry().name;
            const RunImage& run = runs[stream.source()];
            if (!run.header || stream.entry().tombstone()) continue;
            std::pair<std::uint32_t, std::vector<std::byte>> version{run.ref.level, {stream.encoded().begin(), stream.encoded().end()}};
            if (later.contains(version)) dead[stream.source()] = true;
            else if (run.complete) later.insert(std::move(version));
        }
        return dead;
    }

    // The commits of the newest incarnation of the log, unless they are older than what the runs hold.
    void replay(Image& image) {
        std::uint64_t in_runs = 0;
        for (EntryStream stream(image); stream.next();)
            if (!stream.entry().tombstone() && stream.entry().fixed.sequence < kPlausibleSequence)
                in_runs = std::max(in_runs, stream.entry().fixed.sequence);
        image.sequence = in_runs;
        const std::vector<FoundCommit>* const log = newest_log(image);
        if (log == nullptr || log->back().sequence < in_runs) return;
        const FoundCommit newest = log->back();
        std::vector<std::byte> bytes;
        std::uint64_t expected = 0;
        for (const FoundCommit& c : *log) {
            if (expected != 0 && c.sequence != expected) image.log_gap = true;
            expected = c.sequence + 1;
            bytes.resize(c.size);
            if (!image.read(c.offset, c.size, bytes.data()) ||
                for_each_record(bytes, plan_.capacity, false, [](const Record&) {}) != nullptr)
                continue;
            image.tail.apply(bytes, plan_.capacity, false, [&](const Record& record) {
                if (record.type == RecordType::put) image.note_id(record.entry.fixed.id);
            });
        }
        image.sequence = newest.sequence;
    }

    // Commits by incarnation.
    void sort_commits() {
        for (const FoundCommit& c : scan_.commits) {
            plan_.keep.push_back({c.offset & ~(kLine - 1), round_up(c.size, kLine)});
            logs_[c.salt].push_back(c);
        }
        for (auto& [salt, log] : logs_) {
            std::sort(log.begin(), log.end(), [](const FoundCommit& a, const FoundCommit& b) {
                return a.sequence != b.sequence ? a.sequence < b.sequence : a.offset < b.offset;
            });
            // A blob may hold a copy of some.
            log.erase(std::unique(log.begin(), log.end(),
                                  [](const FoundCommit& a, const FoundCommit& b) { return a.sequence == b.sequence; }),
                      log.end());
        }
    }

    // Of the incarnations that are no part of a blob's data, the one that ends last. A header alone proves no blob: those
    // of erased ones stay where they are, and a log may lie where the data were. The blob must be in a run, or be put, and
    // not given back, by a log that does not lie in it.
    const std::vector<FoundCommit>* newest_log(const Image& image) {
        std::set<Place> in_runs;
        for (EntryStream stream(image); stream.next();)
            if (!stream.entry().tombstone() && !stream.entry().inlined())
                in_runs.emplace(stream.entry().fixed.id, stream.entry().fixed.offset);
        if (!puts_known_) find_puts();
        std::vector<Extent> sure;
        struct Put {
            Extent data;
            std::uint64_t salt;
        };
        std::vector<Put> by_one;
        for (const auto& [place, blob] : blobs_) {
            const Extent data{place.second, blob.extent};
            if (in_runs.contains(place) || blob.puts > 1) sure.push_back(data);
            else if (blob.puts == 1) by_one.push_back({data, blob.salt});
        }
        const Places stored(std::move(sure));
        // The others in the order of places: which are around each log's end, and of which incarnations.
        struct End {
            std::uint64_t at;
            const std::vector<FoundCommit>* log;
        };
        std::vector<End> ends;
        for (const auto& [salt, log] : logs_) ends.push_back({log.back().offset, &log});
        std::sort(ends.begin(), ends.end(), [](const End& a, const End& b) { return a.at < b.at; });
        std::sort(by_one.begin(), by_one.end(), [](const Put& a, const Put& b) { return a.data.offset < b.data.offset; });
        std::size_t next = 0;
        std::multimap<std::uint64_t, std::uint64_t> open;     // where a blob ends -> salt
        std::map<std::uint64_t, std::uint64_t> around;        // salt -> number of blobs
        const std::vector<FoundCommit>* best = nullptr;
        for (const End& end : ends) {
            for (; next < by_one.size() && by_one[next].data.offset <= end.at; ++next) {
                open.emplace(by_one[next].data.offset + by_one[next].data.size, by_one[next].salt);
                ++around[by_one[next].salt];
            }
            while (!open.empty() && open.begin()->first <= end.at) {
                const auto it = around.find(open.begin()->second);
                if (--it->second == 0) around.erase(it);
                open.erase(open.begin());
            }
            const std::size_t own = around.count(end.log->back().salt);
            if (stored.has(end.at) || around.size() > own) continue;
            if (best == nullptr || best->back().sequence < end.log->back().sequence) best = end.log;
        }
        return best;
    }

    // Which blobs that have an extent header are put, and not given back, by which log. Every commit is read once; what a
    // log frees is told for all blobs at once.
    void find_puts() {
        puts_known_ = true;
        for (const FoundHeader& h : scan_.headers)
            if (h.fixed.extent != 0 && h.fixed.offset < plan_.capacity) {
                Blob& blob = blobs_[{h.fixed.id, h.fixed.offset}];
                blob.extent = std::max(blob.extent, std::min(h.fixed.extent, plan_.capacity - h.fixed.offset));
            }
        std::vector<std::byte> bytes;
        for (const auto& [salt, log] : logs_) {
            std::map<Place, std::uint64_t> puts;  // -> which record of the log was the last
            struct Freed {
                Extent extent;
                std::uint64_t ordinal;
                bool operator<(const Freed& other) const { return ordinal < other.ordinal; }
            };
            std::vector<Freed> freed;
            std::uint64_t ordinal = 0;
            for (const FoundCommit& c : log) {
                if (!copy_commit(image_, c.offset, c.size, c.sequence, c.salt, bytes)) continue;
                (void)for_each_record(bytes, plan_.capacity, false, [&](const Record& r) {
                    ++ordinal;
                    if (r.type == RecordType::free) freed.push_back({r.extent, ordinal});
                    if (r.type != RecordType::put || r.entry.inlined()) return;
                    const Place place{r.entry.fixed.id, r.entry.fixed.offset};
                    if (blobs_.contains(place)) puts[place] = ordinal;
                });
            }
            std::vector<std::pair<std::uint64_t, Place>> by_offset;
            for (const auto& [place, last] : puts) by_offset.emplace_back(place.second, place);
            std::sort(by_offset.begin(), by_offset.end());
            std::sort(freed.begin(), freed.end(), [](const Freed& a, const Freed& b) { return a.extent.offset < b.extent.offset; });
            std::size_t next = 0;
            std::priority_queue<Freed> over;  // what was freed last on top
            for (const auto& [offset, place] : by_offset) {
                for (; next < freed.size() && freed[next].extent.offset <= offset; ++next) over.push(freed[next]);
                while (!over.empty() && over.top().extent.offset + over.top().extent.size <= offset) over.pop();
                if (!over.empty() && over.top().ordinal > puts[place]) continue;
                Blob& blob = blobs_[place];
                ++blob.puts;
                blob.salt = salt;
            }
        }
    }

    Image& image_;
    Plan& plan_;
    Scan scan_;
    std::map<std::uint64_t, std::vector<FoundCommit>> logs_;  // by salt, each in order
    std::uint64_t next_run_id_ = 1;
    std::vector<Candidate> headless_;  // runs without a sound header page
    std::set<Place> places_;           // of the extent headers of this shelf
    struct Blob {
        std::uint64_t extent = 0;
        std::uint64_t puts = 0;  // by so many logs
        std::uint64_t salt = 0;  // of the last of them
    };
    std::map<Place, Blob> blobs_;
    bool puts_known_ = false;
};

}  // namespace

bool reconstruct(Image& image, Plan& plan) { return Reconstruct(image, plan).run(); }

}  // namespace pymm
