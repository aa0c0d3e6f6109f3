// The writing half of the catalogue: commits, checkpoints, sessions.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "catalogue/catalogue.hpp"
#include "catalogue/random.hpp"
#include "format/crc32c.hpp"

namespace pymm {

using namespace format;

namespace {

constexpr std::uint64_t kGarbage = 256;  // superseded names that are not worth a merge
constexpr std::size_t kFanout = 4;  // runs of one level that become one of the next

}  // namespace

// ---- Commit ---------------------------------------------------------------------------------------

std::vector<Extent> Catalogue::commit(CommitBuilder& builder, std::uint64_t now_ns) {
    assert(in_session_);
    if (log_used_ + builder.size() > root_.log_size)
        checkpoint(builder.size() > root_.base_log_size ? round_up(builder.size(), kPage) : 0);

    const Bytes bytes = builder.finish(sequence_ + 1, root_.log_salt, now_ns);
    // All that the records name is durable by now (the shelf's duty); one write, one fence.
    data_.write(root_.log_offset + log_used_, bytes.data(), bytes.size());
    data_.drain();
    std::vector<Extent> freed;
    apply(bytes, &freed);
    log_used_ = std::min<std::uint64_t>(round_up(log_used_ + bytes.size(), kLine), root_.log_size);
    publish(root_.log_salt, sequence_);

    if (root_.log_size > root_.base_log_size) {
        // A commit larger than the log got a log of its own. Replay stays bounded because that log is
        // folded at once; where there is no space for it, the next commit tries again.
        try {
            checkpoint();
        } catch (const NoSpaceError&) {
        }
    }
    return freed;
}

// ---- Checkpoint -----------------------------------------------------------------------------------

Extent Catalogue::allocate_metadata(std::uint64_t size, std::uint64_t align) {
    auto found = space_->allocate(size, align);
    if (!found && spare_) {
        space_->release(spare_->offset, spare_->size);
        spare_.reset();
        found = space_->allocate(size, align);
    }
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

std::uint64_t Catalogue::spare_size() const {
    const std::uint64_t log = root_.base_log_size;
    const std::uint64_t run =
        kPage * RunWriter::pages_bound(log, log / sizeof(Entry) + 1, log / sizeof(Extent) + 1);
    return round_up(log + run + space_->zone_count() * sizeof(Zone) + 4 * kPage, kPage);
}

bool Catalogue::ensure_spare() {
    if (spare_) return true;
    const std::uint64_t size = spare_size();
    const auto found = space_->allocate(size, kPage);
    if (!found) return false;
    spare_ = Extent{*found, size};
    return true;
}

// Writes the tail and the newest `inputs` runs to one new run in `extent`. Nothing when all of it
// cancelled out.
std::optional<RunRef> Catalogue::write_run(std::size_t inputs, std::uint32_t level, Extent extent) {
    const std::size_t first = runs_.size() - inputs;
    const bool oldest = first == 0;  // nothing below: tombstones and freed space need no mention
    const auto tail = tail_.sorted();
    std::uint64_t names = tail.size();
    for (std::size_t i = first; i < runs_.size(); ++i) names += runs_[i]->header().entries;

    RunWriter writer(data_, extent.offset, extent.size / kPage, root_.uuid, root_.next_run_id, names);
    std::vector<Run::Cursor> cursors;
    for (std::size_t i = first; i < runs_.size(); ++i) cursors.emplace_back(*runs_[i], "");
    auto at = tail.begin();
    std::uint64_t written = 0;
    for (;;) {
        const std::string_view* best = at != tail.end() ? &at->first : nullptr;
        Run::Cursor* from = nullptr;
        for (auto it = cursors.rbegin(); it != cursors.rend(); ++it)
            if (it->valid() && (best == nullptr || it->entry().name < *best)) {
                best = &it->entry().name;
                from = &*it;
            }
        if (best == nullptr) break;
        const std::string_view name = *best;
        const Bytes bytes = from != nullptr ? from->encoded() : at->second;
        std::uint32_t flags;
        std::memcpy(&flags, bytes.data() + offsetof(Entry, flags), sizeof flags);
        if (!oldest || (flags & kEntryTombstone) == 0) {
            writer.add(name, bytes);
            ++written;
        }
        if (at != tail.end() && at->first == name) ++at;
        for (Run::Cursor& c : cursors)
            if (c.valid() && c.entry().name == name) c.next();
    }

    std::vector<std::unique_ptr<EventCursor>> sources;
    for (std::size_t i = first; i < runs_.size(); ++i) sources.push_back(runs_[i]->events(0));
    sources.push_back(std::make_unique<VectorEventCursor>(tail_.events().all()));
    EventMerge events(std::move(sources), oldest);
    Event event;
    while (events.next(event)) {
        writer.add_event(event);
        ++written;
    }
    if (written == 0) return std::nullopt;
    return writer.finish(level, sequence_);
}

void Catalogue::checkpoint(std::uint64_t min_log, bool clean) {
    // A base-4 counter: the tail becomes a run of level 0; where a level would get its fourth run, all
    // four become one of the next level, in the same pass.
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
    // the commits that made the garbage.
    std::uint64_t mentioned = tail_.names();
    for (const auto& r : runs_) mentioned += r->header().entries;
    if (mentioned > 4 * blobs_ + kGarbage && inputs < runs_.size()) {
        inputs = runs_.size();
        level = std::max(level, runs_.front()->ref().level);
    }
    const bool has_tail = tail_.names() != 0 || tail_.events().size() != 0;
    if (!has_tail) inputs = 0, level = 0;

    std::vector<Extent> fresh;
    std::optional<RunRef> run;
    Superblock next = root_;
    try {
        if (has_tail) {
            std::uint64_t bytes = tail_.entry_bytes(), names = tail_.names(), count = tail_.events().size();
            const auto bound = [&](std::size_t n) {
                std::uint64_t b = bytes, k = names, e = count;
                for (std::size_t i = runs_.size() - n; i < runs_.size(); ++i) {
                    b += std::uint64_t{runs_[i]->header().leaf_count} * kPage;
                    k += runs_[i]->header().entries;
                    e += runs_[i]->header().events;
                }
                // Sweeping two event lists may cut each event of one by each of the other.
                return RunWriter::pages_bound(b, k, 2 * e + 2) * kPage;
            };
            Extent extent;
            try {
                extent = allocate_metadata(bound(inputs), kPage);
            } catch (const NoSpaceError&) {
                // Merging can wait while there are slots in the root.
                if (inputs == 0 || runs_.size() >= kMaxRuns) throw;
                inputs = 0;
                level = 0;
                extent = allocate_metadata(bound(0), kPage);
            }
            if (runs_.size() - inputs + 1 > kMaxRuns) {
                space_->release(extent.offset, extent.size);
                throw NoSpaceError(fmt::format("{}: no space to merge the catalogue; erase blobs or use a "
                                               "larger shelf", data_.name()));
            }
            fresh.push_back(extent);
            run = write_run(inputs, level, extent);
            const std::uint64_t kept = run ? run->size : 0;
            if (kept < extent.size) space_->release(extent.offset + kept, extent.size - kept);
            if (run) fresh.back().size = kept;
            else fresh.pop_back();
        }
        const std::uint64_t log_size = std::max(min_log, root_.base_log_size);
        const Extent log = allocate_metadata(log_size, kPage);
        fresh.push_back(log);
        next.zone_size = round_up(space_->zone_count() * sizeof(Zone), kLine);
        const Extent zones = allocate_metadata(next.zone_size, kLine);
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

    // From here on only the media can fail, and then the shelf is not written again.
    std::vector<Extent> retired{{root_.log_offset, root_.log_size}};
    if (root_.zone_size != 0) retired.push_back({root_.zone_offset, root_.zone_size});
    for (std::size_t i = runs_.size() - inputs; i < runs_.size(); ++i)
        retired.push_back({runs_[i]->ref().offset, runs_[i]->ref().size});
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
    const std::uint64_t old_generation = root_.generation;
    write_root(next);

    runs_.resize(runs_.size() - inputs);
    if (run) runs_.push_back(std::make_unique<Run>(data_, *run, root_.uuid));
    tail_.clear();
    log_used_ = 0;
    for (const Extent& e : retired) retired_.push_back({old_generation, e});
    release_retired(writer_lease_);
    ensure_spare();
}

void Catalogue::release_retired(Lease* lease) {
    std::erase_if(retired_, [&](const Retired& r) {
        if (lease != nullptr && lease->generation_marked_up_to(r.generation)) return false;
        space_->release(r.extent.offset, r.extent.size);
        return true;
    });
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
    map_.write(kSuperblockOffset[first], &next, sizeof next);
    map_.drain();
    map_.write(kSuperblockOffset[1 - first], &next, sizeof next);
    map_.drain();
    root_ = next;
    root_index_ = first;
}

// ---- Session --------------------------------------------------------------------------------------

void Catalogue::begin_session() {
    if (in_session_) return;
    DataHeader header;
    std::memcpy(&header, data_.data(), sizeof header);
    if (header.used == 0) {
        // From now on a data file that lost its .map is worth salvaging. Before the first root change, so
        // that it is never missing where data is.
        header.used = 1;
        data_.write(0, &header, sizeof header);
        data_.drain();
    }
    // Ids of blobs that were written but never committed must not come again: salvage tells versions
    // apart by them.
    next_id_ = ((next_id_ >> 32) + 1) << 32;
    if (tail_.names() != 0 || tail_.events().size() != 0 || log_used_ != 0) {
        checkpoint();
    } else {
        Superblock next = root_;
        next.flags &= ~kSuperblockClean;
        next.log_salt = random_u64();
        next.next_id = next_id_;
        write_root(next);
    }
    in_session_ = true;
    ensure_spare();
}

void Catalogue::close_session() {
    if (!in_session_) return;
    if (log_used_ != 0) {
        try {
            checkpoint(0, true);
        } catch (const NoSpaceError&) {
            // The tail stays in the log; the next open replays it as after a crash.
        }
    } else {
        Superblock next = root_;
        next.flags |= kSuperblockClean;
        next.next_id = next_id_;
        next.used = space_->used();
        write_root(next);
    }
    in_session_ = false;
}

}  // namespace pymm
