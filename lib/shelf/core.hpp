// ShelfCore: one open shelf in this process. Joins catalogue, media, lease, and the views that are out.
//
// Locking: `mutex_` guards everything mutable. Lookups take it shared, changes exclusively; copying and
// flushing of blob data happen outside it. Lock order: registry, then a core's mutex.
//
// Lifetime: handles (Shelf), views and staged extents keep the core alive. The writer's lock is given up
// when the shelf is closed and no writable view or staged extent is left.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include <pymm/shelf.hpp>

#include "catalogue/catalogue.hpp"
#include "media/lease.hpp"
#include "media/live_views.hpp"
#include "media/media.hpp"
#include "shelf/planner.hpp"

namespace pymm {

/// What a shelf is made of. Files come from lib/namespace, simulated media from the tests.
struct ShelfParts {
    std::string path;  ///< of the namespace, for messages and Shelf::path()
    std::string name;
    std::unique_ptr<Media> map;
    std::unique_ptr<Media> data;
    std::unique_ptr<Lease> lease;
};

struct Prepared;
struct TransactionState;

/// Nanoseconds since the epoch.
inline std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(Clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

class ShelfCore : public std::enable_shared_from_this<ShelfCore> {
public:
    /// Read-write: takes the writer's lock, throws BusyError when it is taken. Writes nothing.
    static std::shared_ptr<ShelfCore> open(ShelfParts parts, Mode mode);
    ~ShelfCore();

    /// A handle; the core closes itself when the last one is gone. Reopens a closed core that live
    /// writable views kept locked; null when it cannot be revived.
    static Shelf handle(const std::shared_ptr<ShelfCore>& core);

    const std::string& path() const noexcept { return parts_.path; }
    const std::string& name() const noexcept { return parts_.name; }
    bool writable() const noexcept { return mode_ == Mode::read_write; }
    bool is_open() const noexcept { return open_.load() && !forked_.load(); }

    void put(std::string_view name, std::span<const std::byte> data, const Type& type);
    void put(std::string_view name, Staged staged);
    void replace(std::string_view name, Staged staged, std::uint64_t id, std::uint64_t size);
    Staged stage(const Type& type, std::uint64_t size);
    bool resize(Staged::State& staged, const Type& type, std::uint64_t size);
    std::optional<BlobInfo> find(std::string_view name);
    View get(std::string_view name, Access access);
    void erase(std::string_view name);
    void rename(std::string_view from, std::string_view to, bool replace);
    BlobInfo append(std::string_view name, std::span<const std::byte> data, const AppendTo& to);
    Batch batch();
    /// `handle`: of this core; the transaction keeps it.
    Transaction transaction(Shelf handle);
    void seal(std::string_view name);
    void for_each(std::string_view prefix, const std::function<bool(const BlobInfo&)>& visit);
    std::uint64_t size();
    void persist();
    /// Makes what was stored there durable, in as few syncs as pay.
    void flush_all(std::vector<format::Extent> extents);
    ShelfInfo stat();
    void close();

    /// In the child of fork(2). Async-signal-safe.
    void detach_in_child() noexcept;

    // For checks and tests: the state under the lock.
    void inspect(const std::function<void(Catalogue&)>& visit);
    /// The present state, to be read under the lock. Throws ClosedError.
    void examine(const std::function<void(const Catalogue&)>& visit);
    /// The core behind a handle.
    static ShelfCore& of(const Shelf& shelf) { return shelf.core(); }

private:
    friend struct View::State;
    friend struct Staged::State;
    friend struct Batch::State;
    friend struct Prepared;
    friend class Batch;
    friend class Staged;
    friend class View;
    class AppendTurn;
    friend class Transaction;

    struct Pin {
        std::uint64_t size = 0;
        std::uint64_t id = 0;      // of the blob
        std::uint64_t header = 0;  // offset of its extent header
        std::uint32_t views = 0;
        std::uint32_t writable = 0;
        bool freed = false;  // the catalogue gave it back: release it with the last view
    };

    ShelfCore(ShelfParts parts, Mode mode);
    void require_open() const;
    void require_writable() const;
    /// Runs `work`; a media failure in it turns the shelf read-only.
    template <class F>
    auto guarded(F&& work) {
        try {
            return work();
        } catch (const IoError& error) {
            fail(error);
        }
    }
    /// Only from a handler: rethrows what is being handled.
    [[noreturn]] void fail(const IoError& error);

    // All of these want mutex_ held exclusively.
    void start_writing();
    /// Takes over what the catalogue gave back: to the quarantine, or to the pins that look at it.
    void collect_freed();
    /// Releases what no reader elsewhere looks at. Throws IoError when that cannot be found out.
    void drain_quarantine();
    format::Extent allocate(std::uint64_t size, std::uint64_t align);
    void release_staged(format::Extent extent) noexcept;
    /// `name`: for messages. NoSpaceError when the shelf is too full for it; then nothing has changed.
    void commit_built(std::string_view name, std::uint64_t now);
    /// Before commit_built(): space in the log, and for the fold of what is there then.
    void make_room(std::string_view name);
    /// Throws NoSpaceError when the shelf is too full for any commit but those that erase; also when it is for one
    /// of `commit` bytes, larger than the log.
    void require_spare(std::string_view name, std::uint64_t commit = 0);
    /// `check` may refuse it by an exception.
    void commit_one(Prepared& prepared, const std::function<void()>& check = {});
    /// The claim that a checksum is right goes, durably, before anybody may store to the data.
    void drop_checksum(std::string_view name, std::uint32_t flags);
    void finish_if_unused() noexcept;

    /// The entry of a name as this process sees it: an open transaction's changes count. Valid until the next change.
    bool look_up(std::string_view name, format::EntryView& out) const;
    /// As Catalogue::for_each, of what users may see.
    void for_each_seen(std::string_view prefix, const std::function<bool(const format::EntryView&)>& visit) const;
    std::uint64_t count_seen();
    /// The transaction that a change of this thread does not belong to, if there is one.
    const TransactionState* others_transaction() const noexcept { return joins() ? nullptr : tx_.get(); }
    void drop(Prepared& prepared) noexcept;
    void set_change(std::string_view name, std::unique_ptr<Prepared>& prepared, std::unique_ptr<Prepared>& old);
    void erase_in_transaction(std::string_view name, std::unique_ptr<Prepared>& old);
    void rename_in_transaction(std::string_view from, std::string_view to, bool replace, std::unique_ptr<Prepared>& old);
    void plan_transaction(TransactionState& tx, std::uint64_t now);
    void end_transaction(TransactionState& tx) noexcept;
    /// This thread's. Throws ClosedError where a close() has ended it.
    TransactionState& own_transaction() const;

    // These lock for themselves.
    /// This thread has a transaction: what it changes belongs to it.
    bool joins() const noexcept { return tx_owner_.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
    void put_in_transaction(std::unique_ptr<Prepared> prepared, const std::function<void()>& check = {});
    std::optional<BlobInfo> append_in_transaction(std::string_view name, std::span<const std::byte> data,
                                                  const AppendTo& to);
    void batch_in_transaction(Batch::State& batch);
    /// A blob's bytes that are to be saved.
    struct ToSave {
        std::uint64_t id, header, extent;  // offsets of extent header and data
        std::uint64_t offset, size;
    };
    /// Called with the lock, which it gives up. They are nobody else's to give back from here on.
    void save(TransactionState& tx, const std::vector<ToSave>& blobs, std::unique_lock<std::shared_mutex> lock);
    void write_journal(TransactionState& tx, std::vector<format::JournalRange> ranges);
    /// This thread's, or none; for use without the lock.
    std::shared_ptr<TransactionState> joined() const;
    void require_going_on(const TransactionState& tx) const;
    void add(TransactionState& tx, std::string_view name);
    void add(TransactionState& tx, const View& view, std::uint64_t offset, std::uint64_t size);
    void add_views(TransactionState& tx);
    void commit(TransactionState& tx);
    void roll_back(TransactionState& tx);
    /// Brings back what transactions had saved that no process has ended. Before anybody sees the shelf.
    void recover();
    /// While nobody has done that: gives a view memory of its own with what is saved of its bytes.
    void show_as_it_was(View& view);
    /// There are journals, and nobody alive whose they are. Wants the lock.
    bool has_orphaned_journals();
    bool has_journals();
    std::vector<format::JournalRange> journal_of(const format::EntryView& entry) const;
    /// The data file's range that a journal's range means now; empty when its blob is gone.
    format::Extent target_of(const format::JournalRange& range) const;
    /// `orphaned`: what has_orphaned_journals() says of it.
    View open_view(std::string_view name, Access access, bool* orphaned = nullptr);

    void put_inline(std::string_view name, std::span<const std::byte> data, const Type& type);
    std::unique_ptr<Prepared> prepare(std::string_view name, const Type& type, std::uint64_t size);
    // `id`: the blob's, if it has one.
    std::unique_ptr<Prepared> prepare(std::string_view name, std::span<const std::byte> data,
                                      const Type& type, std::uint64_t id = 0);
    std::unique_ptr<Prepared> prepare(std::string_view name, Staged staged, std::uint64_t id = 0);
    std::vector<std::byte> encode_header(const Prepared& prepared, const Type& type);
    /// The entry of a version whose header has its extent: its data goes to `data`. The header's bytes.
    std::vector<std::byte> place(Prepared& prepared, const Type& type, std::uint64_t id, format::Extent data);

    /// Before much is copied in vain.
    void refuse_sealed(std::string_view name, std::uint64_t size);
    /// Makes bytes durable as they are now, though nobody stored to them in this session, but for the fence; their
    /// checksum. Nobody may store to them meanwhile. `name`: for messages.
    std::uint32_t settle(std::uint64_t offset, std::uint64_t size, std::string_view name);
    /// Copies to fresh space, but for the fence; the checksum of what was written, where the shelf records them. `seed`:
    /// that of what lies before.
    std::uint32_t copy_in(std::uint64_t offset, std::span<const std::byte> data, std::uint32_t seed = 0);
    std::optional<BlobInfo> try_append(std::string_view name, std::span<const std::byte> data, const AppendTo& to);
    bool make_longer(Prepared& p, const BlobInfo& old, std::uint64_t size);
    std::uint32_t write_appended(const Prepared& prepared, const View& view, bool moves, std::span<const std::byte> data,
                                 std::span<const std::byte> header);
    std::uint32_t copy_blob(const View& view, std::uint64_t to);

    BlobInfo info(const format::EntryView& entry) const;
    void refresh();
    /// Runs `read` under the lock, after refresh(), for readers. What a reader looks at without a mark may be
    /// reused meanwhile, which looks like damage: so damage counts only when it is still there after another
    /// look.
    template <class F>
    auto reading(F&& read);
    void unpin(const View::State& view) noexcept;
    void drop_writable_use() noexcept;
    void handle_gone() noexcept;
    void persist_range(std::uint64_t offset, std::uint64_t size);
    /// The lock, unless this is a forked child: there another thread's lock may never be given up.
    std::unique_lock<std::shared_mutex> exclusive() const {
        require_not_forked();
        return std::unique_lock(mutex_);
    }
    void require_not_forked() const;
    void close_locked() noexcept;

    ShelfParts parts_;
    const Mode mode_;
    mutable std::shared_mutex mutex_;
    std::unique_ptr<Catalogue> catalogue_;
    bool checksums_ = false;                            // recorded at every put
    CommitBuilder builder_;
    std::map<std::uint64_t, Pin> pins_;                 // by data offset
    LiveViews live_views_;                              // for the message of a bus error
    struct Touched {
        std::uint64_t size;
        std::uint64_t turn;  // of handing out, counted over all extents: one that is freed and reused gets another
    };
    std::map<std::uint64_t, Touched> touched_;          // extents handed out writable, by offset
    std::uint64_t handed_out_ = 0;                      // turns so far
    std::vector<format::Extent> quarantine_;            // freed; readers elsewhere may look at them
    std::mutex seal_mutex_;                             // one seal at a time; taken before mutex_
    std::uint64_t sealing_ = 0;                         // data offset; no writable view of it meanwhile
    std::set<std::uint64_t> appending_;                 // data offsets; nobody else appends there, nor seals
    std::condition_variable_any append_done_;
    std::shared_ptr<TransactionState> tx_;              // the one that is open
    std::atomic<std::thread::id> tx_owner_{};           // its thread
    std::uint64_t tx_versions_ = std::uint64_t{1} << 63;  // sequences of what transactions have put: above all commits'
    bool recovered_ = false;                            // no journals but ours
    std::optional<std::uint64_t> journals_seen_at_;     // the root's generation when somebody looked for all of them ...
    bool journals_seen_ = false;                        // ... and found some
    std::uint64_t writable_uses_ = 0;                   // writable views and staged extents
    std::uint32_t handles_ = 0;
    bool locked_ = false;                               // we hold the writer's lock
    std::atomic<bool> open_{true};
    std::atomic<bool> forked_{false};
    std::atomic<bool> failed_{false};
    std::string failure_;  // written once, before failed_
    std::once_flag failure_once_;
};

/// A version of a blob that is on the media, complete and durable, but not named by any commit. Counts as
/// a writable use, so that the writer's lock outlives it; gives its space back unless committed.
struct Prepared {
    explicit Prepared(std::shared_ptr<ShelfCore> owner) : core(std::move(owner)) {}
    ~Prepared();
    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;

    std::shared_ptr<ShelfCore> core;
    std::string name;
    format::Entry entry{};          // all but sequence and times
    std::vector<std::byte> type;    // empty when it is in the extent header
    std::vector<std::byte> value;   // inline
    format::Extent header{};
    format::Extent data{};
    bool counted = false;

    Version version() const { return {name, entry, type, value}; }
};

struct View::State {
    std::shared_ptr<ShelfCore> core;
    BlobInfo info;
    std::vector<std::byte> value;  // by copy, when inline
    PrivateMemory patched;         // as a transaction that was cut short found it
    std::byte* data = nullptr;
    std::uint64_t extent = 0;  // bytes pinned
    LiveViews::Node* live = nullptr;
    bool pinned = false;
    bool writable = false;
    ~State();
};

struct Staged::State {
    std::shared_ptr<ShelfCore> core;
    Type type;
    std::uint64_t size = 0;
    format::Extent extent{};        // empty for values that will be inline
    std::vector<std::byte> value;   // of those
    std::atomic<bool> exposed{false};  // memory() was handed out: flush before the commit
    std::atomic<bool> behind{false};   // some came by Media::write_behind(): sync them before the commit
    std::atomic<std::uint64_t> written{0};  // so many bytes from the start came by write() or zero()
    bool inlined = false;
    ~State();
};

struct Batch::State {
    struct Op {
        enum What { put, erase, rename } what;
        std::string name;
        std::string to;
        std::unique_ptr<Prepared> prepared;
    };
    std::shared_ptr<ShelfCore> core;
    std::vector<Op> ops;
};

/// CRC32C of a blob's bytes where they lie. IoError that names the blob when they cannot be read.
std::uint32_t checksum_in_place(const Media& media, std::uint64_t offset, std::uint64_t size, std::string_view name);
/// memcpy from memory that may vanish (a mapped file that shrinks): IoError, EFAULT.
void copy_from_caller(std::byte* to, std::span<const std::byte> from);

/// Of the data of a blob that is not inline: from 4 KiB on it owns its pages, from 2 MiB on huge ones.
std::uint64_t alignment_for(std::uint64_t size) noexcept;
/// True when a value of this type and size may be kept inside the catalogue ...
bool may_be_inline(const Type& type, std::uint64_t size) noexcept;
/// ... and when this one is. A value that holds the magic of a commit is not: in a torn commit it could pass
/// for the sound one behind the damage.
bool kept_inline(const Type& type, std::span<const std::byte> value) noexcept;

}  // namespace pymm
