// Transactions: what a thread stores, and changes by name, becomes durable by one commit (docs/DESIGN.md, "Transactions").
// What names mean in them: transaction_names.cpp.
#include "shelf/transaction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>

#include "format/crc32c.hpp"
#include "format/journal.hpp"
#include "format/names.hpp"
#include "media/guarded_read.hpp"
#include "media/log.hpp"
#include "shelf/planner.hpp"

namespace pymm {

using namespace format;

namespace {

// A journal up to this size is put together in DRAM, and written at once.
constexpr std::uint64_t kSmallJournal = 64 << 10;
// Larger ones go in pieces: of as much as a system call is worth on disks, else of what stays in the CPU's caches.
constexpr std::size_t kDiskPiece = 4 << 20;
constexpr std::size_t kCachedPiece = 256 << 10;

}  // namespace

// ---- State ------------------------------------------------------------------------------------------

bool TransactionState::covers(std::uint64_t offset, std::uint64_t size) const noexcept {
    std::uint64_t at = offset;
    auto it = covered.upper_bound(at);
    if (it != covered.begin()) at = std::max(at, std::prev(it)->second);
    for (; it != covered.end() && it->first <= at && at < offset + size; ++it) at = it->second;
    return at >= offset + size;
}

std::vector<Extent> TransactionState::uncovered(std::uint64_t offset, std::uint64_t size) const {
    std::vector<Extent> pieces;
    std::uint64_t at = offset;
    const std::uint64_t end = offset + size;
    auto it = covered.upper_bound(at);
    if (it != covered.begin()) at = std::max(at, std::prev(it)->second);
    for (; at < end; ++it) {
        const std::uint64_t next = it == covered.end() ? end : std::min(end, it->first);
        if (next > at) pieces.push_back({at, next - at});
        if (it == covered.end()) break;
        at = it->second;
    }
    return pieces;
}

void TransactionState::refuse(const char* operation, std::string_view name, const Entry* old) const {
    if (!changes.contains(name) && (old == nullptr || (old->flags & kEntryInline) != 0 || !extents.contains(old->offset)))
        return;
    throw BusyError(fmt::format("{} '{}': it takes part in a transaction of another thread; wait for its end", operation,
                                name));
}

// ---- The handle ---------------------------------------------------------------------------------------

Transaction::Transaction(std::shared_ptr<Inner> inner) noexcept : inner_(std::move(inner)) {}

Transaction::~Transaction() {
    if (!inner_ || inner_->state->ended) return;
    const std::shared_ptr<Inner> last = inner_;  // rollback() gives ours up, whatever comes of it
    try {
        rollback();
    } catch (const std::exception& e) {
        log().error("shelf '{}': rolling a transaction back: {}", last->core->name(), e.what());
    }
}

Transaction& Transaction::operator=(Transaction&& other) noexcept {
    if (this != &other) {
        Transaction old(std::move(*this));
        inner_ = std::move(other.inner_);
    }
    return *this;
}

Transaction::Inner& Transaction::inner() const {
    if (!inner_) throw InvalidArgumentError("transaction: it has ended, or never began");
    if (inner_->state->ended)
        throw ClosedError(fmt::format("transaction: it has ended with the one that it is inside, or was rolled back when shelf "
                                      "'{}' was closed", inner_->core->name()));
    return *inner_;
}

void Transaction::add(std::string_view name) {
    check_blob_name(name);
    inner().core->add(*inner().state, name);
}
void Transaction::add(const View& view) { add(view, 0, view.info().size); }
void Transaction::add(const View& view, std::uint64_t offset, std::uint64_t size) {
    inner().core->add(*inner().state, view, offset, size);
}
void Transaction::add_views() { inner().core->add_views(*inner().state); }

void Transaction::commit() {
    const Inner& in = inner();
    if (in.state->doomed)
        throw InvalidArgumentError(fmt::format("shelf '{}': a transaction inside this one was rolled back, so this can only "
                                               "be rolled back, too", in.core->name()));
    if (!in.joined) in.core->commit(*in.state);
    inner_.reset();
}

void Transaction::rollback() {
    const Inner& in = inner();
    const std::shared_ptr<Inner> last = inner_;
    inner_.reset();
    if (in.joined) in.state->doomed = true;
    else in.core->roll_back(*in.state);
}

Transaction ShelfCore::transaction(Shelf handle) {
    auto inner = std::make_shared<Transaction::Inner>();
    inner->shelf = std::move(handle);
    inner->core = shared_from_this();
    const auto lock = exclusive();
    require_writable();
    if (tx_) {
        if (!joins())
            throw BusyError(fmt::format("shelf '{}': another thread has a transaction; wait for its end", parts_.name));
        inner->state = tx_;
        inner->joined = true;
    } else {
        inner->state = std::make_shared<TransactionState>();
        tx_ = inner->state;
        tx_owner_ = std::this_thread::get_id();
    }
    return Transaction(std::move(inner));
}

void ShelfCore::end_transaction(TransactionState& tx) noexcept {
    tx.ended = true;
    tx.saved.clear();
    if (tx_.get() != &tx) return;
    tx_.reset();
    tx_owner_ = std::thread::id();
}

TransactionState& ShelfCore::own_transaction() const {
    if (!tx_ || !joins())
        throw ClosedError(fmt::format("shelf '{}': the transaction was rolled back, as the shelf was closed", parts_.name));
    return *tx_;
}

std::shared_ptr<TransactionState> ShelfCore::joined() const {
    const std::shared_lock lock(mutex_);
    return joins() ? tx_ : nullptr;
}

// Under its turn.
void ShelfCore::require_going_on(const TransactionState& tx) const {
    if (tx.ended)
        throw ClosedError(fmt::format("transaction: it was rolled back when shelf '{}' was closed", parts_.name));
}

// ---- Stores -----------------------------------------------------------------------------------------

void ShelfCore::add(TransactionState& tx, std::string_view name) {
    const std::lock_guard alone(tx.turn);
    require_going_on(tx);
    auto lock = exclusive();
    require_writable();
    EntryView entry;
    if (!look_up(name, entry))
        throw NotFoundError(fmt::format("shelf '{}': transaction: no blob '{}'", parts_.name, name));
    const auto change = tx.changes.find(name);
    const bool put = change != tx.changes.end() && change->second.prepared;
    const Entry& e = entry.fixed;
    if (put || entry.inlined() || (e.flags & kEntrySealed) != 0) return;
    const Kind kind = info(entry).type.kind;
    if (!is_array(kind) && kind != Kind::raw) return;
    save(tx, {{e.id, e.header_offset, e.offset, e.offset, e.size}}, std::move(lock));
}

void ShelfCore::add(TransactionState& tx, const View& view, std::uint64_t offset, std::uint64_t size) {
    const BlobInfo& blob = view.info();
    if (view.state_->core.get() != this)
        throw InvalidArgumentError(fmt::format("transaction: '{}' is a view of another shelf", blob.name));
    if (offset > blob.size || size > blob.size - offset)
        throw InvalidArgumentError(fmt::format("transaction: '{}': {} bytes from {} reach outside its {} bytes", blob.name,
                                               size, offset, blob.size));
    if (!view.is_writable() || blob.inlined || size == 0) return;
    const std::lock_guard alone(tx.turn);
    require_going_on(tx);
    auto lock = exclusive();
    require_writable();
    const auto fresh = [&](const auto& change) {
        return change.second.prepared && change.second.prepared->data.offset == blob.offset;
    };
    if (std::any_of(tx.changes.begin(), tx.changes.end(), fresh)) return;
    const Pin& pin = pins_.at(blob.offset);
    if (pin.freed)
        throw InvalidArgumentError(fmt::format("transaction: this is a view of a former '{}', which was replaced or erased: "
                                               "get it anew", blob.name));
    save(tx, {{pin.id, pin.header, blob.offset, blob.offset + offset, size}}, std::move(lock));
}

void ShelfCore::add_views(TransactionState& tx) {
    const std::lock_guard alone(tx.turn);
    require_going_on(tx);
    auto lock = exclusive();
    require_writable();
    tx.every_view = true;
    std::set<std::uint64_t> fresh;
    for (const auto& [name, change] : tx.changes)
        if (change.prepared) fresh.insert(change.prepared->data.offset);
    std::vector<ToSave> blobs;
    for (const auto& [offset, pin] : pins_) {
        if (pin.writable == 0 || pin.freed || fresh.contains(offset)) continue;
        blobs.push_back({pin.id, pin.header, offset, offset, touched_.at(offset).size});
    }
    save(tx, blobs, std::move(lock));
}

void ShelfCore::save(TransactionState& tx, const std::vector<ToSave>& blobs, std::unique_lock<std::shared_mutex> lock) {
    std::vector<JournalRange> ranges;
    std::vector<std::uint64_t> held;
    const std::uint32_t journals = tx.journals;
    try {
        held.reserve(blobs.size());
        for (const ToSave& blob : blobs)
            for (const Extent& piece : tx.uncovered(blob.offset, blob.size)) {
                ranges.push_back({blob.id, blob.header, piece.offset, piece.size, 0});
                if (tx.extents.insert(blob.extent).second) held.push_back(blob.extent);
            }
        lock.unlock();
        if (!ranges.empty()) write_journal(tx, std::move(ranges));
    } catch (...) {
        if (!lock.owns_lock()) lock.lock();
        // Unless their journal is there.
        if (tx.journals == journals)
            for (const std::uint64_t extent : held) tx.extents.erase(extent);
        throw;
    }
}

// Durable, and named, when it returns: only then may anybody store to what it has a copy of.
void ShelfCore::write_journal(TransactionState& tx, std::vector<JournalRange> ranges) {
    const Media& media = *parts_.data;
    const std::uint64_t size = lay_out_journal(ranges);
    std::vector<std::byte> head = encode_journal_start(ranges, size, 0);
    const std::string name = journal_name(tx.journals);
    std::unique_ptr<Prepared> prepared;
    if (size <= kSmallJournal) {
        head.resize(size);
        for (const JournalRange& r : ranges) guarded_copy(head.data() + r.data, media, r.offset, r.size, "transaction");
        const std::uint32_t crc = crc32c(head.data(), head.size());
        std::memcpy(head.data() + offsetof(JournalHeader, crc), &crc, sizeof crc);
        prepared = prepare(name, head, Type::raw());
    } else {
        Staged staged = stage(Type::raw(), size);
        // What is summed is what is written, though other threads may store to the source meanwhile.
        const std::size_t most = media.granularity() == Granularity::page ? kDiskPiece : kCachedPiece;
        std::vector<std::byte> piece = head;
        piece.reserve(head.size() + most);
        std::uint64_t written = 0;
        std::uint32_t crc = 0;
        const auto write = [&] {
            staged.write(written, piece);
            crc = crc32c(piece.data(), piece.size(), crc);
            written += piece.size();
            piece.clear();
        };
        for (const JournalRange& r : ranges) {
            for (std::uint64_t done = 0; done < r.size;) {
                if (piece.size() >= most) write();
                const std::size_t had = piece.size(), more = std::min<std::uint64_t>(r.size - done, most - had);
                piece.resize(had + more);
                guarded_copy(piece.data() + had, media, r.offset + done, more, "transaction");
                done += more;
            }
            piece.resize(r.data + round_up(r.size, kLine) - written);
        }
        write();
        std::memcpy(head.data() + offsetof(JournalHeader, crc), &crc, sizeof crc);
        staged.write(0, head);
        prepared = prepare(name, std::move(staged));
    }
    // Behind the commit nothing may fail: what needs memory is made before it.
    const std::uint64_t at = prepared->entry.offset;
    tx.saved.reserve(tx.saved.size() + ranges.size());
    std::map<std::uint64_t, std::uint64_t> pieces;
    for (const JournalRange& r : ranges) pieces.emplace(r.offset, r.offset + r.size);
    commit_one(*prepared);
    const auto lock = exclusive();
    ++tx.journals;
    tx.counted = false;
    for (const JournalRange& r : ranges) tx.saved.push_back({r, at + r.data});
    tx.covered.merge(pieces);
}

// ---- The end ----------------------------------------------------------------------------------------

// What names mean at the end, whatever happened to them in between: each has one record.
void ShelfCore::plan_transaction(TransactionState& tx, std::uint64_t now) {
    using Change = TransactionState::Change;
    std::set<std::string_view> moved;
    for (const auto& [name, change] : tx.changes)
        if (change.what == Change::moved) moved.insert(change.origin);
    Planner plan(*catalogue_, builder_, true);
    for (auto& [name, change] : tx.changes) {
        EntryView old;
        const bool existed = catalogue_->find(name, old);
        if (existed && !moved.contains(name)) plan.give_back(old.fixed);
        if (change.what == Change::erased) {
            if (existed) builder_.erase(name);
        } else if (change.what == Change::moved) {
            EntryView entry;
            if (!catalogue_->find(change.origin, entry)) assert(false);  // nobody else may touch that name
            builder_.put(entry.fixed, name, entry.type, entry.value, !existed);
        } else {
            Entry entry = change.prepared->entry;
            entry.sequence = catalogue_->sequence() + 1;
            entry.modified_ns = now;
            plan.take(entry);
            builder_.put(entry, name, change.prepared->type, change.prepared->value, !existed);
        }
    }
    for (std::uint32_t n = 0; n < tx.journals; ++n) plan.erase(journal_name(n));
}

void ShelfCore::commit(TransactionState& tx) {
    const std::lock_guard alone(tx.turn);
    require_going_on(tx);
    std::vector<Extent> stored;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> idle;  // all of it stored, by nobody any more: offset, turn
    {
        const auto lock = exclusive();
        require_writable();
        const auto durable = [&](const auto& touched) {
            const auto pin = pins_.find(touched.first);
            if (pin == pins_.end() || pin->second.writable == 0) idle.emplace_back(touched.first, touched.second.turn);
        };
        for (const auto& [begin, end] : tx.covered) stored.push_back({begin, end - begin});
        for (const std::uint64_t extent : tx.extents) {
            const auto touched = touched_.find(extent);
            if (touched != touched_.end() && tx.covers(extent, touched->second.size)) durable(*touched);
        }
        for (const auto& [name, change] : tx.changes) {
            const auto touched = change.prepared ? touched_.find(change.prepared->data.offset) : touched_.end();
            if (touched == touched_.end()) continue;
            stored.push_back({touched->first, touched->second.size});
            durable(*touched);
        }
    }
    // Before the commit that says they count.
    flush_all(std::move(stored));
    std::map<std::string, TransactionState::Change, std::less<>> done;  // destroyed behind the lock
    const auto lock = exclusive();
    require_writable();
    if (!tx.changes.empty() || tx.journals != 0) {
        start_writing();
        const std::uint64_t now = now_ns();
        plan_transaction(tx, now);
        if (!builder_.empty()) commit_built("(transaction)", now);
        for (auto& [name, change] : tx.changes)
            if (change.prepared) change.prepared->header = change.prepared->data = {};
    }
    for (const auto& [offset, turn] : idle) {
        const auto touched = touched_.find(offset);
        if (touched != touched_.end() && touched->second.turn == turn) touched_.erase(touched);
    }
    done.swap(tx.changes);
    end_transaction(tx);
}

void ShelfCore::roll_back(TransactionState& tx) {
    if (forked_.load()) return;
    const std::lock_guard alone(tx.turn);
    if (tx.ended) return;
    std::map<std::string, TransactionState::Change, std::less<>> done;
    const auto give_up = [&] {
        const auto lock = exclusive();
        for (auto& [name, change] : tx.changes)
            if (change.prepared) drop(*change.prepared);
        done.swap(tx.changes);
        end_transaction(tx);
    };
    Media& media = *parts_.data;
    try {
        // Where the media has failed, perhaps while it was committed, the next open decides: memory stays as it is, as
        // stores to it may reach the media, and the old bytes beside the new names are neither state.
        if (!failed_.load() && !tx.saved.empty()) {
            {
                const auto lock = exclusive();
                require_writable();  // else the bytes may be another process's by now
            }
            guarded([&] {
                for (const TransactionState::Saved& s : tx.saved)
                    media.write(s.range.offset, media.data() + s.copy, s.range.size);
                media.drain();
            });
            const auto lock = exclusive();
            start_writing();
            Planner plan(*catalogue_, builder_, true);
            for (std::uint32_t n = 0; n < tx.journals; ++n) plan.erase(journal_name(n));
            commit_built("(transaction)", now_ns());
        }
    } catch (const std::exception& e) {
        // The journals are there yet: what anybody stores from now on the next open would undo.
        if (!failed_.load()) {
            std::call_once(failure_once_, [&] { failure_ = e.what(); });
            failed_ = true;
            log().error("shelf '{}' is read-only from now on: {}", parts_.name, e.what());
        }
        give_up();
        throw;
    }
    give_up();
}

}  // namespace pymm
