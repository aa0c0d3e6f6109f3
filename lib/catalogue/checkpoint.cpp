// The writing half of the catalogue: commits, checkpoints, sessions.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>

#include "catalogue/catalogue.hpp"
#include "catalogue/entry_merge.hpp"
#include "catalogue/random.hpp"
#include "format/crc32c.hpp"
#include "format/names.hpp"
#include "media/guarded_read.hpp"

namespace pymm {

using namespace format;

namespace {

constexpr std::uint64_t kGarbage = 256;  // superseded names that are not worth a merge
constexpr std::size_t kFanout = 8;          // runs of one level that become one of the next

// What can no longer be undone, because the accounts are changed or the media may have the new state: whatever goes
// wrong in it, be it a lack of space or of memory, leaves memory and media at odds, and is a failure of the media to
// those above.
template <class F>
void irrevocably(const Media& media, F&& work) {
    const auto fail = [&](const char* what, int error) {
        throw IoError(fmt::format("{}: the catalogue could not be written: {}; close the shelf, mend that, and open it "
                                  "again", media.name(), what), error);
    };
    try {
        work();
    } catch (const IoError&) {
        throw;
    } catch (const Error& error) {
        fail(error.what(), error.os_error());
    } catch (const std::bad_alloc&) {
        fail("out of memory", ENOMEM);
    } catch (const std::exception& error) {
        fail(error.what(), 0);
    }
}

}  // namespace

// ---- Commit ---------------------------------------------------------------------------------------

bool Catalogue::make_room(std::uint64_t size) {
    if (log_used_ + size <= root_.log_size) return false;
    checkpoint(size > root_.base_log_size ? round_up(size, kPage) : 0);
    return true;
}

void Catalogue::commit(CommitBuilder& builder, std::uint64_t now_ns) {
    assert(in_session_);
    make_room(builder.size());
    const Bytes bytes = builder.finish(sequence_ + 1, root_.log_salt, now_ns);
    // All that the records name is durable by now (the shelf's duty); one write, one fence.
    // A write that fails may have written all of it.
    irrevocably(data_, [&] {
        data_.write(root_.log_offset + log_used_, bytes.data(), bytes.size());
        data_.drain();
        apply(bytes, true);
    });
    log_used_ = std::min<std::uint64_t>(round_up(log_used_ + bytes.size(), kLine), root_.log_size);
    publish(root_.log_salt, sequence_);
}

void Catalogue::fold_oversized_log() {
    if (root_.log_size > root_.base_log_size) checkpoint();
}

// ---- Checkpoint -----------------------------------------------------------------------------------

Extent Catalogue::allocate_metadata(std::uint64_t size, std::uint64_t align) {
    const auto found = space_->allocate(size, align);
    if (!found)
        throw NoSpaceError(fmt::format("{}: no {} contiguous bytes are free for the shelf's catalogue; erase "
                                       "blobs or use a larger shelf",
                                       data_.name(), size));
    try {
        data_.reserve(*found, size);
    } catch (...) {
        space_->release(*found, size);
        throw;
    }
    return {*found, size};
}

void Catalogue::drop_spare() {
    if (!spare_) return;
    space_->release(spare_->offset, spare_->size);
    spare_.reset();
}

// Enough to fold a full tail of `log` bytes and all runs into one, with a new log and zone table: a shelf that is
// full in every other respect can still be emptied.
std::uint64_t Catalogue::spare_size(std::uint64_t log) const {
    const std::uint64_t pages = RunWriter::pages_bound(run_bound(runs_.size()), log);
    return root_.base_log_size + pages * kPage + round_up(space_->zone_count() * sizeof(Zone), kPage);
}

void Catalogue::compact() {
    if (runs_.size() > 1) checkpoint(0, false, true);
}

std::uint64_t Catalogue::spare_wanted(std::uint64_t commit) const {
    if (commit <= root_.base_log_size) return spare_size_;
    // First a checkpoint with a log for it, which frees nothing before it is over, then the fold of that log.
    return spare_size_ + round_up(commit, kPage) + spare_size(round_up(commit, kPage));
}

bool Catalogue::ensure_spare(std::uint64_t commit) {
    const std::uint64_t size = spare_wanted(commit);
    if (spare_ && spare_->size >= size) {
        if (spare_->size > size) space_->release(spare_->offset + size, spare_->size - size);
        spare_->size = size;
        return true;
    }
    const std::optional<Extent> old = spare_;
    drop_spare();
    if (const auto found = space_->allocate(size, kPage)) {
        spare_ = Extent{*found, size};
        return true;
    }
    // What was kept stays kept: nothing else was allocated meanwhile, so it is still there.
    if (old)
        if (const auto found = space_->allocate(old->size, kPage)) spare_ = Extent{*found, old->size};
    return false;
}

// What the tail and the newest `inputs` runs can come to, at the most.
RunWriter::Bound Catalogue::run_bound(std::size_t inputs) const {
    RunWriter::Bound bound{tail_.names(), tail_.entry_bytes(), tail_.max_entry(), tail_.max_name(),
                           tail_.events().size()};
    for (std::size_t i = runs_.size() - inputs; i < runs_.size(); ++i) {
        const RunHeader& h = runs_[i]->header();
        bound.names += h.entries;
        bound.bytes += std::uint64_t{h.leaf_count} * kPage;
        bound.max_entry = std::max<std::uint64_t>(bound.max_entry, h.max_entry);
        bound.max_name = std::max<std::uint64_t>(bound.max_name, h.max_name);
        bound.events += h.events;
    }
    // Sweeping event lists may cut each event of one by each of the others.
    bound.events = 2 * bound.events + 2;
    if (inputs == runs_.size()) {
        // Nothing stays below: only what lives is written.
        bound.names = std::min(bound.names, blobs_);
        bound.bytes = std::min(bound.bytes, bound.names * bound.max_entry);
    }
    return bound;
}

// What the tail and the newest `inputs` runs come to: entries in order, then events.
template <class E, class V>
void Catalogue::merge(std::size_t inputs, E&& entry, V&& event) const {
    const std::size_t first = runs_.size() - inputs;
    const bool oldest = first == 0;  // nothing below: tombstones and freed space need no mention
    EntryMerge entries(tail_.sorted(), runs_, first, "");
    std::string_view name;
    Bytes encoded;
    while (entries.next(name, encoded)) {
        std::uint32_t flags;
        std::memcpy(&flags, encoded.data() + offsetof(Entry, flags), sizeof flags);
        if (!oldest || (flags & kEntryTombstone) == 0) entry(name, encoded);
    }

    std::vector<std::unique_ptr<EventCursor>> sources;
    for (std::size_t i = first; i < runs_.size(); ++i) sources.push_back(runs_[i]->events(0));
    sources.push_back(std::make_unique<VectorEventCursor>(tail_.events().all()));
    EventMerge events(std::move(sources), oldest);
    Event next;
    while (events.next(next)) event(next);
}

// Writes them to one new run in `extent`. Nothing when all of it cancelled out. `names`: at the most.
std::optional<RunRef> Catalogue::write_run(std::size_t inputs, std::uint32_t level, Extent extent,
                                           std::uint64_t names) {
    RunWriter writer(data_, extent.offset, extent.size / kPage, root_.uuid, root_.next_run_id, names);
    bool any = false;
    merge(
        inputs,
        [&](std::string_view name, Bytes entry) {
            writer.add(name, entry);
            any = true;
        },
        [&](const Event& event) {
            writer.add_event(event);
            any = true;
        });
    if (!any) return std::nullopt;
    return writer.finish(level, sequence_);
}

// How many of the newest runs the next run swallows, and its level. A base-8 counter: the tail becomes a
// run of level 0; where a level would get its eighth run, all eight become one of the next level, in the
// same pass.
std::pair<std::size_t, std::uint32_t> Catalogue::choose_inputs() const {
    std::size_t inputs = 0;
    std::uint32_t level = 0;
    for (;;) {
        std::size_t of_level = 0;
        while (inputs + of_level < runs_.size() &&
               runs_[runs_.size() - 1 - inputs - of_level]->ref().level <= level)
            ++of_level;
        if (of_level < kFanout - 1) break;
        inputs += of_level;
        ++level;
    }
    // Where most of what the runs hold is superseded or erased, all become one: the work is paid for by
    // the commits that made the garbage. Sooner where the catalogue is large beside what is free.
    std::uint64_t mentioned = tail_.names(), bytes = 0;
    for (const auto& r : runs_) {
        mentioned += r->ref().entries;
        bytes += r->ref().size;
    }
    const bool tight = 3 * bytes > space_->free();
    if (inputs < runs_.size() && mentioned > (tight ? blobs_ + blobs_ / 2 : 4 * blobs_) + kGarbage)
        return {runs_.size(), std::max(level, runs_.front()->ref().level)};
    return {inputs, level};
}

void Catalogue::checkpoint(std::uint64_t min_log, bool clean, bool merge_all) {
    // No structured binding: clang 14 cannot capture one in a lambda.
    const auto chosen = choose_inputs();
    std::size_t inputs = chosen.first;
    std::uint32_t level = chosen.second;
    const std::uint32_t top = runs_.empty() ? 0 : runs_.front()->ref().level;
    if (merge_all) inputs = runs_.size(), level = std::max(level, top);
    const bool has_tail = tail_.names() != 0 || tail_.events().size() != 0;
    const bool new_run = has_tail || merge_all;
    if (!new_run) inputs = 0, level = 0;

    // What is reserved can be written: nothing fails for lack of space once the accounts below have changed.
    map_.reserve(0, kMapSize);
    std::vector<Extent> fresh;
    std::optional<RunRef> run;
    Superblock next = root_;
    try {
        if (new_run) {
            // What was chosen; else no merge, unless it was asked for, which can wait while the root has slots; else
            // the spare, which is always enough for a full merge, and that frees all that the runs waste.
            struct Try {
                std::size_t inputs;
                std::uint32_t level;
                bool use_spare;
            };
            std::optional<Extent> found;
            std::uint64_t names = 0;
            for (const Try& t : {Try{inputs, level, false}, Try{0, 0, false},
                                 Try{runs_.size(), std::max(level, top), true}}) {
                if (runs_.size() - t.inputs + 1 > kMaxRuns || (merge_all && t.inputs != runs_.size())) continue;
                const RunWriter::Bound bound = run_bound(t.inputs);
                names = bound.names;
                std::uint64_t size = RunWriter::pages_bound(bound) * kPage;
                if (t.use_spare) {
                    drop_spare();
                    // The bound may be far above the truth, and grows with the longest entry: here it is worth while
                    // to count. What is erased never makes a full merge larger.
                    RunSizer sizer;
                    merge(
                        t.inputs, [&](std::string_view name, Bytes entry) { sizer.add(name.size(), entry.size()); },
                        [&](const Event&) { sizer.add_event(); });
                    names = sizer.names();
                    size = sizer.pages() * kPage;
                }
                if (const auto at = space_->allocate(size, kPage)) {
                    found = Extent{*at, size};
                    inputs = t.inputs;
                    level = t.level;
                    break;
                }
            }
            if (!found)
                throw NoSpaceError(fmt::format("{}: no space to write the catalogue; erase blobs or use a larger "
                                               "shelf", data_.name()));
            const Extent extent = *found;
            fresh.push_back(extent);
            data_.reserve(extent.offset, extent.size);
            run = write_run(inputs, level, extent, names);
            const std::uint64_t kept = run ? run->size : 0;
            if (kept < extent.size) space_->release(extent.offset + kept, extent.size - kept);
            if (run) fresh.back().size = kept;
            else fresh.pop_back();
        }
        const std::uint64_t log_size = std::max(min_log, root_.base_log_size);
        const auto take = [&](std::uint64_t size, std::uint64_t align) {
            try {
                return allocate_metadata(size, align);
            } catch (const NoSpaceError&) {
                if (!spare_) throw;
                drop_spare();
                return allocate_metadata(size, align);
            }
        };
        const Extent log = take(log_size, kPage);
        fresh.push_back(log);
        next.zone_size = round_up(space_->zone_count() * sizeof(Zone), kLine);
        const Extent zones = take(next.zone_size, kLine);
        fresh.push_back(zones);
        next.log_offset = log.offset;
        next.log_size = log.size;
        next.zone_offset = zones.offset;
    } catch (...) {
        for (const Extent& e : fresh) space_->release(e.offset, e.size);
        throw;
    }

    next.sequence = sequence_;
    next.log_salt = random_u64();
    next.flags = clean ? next.flags | kSuperblockClean : next.flags & ~kSuperblockClean;
    next.run_count = static_cast<std::uint32_t>(runs_.size() - inputs);
    if (run) {
        next.runs[next.run_count++] = *run;
        ++next.next_run_id;
    }
    std::fill(next.runs + next.run_count, next.runs + kMaxRuns, RunRef{});
    next.blobs = blobs_;
    next.next_id = next_id_;

    std::vector<Extent> retired{{root_.log_offset, root_.log_size}};
    if (root_.zone_size != 0) retired.push_back({root_.zone_offset, root_.zone_size});
    for (std::size_t i = runs_.size() - inputs; i < runs_.size(); ++i)
        retired.push_back({runs_[i]->ref().offset, runs_[i]->ref().size});
    irrevocably(data_, [&] {
        for (const Extent& e : fresh) {
            space_->settle(e.offset, e.size);
            space_->metadata(e.offset, e.size, true);
        }
        for (const Extent& e : retired) {
            space_->metadata(e.offset, e.size, false);
            space_->hold(e.offset, e.size);
        }
        const std::vector<Zone> table = space_->table();
        next.zone_crc = crc32c(table.data(), table.size() * sizeof(Zone));
        next.used = space_->used();
        std::vector<std::byte> padded(next.zone_size);
        std::memcpy(padded.data(), table.data(), table.size() * sizeof(Zone));
        data_.write(next.zone_offset, padded.data(), padded.size());
        // Runs and zone table must be durable before a root names them.
        data_.drain();
        // All that needs memory: behind the new root nothing may be left out.
        std::unique_ptr<Run> written = run ? std::make_unique<Run>(data_, *run, root_.uuid) : nullptr;
        runs_.reserve(runs_.size() + 1);
        freed_.reserve(freed_.size() + retired.size());
        write_root(next);

        // Not before: what the root in use names must never be given back.
        freed_.insert(freed_.end(), retired.begin(), retired.end());
        runs_.resize(runs_.size() - inputs);
        if (written) runs_.push_back(std::move(written));
        tail_.clear();
        log_used_ = 0;
    });
    spare_size_ = spare_size(root_.log_size);
    ensure_spare();
}

// ---- Root -----------------------------------------------------------------------------------------

// The copy in use is never written first: a torn write leaves it whole. Then the other copy follows, so
// that a copy damaged later never brings an older state back. What the old root names is not reused
// before both are durable.
void Catalogue::write_root(Superblock& next) {
    next.generation = root_.generation + 1;
    seal_superblock(next);
    publish(next.log_salt, next.sequence);
    const int first = 1 - root_index_;
    // A write that fails may have written the new root.
    irrevocably(map_, [&] {
        map_.write(kSuperblockOffset[first], &next, sizeof next);
        map_.drain();
        map_.write(kSuperblockOffset[1 - first], &next, sizeof next);
        map_.drain();
    });
    root_ = next;
    root_index_ = first;
}

// ---- Session --------------------------------------------------------------------------------------

// By writing it: after a failed sync a flush alone would find nothing to do. The bytes are those that are there, so
// that whatever fails here leaves the state as it is, and can be tried again.
void Catalogue::settle() {
    if (settled_) return;
    map_.reserve(0, kMapSize);
    map_.write(kSuperblockOffset[root_index_], &root_, sizeof root_);
    map_.drain();
    if (log_used_ != 0) {
        std::vector<std::byte> tail(log_used_);
        guarded_copy(tail.data(), data_, root_.log_offset, tail.size(), "redo log");
        data_.write(root_.log_offset, tail.data(), tail.size());
        data_.drain();
    }
    settled_ = true;
    // The process before us may have died before it said so.
    publish(root_.log_salt, sequence_);
}

void Catalogue::begin_session() {
    if (in_session_) return;
    // Forged, or 2^31 sessions: an id that comes again would make salvage mix two blobs up.
    if (next_id_ >= kIdLimit)
        damaged(fmt::format("superblock: the next id is {}, ids end at {}; the shelf can be read", next_id_, kIdLimit));
    // Likewise: a shelf that went on would make itself unreadable at the limit.
    if (sequence_ >= kPlausibleSequence || root_.generation >= kPlausibleSequence)
        damaged(fmt::format("superblock: commit {}, generation {}: no shelf comes to {}; the shelf can be read", sequence_,
                            root_.generation, kPlausibleSequence));
    // Every fold asks all runs how large it may become: one that is damaged shows before anything is written.
    for (const auto& run : runs_) (void)run->header();
    // Before the other copy of the root is overwritten, and what the tail frees.
    settle();
    // From now on a data file that lost its .map is worth salvaging. Before the first root change, so that
    // the mark is never missing where data is; written even when it is there, for the same reason.
    DataHeader header;
    guarded_copy(&header, data_, 0, sizeof header, "data header");
    header.used = 1;
    data_.write(0, &header, sizeof header);
    data_.drain();
    // Ids of blobs that were written but never committed must not come again: salvage tells versions
    // apart by them.
    const std::uint64_t next_id = std::exchange(next_id_, ((next_id_ >> 32) + 1) << 32);
    if (tail_.names() != 0 || tail_.events().size() != 0 || log_used_ != 0) {
        try {
            checkpoint();
        } catch (const NoSpaceError&) {
            next_id_ = next_id;
            throw;
        }
    } else {
        Superblock next = root_;
        next.flags &= ~kSuperblockClean;
        next.log_salt = random_u64();
        next.next_id = next_id_;
        write_root(next);
    }
    spare_size_ = spare_size(root_.log_size);
    in_session_ = true;
    ensure_spare();
}

void Catalogue::close_session() {
    if (!in_session_) return;
    // A repair can come between a transaction that was cut short and the open that undoes it, which a clean end would
    // tell that there is nothing to undo.
    const auto undone = [this] {
        EntryView journal;
        try {
            if (find(journal_name(0), journal)) return false;
            bool none = true;  // a repair may have put the first of them aside
            for_each(kJournalName, [&](const EntryView&) { return none = false; });
            return none;
        } catch (const CorruptError&) {
            return false;  // the next open may tell
        }
    };
    const bool clean = undone();
    if (log_used_ != 0) {
        try {
            checkpoint(0, clean);
        } catch (const NoSpaceError&) {
            // The tail stays in the log; the next open replays it as after a crash.
        }
    } else {
        Superblock next = root_;
        if (clean) next.flags |= kSuperblockClean;
        next.next_id = next_id_;
        next.used = space_->used();
        write_root(next);
    }
    in_session_ = false;
}

}  // namespace pymm
