// Catalogue: name -> entry, as a log-structured state on media.
//
// State = sorted runs + redo-log tail (memtable). It changes by commit() only; checkpoint() rewrites it
// without changing it. Order of every change, and why each step may be the last, is argued in
// docs/DESIGN.md ("Commits").
//
// Not thread-safe: ShelfCore's lock covers it. After an IoError from commit(), checkpoint() or a session
// call, the object answers lookups but must not be written through again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "catalogue/memtable.hpp"
#include "catalogue/run.hpp"
#include "catalogue/space_map.hpp"
#include "format/superblock.hpp"
#include "media/lease.hpp"
#include "media/media.hpp"

namespace pymm {

struct FormatOptions {
    format::Uuid uuid{};
    std::uint64_t created_ns = 0;
    std::uint64_t log_size = 0;  // of a segment, a multiple of kPage; 0 chooses by capacity
    bool checksum = false;       // record content checksums at every put
};

class Catalogue {
public:
    /// Writes an empty shelf to fresh media: first the data header, durable, then the superblocks.
    static void format(Media& map, Media& data, const FormatOptions& options);

    /// Bytes of a log segment, where nothing else is asked for.
    static std::uint64_t default_log_size(std::uint64_t capacity) noexcept;

    /// Reads the root and replays the tail; writes nothing. With a `lease`, marks the extents that the root
    /// names, so that a writer beside us keeps them (readers only).
    /// Throws CorruptError, VersionError.
    Catalogue(Media& map, Media& data, Lease* reader_lease);
    ~Catalogue();
    Catalogue(const Catalogue&) = delete;
    Catalogue& operator=(const Catalogue&) = delete;

    const format::Superblock& root() const noexcept { return root_; }
    std::uint64_t sequence() const noexcept { return sequence_; }
    std::uint64_t blobs() const noexcept { return blobs_; }
    std::uint64_t log_bytes() const noexcept { return log_used_; }
    SpaceMap& space() noexcept { return *space_; }
    const SpaceMap& space() const noexcept { return *space_; }
    bool writes_allowed() const noexcept { return support_ == format::Support::full; }
    const std::vector<std::unique_ptr<Run>>& runs() const noexcept { return runs_; }

    /// The entry of a name; never a tombstone. Valid until the next change.
    bool find(std::string_view name, format::EntryView& out) const;
    /// Entries whose name starts with `prefix`, in order, until `visit` returns false.
    void for_each(std::string_view prefix,
                  const std::function<bool(const format::EntryView&)>& visit) const;

    /// Where runs, log and blobs lie.
    const Media& media() const noexcept { return data_; }
    /// What the events call taken or given back, all of it.
    std::unique_ptr<EventCursor> space_events() const { return committed_events(0); }
    /// Extents of log, runs and zone table.
    std::vector<format::Extent> metadata_extents() const { return root_extents(root_); }

    /// The last commit of log incarnation `salt` that is durable, as a live writer says; UINT64_MAX when it says
    /// nothing about this one. To be asked only while there is a writer.
    static std::uint64_t live_limit(const Media& map, std::uint64_t salt);

    /// Readers: catches up with a writer beside us. True when something changed. After an exception the
    /// next call loads everything anew.
    bool refresh();

    // ---- Writer ----

    /// Makes durable what was read: the process before may have died between a store and its fence. To be called
    /// before anything rests on it: before a session, and before memory of a blob is handed out for stores. Needs
    /// no space in the shelf; changes no byte. After the first call that returned, nothing.
    void settle();
    /// First write of a session: a new salt, and whatever a crash left in the tail goes to a run. NoSpaceError:
    /// nothing has changed.
    void begin_session();
    bool in_session() const noexcept { return in_session_; }
    std::uint64_t take_id() noexcept { return next_id_++; }

    /// Makes sure that a commit of `size` bytes fits into the log; one larger than a segment gets a segment of its
    /// own. True when that took a checkpoint. Throws as checkpoint() does.
    bool make_room(std::uint64_t size);
    /// Makes the records durable and applies them. Extents of `alloc` records must be held in space();
    /// they are settled. Extents of `free` records are committed as free, held, and wait in take_freed().
    /// `now_ns`: time of the commit, since the epoch. NoSpaceError and CorruptError come before anything is
    /// durable; whatever else is thrown leaves it open whether the commit is, and forbids to go on writing.
    void commit(CommitBuilder& builder, std::uint64_t now_ns);
    /// What commits and checkpoints gave back since the last call. Held in space(): the caller releases it
    /// when nobody looks at it any more.
    std::vector<format::Extent> take_freed() { return std::exchange(freed_, {}); }
    /// A commit larger than the log got a log of its own: folds it, so that replay stays bounded.
    void fold_oversized_log();

    /// Folds the tail into runs and starts a new log segment of at least `min_log` bytes. NoSpaceError: nothing has
    /// changed. Where it comes too late for that, it is an IoError.
    void checkpoint(std::uint64_t min_log = 0, bool clean = false, bool merge_all = false);
    /// Merges all runs into one, which gives back what superseded entries occupy.
    void compact();
    /// Records a clean end. A no-op when nothing was written.
    void close_session();

    /// Makes sure that a checkpoint can be paid for; before a commit larger than the log also what that needs, of
    /// `commit` bytes. False when the shelf is too full for that: then nothing must be put, but erase still
    /// works.
    bool ensure_spare(std::uint64_t commit = 0);
    /// Bytes that it keeps free for that, in one piece.
    std::uint64_t spare_wanted(std::uint64_t commit = 0) const;

private:
    void load();
    void replay();
    void append_tail(std::uint64_t limit);
    std::uint64_t publish_limit() const { return live_limit(map_, root_.log_salt); }
    void publish(std::uint64_t salt, std::uint64_t sequence) noexcept;
    /// `live`: just committed, not replayed: settles what it takes, holds what it gives back.
    void apply(format::Bytes commit, bool live);
    void mark_root();
    void unmark_root() noexcept;
    void write_root(format::Superblock& next);
    format::Extent allocate_metadata(std::uint64_t size, std::uint64_t align);
    std::pair<std::size_t, std::uint32_t> choose_inputs() const;
    RunWriter::Bound run_bound(std::size_t inputs) const;
    template <class E, class V>
    void merge(std::size_t inputs, E&& entry, V&& event) const;
    std::optional<format::RunRef> write_run(std::size_t inputs, std::uint32_t level, format::Extent extent,
                                            std::uint64_t names);
    std::unique_ptr<EventCursor> committed_events(std::uint64_t begin) const;
    std::uint64_t spare_size(std::uint64_t log) const;
    void drop_spare();
    std::vector<format::Extent> root_extents(const format::Superblock& sb) const;
    [[noreturn]] void damaged(const std::string& what) const;

    Media& map_;
    Media& data_;
    Lease* reader_lease_;
    format::Superblock root_{};
    int root_index_ = -1;
    format::Support support_ = format::Support::full;
    std::vector<std::unique_ptr<Run>> runs_;  // oldest first
    Memtable tail_;
    std::unique_ptr<SpaceMap> space_;
    std::uint64_t sequence_ = 0;
    std::uint64_t log_used_ = 0;
    std::uint64_t blobs_ = 0;
    std::uint64_t next_id_ = 1;
    bool settled_ = false;
    bool in_session_ = false;
    std::optional<format::Extent> spare_;
    std::uint64_t spare_size_ = 0;  // as of the last root
    std::vector<format::Extent> freed_;
    std::vector<format::Extent> marked_;  // readers: extents of the root we work from
};

}  // namespace pymm
