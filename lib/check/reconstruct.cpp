// A root that is lost, worked out from what it must have named.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>

#include "catalogue/space_map.hpp"
#include "check/entry_stream.hpp"
#include "check/pages.hpp"
#include "check/salvage.hpp"
#include "check/scan.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

class Reconstruct {
public:
    Reconstruct(Image& image, Plan& plan) : image_(image), plan_(plan) {}

    bool run() {
        scan_data(image_, plan_.capacity, {}, std::nullopt, true, scan_);
        if (!choose_uuid()) return false;
        image_.root = plan_.base;
        gather_runs();
        replay();
        drop_torn_runs();
        drop_dead_runs();
        for (const FoundHeader& h : scan_.headers)
            if (h.fixed.uuid == plan_.base.uuid) image_.note_id(h.fixed.id);
        plan_.base.sequence = image_.sequence;
        plan_.base.next_run_id = next_run_id_;
        return true;
    }

private:
    // Of the data header; else of most extent headers and runs.
    bool choose_uuid() {
        if (image_.header_uuid) {
            plan_.base.uuid = *image_.header_uuid;
            return true;
        }
        std::map<Uuid, std::uint64_t> votes;
        for (const FoundHeader& h : scan_.headers) ++votes[h.fixed.uuid];
        for (const auto& [key, last] : scan_.runs) {
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

    bool inside_a_blob(std::uint64_t offset) const {
        return std::any_of(scan_.headers.begin(), scan_.headers.end(), [&](const FoundHeader& h) {
            return offset >= h.fixed.offset && offset - h.fixed.offset < h.fixed.extent;
        });
    }

    void gather_runs() {
        // The same run twice: one of them is part of somebody's stored image.
        std::map<std::uint64_t, RunImage> by_id;
        for (const auto& [key, last] : scan_.runs) {
            next_run_id_ = std::max(next_run_id_, key.first + 1);
            RunRef ref{};
            ref.run_id = key.first;
            ref.offset = key.second;
            ref.size = (std::uint64_t{last} + 1) * kPage;
            ref.sequence = UINT64_MAX;  // not known; its entries tell
            RunHeader header;
            if (read_header(key, header)) {
                if (header.uuid != plan_.base.uuid) continue;
                const std::uint64_t size = std::uint64_t{header.pages} * kPage;
                if (size >= ref.size && size <= plan_.capacity - ref.offset) ref.size = size;
                ref.entries = header.entries;
                ref.level = header.level;
            }
            const auto it = by_id.find(key.first);
            if (it != by_id.end() && inside_a_blob(ref.offset)) continue;
            by_id[key.first] = RunImage{};
            by_id[key.first].ref = ref;
        }
        // What is wrong with them is no news of the shelf as it is: they may have been given back long ago.
        CheckReport unheard;
        CheckOptions quiet;
        Image scratch(image_.target, quiet, unheard);
        scratch.root = image_.root;
        scratch.capacity = image_.capacity;
        for (auto& [id, run] : by_id) {
            check_run(scratch, run);
            if (!run.leaves.empty() || !run.events.empty()) image_.runs.push_back(std::move(run));
            plan_.keep.push_back({by_id[id].ref.offset, by_id[id].ref.size});
        }
        image_.note_id(scratch.max_id);
    }

    // The newest runs may be what a checkpoint or an earlier repair was writing when the power failed: incomplete, and
    // telling nothing that is not known without them. No root ever named such a run.
    void drop_torn_runs() {
        std::vector<RunImage>& runs = image_.runs;
        while (!runs.empty() && !runs.back().complete) {
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
        CheckReport unheard;
        CheckOptions quiet;
        Image alone(image_.target, quiet, unheard);
        alone.runs = {run};
        EntryStream there(image_);
        bool more = there.next();
        for (EntryStream here(alone); here.next();) {
            const EntryView& entry = here.entry();
            while (more && there.entry().name < entry.name) more = there.next();
            const bool same = more && there.entry().name == entry.name &&
                              there.entry().fixed.id == entry.fixed.id &&
                              there.entry().tombstone() == entry.tombstone();
            const bool found_anyway = !entry.inlined() && !entry.tombstone() && ids.contains(entry.fixed.id);
            if (!same && !found_anyway && !entry.name.starts_with("lost+found/")) return true;
        }
        return false;
    }

    // A run that a later one swallowed, but whose bytes nobody wrote over yet.
    void drop_dead_runs() {
        std::vector<RunImage>& runs = image_.runs;
        std::vector<bool> dead(runs.size());
        for (std::size_t i = 0; i < runs.size(); ++i)
            for (std::size_t j = i + 1; j < runs.size() && !dead[i]; ++j) {
                if (!runs[j].header || !runs[i].header || !runs[j].complete) continue;
                // A merge takes all newer runs of the levels below; one of everything may keep its level.
                dead[i] = runs[j].ref.level > runs[i].ref.level ||
                          (runs[j].ref.level == runs[i].ref.level && share_a_version(runs[i], runs[j]));
            }
        std::size_t to = 0;
        for (std::size_t i = 0; i < runs.size(); ++i)
            if (!dead[i]) {
                if (to != i) runs[to] = std::move(runs[i]);
                ++to;
            }
        runs.resize(to);
    }

    // Only a merge copies an entry as it is.
    bool share_a_version(const RunImage& a, const RunImage& b) {
        CheckReport unheard;
        CheckOptions quiet;
        Image left(image_.target, quiet, unheard), right(image_.target, quiet, unheard);
        left.runs = {a};
        right.runs = {b};
        EntryStream x(left), y(right);
        bool more = x.next() && y.next();
        while (more) {
            if (x.entry().name < y.entry().name) more = x.next();
            else if (y.entry().name < x.entry().name) more = y.next();
            else {
                if (std::equal(x.encoded().begin(), x.encoded().end(), y.encoded().begin(), y.encoded().end()) &&
                    !x.entry().tombstone())
                    return true;
                more = x.next() && y.next();
            }
        }
        return false;
    }

    // The commits of the newest incarnation of the log, unless they are older than what the runs hold.
    void replay() {
        std::uint64_t in_runs = 0;
        for (EntryStream stream(image_); stream.next();)
            if (!stream.entry().tombstone()) in_runs = std::max(in_runs, stream.entry().fixed.sequence);
        image_.sequence = in_runs;
        for (const FoundCommit& c : scan_.commits)
            plan_.keep.push_back({c.offset & ~(kLine - 1), round_up(c.size, kLine)});
        const std::vector<FoundCommit>* const log = newest_log();
        if (log == nullptr || log->back().sequence < in_runs) return;
        const FoundCommit newest = log->back();
        std::vector<std::byte> bytes;
        std::uint64_t expected = 0;
        for (const FoundCommit& c : *log) {
            if (expected != 0 && c.sequence != expected) image_.log_gap = true;
            expected = c.sequence + 1;
            bytes.resize(c.size);
            if (!image_.read(c.offset, c.size, bytes.data()) ||
                for_each_record(bytes, plan_.capacity, false, [](const Record&) {}) != nullptr)
                continue;
            image_.tail.apply(bytes, plan_.capacity, false, [&](const Record& record) {
                if (record.type == RecordType::put) image_.note_id(record.entry.fixed.id);
            });
        }
        image_.sequence = newest.sequence;
    }

    // Commits by incarnation; of those that are no part of a blob's data, the one that ends last. A header alone
    // proves no blob: those of erased ones stay where they are, and a log may lie where the data were.
    const std::vector<FoundCommit>* newest_log() {
        for (const FoundCommit& c : scan_.commits) logs_[c.salt].push_back(c);
        for (auto& [salt, log] : logs_) {
            std::sort(log.begin(), log.end(), [](const FoundCommit& a, const FoundCommit& b) {
                return a.sequence != b.sequence ? a.sequence < b.sequence : a.offset < b.offset;
            });
            // A blob may hold a copy of some.
            log.erase(std::unique(log.begin(), log.end(),
                                  [](const FoundCommit& a, const FoundCommit& b) { return a.sequence == b.sequence; }),
                      log.end());
        }
        std::unordered_set<std::uint64_t> in_runs;
        for (EntryStream stream(image_); stream.next();)
            if (!stream.entry().tombstone() && !stream.entry().inlined()) in_runs.insert(stream.entry().fixed.id);
        const std::vector<FoundCommit>* best = nullptr;
        for (const auto& [salt, log] : logs_) {
            if (best != nullptr && best->back().sequence >= log.back().sequence) continue;
            const std::uint64_t at = log.back().offset;
            const bool stored = std::any_of(scan_.headers.begin(), scan_.headers.end(), [&, salt = salt](const FoundHeader& h) {
                return at >= h.fixed.offset && at - h.fixed.offset < h.fixed.extent &&
                       (in_runs.contains(h.fixed.id) || put_in_another_log(h, salt));
            });
            if (!stored) best = &log;
        }
        return best;
    }

    // The blob was put, and not given back, by a log that does not lie in it.
    bool put_in_another_log(const FoundHeader& h, std::uint64_t salt) {
        std::vector<std::byte> bytes;
        for (const auto& [other, log] : logs_) {
            if (other == salt || log.back().sequence <= h.fixed.sequence) continue;
            bool alive = false;
            for (const FoundCommit& c : log) {
                if (!copy_commit(image_, c.offset, c.size, c.sequence, c.salt, bytes)) continue;
                (void)for_each_record(bytes, plan_.capacity, false, [&](const Record& r) {
                    const bool frees = r.type == RecordType::free && h.fixed.offset >= r.extent.offset &&
                                       h.fixed.offset - r.extent.offset < r.extent.size;
                    if (frees) alive = false;
                    if (r.type == RecordType::put && r.entry.fixed.id == h.fixed.id) alive = true;
                });
            }
            if (alive) return true;
        }
        return false;
    }

    Image& image_;
    Plan& plan_;
    Scan scan_;
    std::map<std::uint64_t, std::vector<FoundCommit>> logs_;  // by salt, each in order
    std::uint64_t next_run_id_ = 1;
};

}  // namespace

bool reconstruct(Image& image, Plan& plan) { return Reconstruct(image, plan).run(); }

}  // namespace pymm
