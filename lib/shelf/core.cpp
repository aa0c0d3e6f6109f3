#include "shelf/core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <mutex>

#include "format/superblock.hpp"
#include "format/type_codec.hpp"
#include "media/guarded_read.hpp"
#include "media/log.hpp"
#include "shelf/planner.hpp"
#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

namespace {

// Freed extents from this size are offered for reuse at once; smaller ones are asked about together,
// because asking is a system call.
constexpr std::uint64_t kProbeAtOnce = 64 << 10;
constexpr std::size_t kQuarantine = 64;
constexpr std::uint64_t kAllOffsets = std::uint64_t{1} << 46;  // no shelf is larger

}  // namespace

// ---- Opening and closing ----------------------------------------------------------------------------

ShelfCore::ShelfCore(ShelfParts parts, Mode mode)
    : parts_(std::move(parts)), mode_(mode), live_views_(*parts_.data, parts_.name) {
    if (writable()) {
        if (!parts_.lease->try_acquire_writer())
            throw BusyError(fmt::format("{}: shelf '{}' is open for writing elsewhere; close it there, or open "
                                        "it read-only", parts_.path, parts_.name));
        locked_ = true;
    }
    catalogue_ = std::make_unique<Catalogue>(*parts_.map, *parts_.data,
                                             writable() ? nullptr : parts_.lease.get());
    checksums_ = (catalogue_->root().compat & kCompatChecksum) != 0;
}

std::shared_ptr<ShelfCore> ShelfCore::open(ShelfParts parts, Mode mode) {
    std::shared_ptr<ShelfCore> core(new ShelfCore(std::move(parts), mode));
    core->recover();
    return core;
}

ShelfCore::~ShelfCore() {
    if (forked_.load()) return;
    open_ = false;
    finish_if_unused();
}

Shelf ShelfCore::handle(const std::shared_ptr<ShelfCore>& core) {
    if (core->forked_.load()) return Shelf();
    std::unique_lock lock(core->mutex_);
    if (!core->open_.load()) {
        // Closed, but live views kept the writer's lock: this is still our shelf.
        if (!core->locked_ || core->failed_.load()) return Shelf();
        core->open_ = true;
    }
    ++core->handles_;
    return Shelf(std::shared_ptr<ShelfCore>(core.get(), [core](ShelfCore*) { core->handle_gone(); }));
}

void ShelfCore::handle_gone() noexcept {
    if (forked_.load()) return;
    {
        std::unique_lock lock(mutex_);
        if (--handles_ != 0 || !open_.load()) return;
    }
    try {
        if (writable() && !failed_.load()) persist();
    } catch (const std::exception& e) {
        log().error("closing shelf '{}': {}", parts_.name, e.what());
    }
    // Somebody may have opened the shelf again while we flushed.
    std::unique_lock lock(mutex_);
    if (handles_ == 0) close_locked();
}

void ShelfCore::close() {
    if (forked_.load() || !open_.load()) return;
    for (;;) {
        std::shared_ptr<TransactionState> tx;
        {
            std::shared_lock lock(mutex_);
            tx = tx_;
        }
        try {
            if (tx) roll_back(*tx);
            if (writable() && !failed_.load()) persist();
        } catch (const ClosedError&) {
            return;  // another thread was faster
        } catch (...) {
            std::unique_lock lock(mutex_);
            if (failed_.load()) close_locked();
            throw;
        }
        std::unique_lock lock(mutex_);
        if (tx_ && !failed_.load()) continue;  // begun meanwhile
        return close_locked();
    }
}

void ShelfCore::close_locked() noexcept {
    open_ = false;
    finish_if_unused();
}

// Ends the session and gives the writer's lock up once nobody can store to the shelf any more.
void ShelfCore::finish_if_unused() noexcept {
    if (open_.load() || writable_uses_ != 0 || !locked_) return;
    try {
        if (!failed_.load()) catalogue_->close_session();
    } catch (const std::exception& e) {
        // Everything acknowledged is in the log; the next open finds it there.
        std::call_once(failure_once_, [&] { failure_ = e.what(); });
        failed_ = true;
        log().error("closing shelf '{}': {}", parts_.name, e.what());
    }
    try {
        // Another writer may come now: our read-only views become marks, as any reader's.
        for (const auto& [offset, pin] : pins_) parts_.lease->mark_extent(offset, pin.size);
        parts_.lease->release_writer();
        locked_ = false;
    } catch (const std::exception& e) {
        log().error("shelf '{}' stays locked until this process ends: {}", parts_.name, e.what());
    }
}

void ShelfCore::detach_in_child() noexcept {
    forked_ = true;
    parts_.map->detach_in_child();
    parts_.data->detach_in_child();
    parts_.lease->detach_in_child();
}

void ShelfCore::require_not_forked() const {
    if (forked_.load())
        throw ClosedError(fmt::format("shelf '{}' was opened by the parent of this process; open it anew",
                                      parts_.name));
}

void ShelfCore::require_open() const {
    require_not_forked();
    if (!open_.load()) throw ClosedError(fmt::format("shelf '{}' is closed; open it again", parts_.name));
}

void ShelfCore::require_writable() const {
    require_open();
    if (!writable())
        throw ReadOnlyError(fmt::format("shelf '{}' is open read-only; open it for writing", parts_.name));
    if (failed_.load())
        throw ReadOnlyError(fmt::format("shelf '{}' is read-only since an error of the media ({}); close it, "
                                        "mend the device, and open it again", parts_.name, failure_));
    if (!catalogue_->writes_allowed())
        throw ReadOnlyError(fmt::format("shelf '{}' has features that this version may only read", parts_.name));
}

void ShelfCore::fail(const IoError& error) {
    std::call_once(failure_once_, [&] { failure_ = error.what(); });
    failed_ = true;
    log().error("shelf '{}' is read-only from now on: {}", parts_.name, error.what());
    throw;  // the exception being handled, as it is
}

void ShelfCore::start_writing() {
    require_writable();
    if (catalogue_->in_session()) return;
    guarded([&] {
        parts_.map->prepare_for_writing();
        parts_.data->prepare_for_writing();
        // Readers may look at what an earlier session freed. Those that come later find the state as it is
        // now, and what is freed from now on is asked about when it is freed.
        Lease* lease = parts_.lease.get();
        if (lease->extent_marked(0, kAllOffsets))
            catalogue_->space().set_probe([lease](std::uint64_t offset, std::uint64_t size) {
                return lease->extent_marked(offset, size);
            });
        catalogue_->begin_session();
    });
    collect_freed();
}

// ---- Space ------------------------------------------------------------------------------------------

void ShelfCore::collect_freed() {
    SpaceMap& space = catalogue_->space();
    bool large = false;
    for (const Extent& e : catalogue_->take_freed()) {
        const std::uint64_t end = e.offset + e.size;
        large |= e.size >= kProbeAtOnce;
        touched_.erase(touched_.lower_bound(e.offset), touched_.lower_bound(end));
        std::uint64_t at = e.offset;
        for (auto it = pins_.lower_bound(e.offset); it != pins_.end() && it->first < end; ++it) {
            if (it->first > at) quarantine_.push_back({at, it->first - at});
            it->second.freed = true;
            at = std::min(end, it->first + it->second.size);
        }
        if (at < end) quarantine_.push_back({at, end - at});
    }
    for (const Extent& e : space.take_blocked()) quarantine_.push_back(e);
    if (!large && quarantine_.size() < kQuarantine && catalogue_->ensure_spare()) return;
    try {
        drain_quarantine();
        (void)catalogue_->ensure_spare();
    } catch (const IoError& error) {
        // Space that cannot be asked about waits; the commit is done all the same.
        log().warn("shelf '{}': {}", parts_.name, error.what());
    }
}

void ShelfCore::drain_quarantine() {
    Lease& lease = *parts_.lease;
    const bool readers = lease.extent_marked(0, kAllOffsets);
    if (!readers) catalogue_->space().set_probe(nullptr);
    std::vector<Extent> waiting = std::exchange(quarantine_, {});
    std::size_t done = 0;
    try {
        for (; done < waiting.size(); ++done) {
            const Extent& e = waiting[done];
            if (readers && lease.extent_marked(e.offset, e.size)) quarantine_.push_back(e);
            else catalogue_->space().release(e.offset, e.size);
        }
    } catch (...) {
        quarantine_.insert(quarantine_.end(), waiting.begin() + static_cast<std::ptrdiff_t>(done), waiting.end());
        throw;
    }
}

Extent ShelfCore::allocate(std::uint64_t size, std::uint64_t align) {
    SpaceMap& space = catalogue_->space();
    auto found = space.allocate(size, align);
    if (!found) {
        drain_quarantine();
        found = space.allocate(size, align);
    }
    if (!found)
        throw NoSpaceError(fmt::format("shelf '{}': {} bytes wanted, {} of {} are free, the largest piece has {}; "
                                       "erase blobs or use a larger shelf", parts_.name, size, space.free(),
                                       space.capacity(), space.largest()));
    return {*found, size};
}

void ShelfCore::drop_writable_use() noexcept {
    assert(writable_uses_ != 0);
    if (--writable_uses_ == 0) finish_if_unused();
}

// ---- Commits ----------------------------------------------------------------------------------------

void ShelfCore::make_room(std::string_view name) {
    const std::uint64_t size = builder_.size();
    const bool oversized = size > catalogue_->root().base_log_size;
    // Whatever makes the catalogue grow leaves enough to fold it; else a full shelf could not be emptied.
    const bool needs_spare = builder_.puts() || oversized;
    if (needs_spare) require_spare(name, size);
    if (!catalogue_->make_room(size)) return;
    collect_freed();
    if (!needs_spare || catalogue_->ensure_spare()) return;
    if (oversized) catalogue_->fold_oversized_log();  // which is empty
    else require_spare(name);
    if (oversized)
        throw NoSpaceError(fmt::format("shelf '{}': '{}': too full for {} bytes in one commit; make smaller batches, or "
                                       "erase blobs", parts_.name, name, size));
}

void ShelfCore::commit_built(std::string_view name, std::uint64_t now) {
    try {
        guarded([&] {
            make_room(name);
            catalogue_->commit(builder_, now);
        });
    } catch (const Error&) {
        throw;
    } catch (const std::exception& e) {
        // Out of memory, perhaps behind the durable point: what is in memory may be less than what is on the
        // media, so nothing is written any more.
        std::call_once(failure_once_, [&] { failure_ = e.what(); });
        failed_ = true;
        throw;
    }
    // The commit is durable: from here on nothing may be thrown.
    try {
        collect_freed();
        catalogue_->fold_oversized_log();
        collect_freed();
    } catch (const IoError& e) {
        std::call_once(failure_once_, [&] { failure_ = e.what(); });
        failed_ = true;
        log().error("shelf '{}' is read-only from now on: {}", parts_.name, e.what());
    } catch (const std::exception& e) {
        log().warn("shelf '{}': {}", parts_.name, e.what());
    }
}

void ShelfCore::commit_one(Prepared& prepared, const std::function<void()>& check) {
    const std::uint64_t now = now_ns();
    const auto lock = exclusive();
    start_writing();
    if (check) check();
    Planner plan(*catalogue_, builder_, true, others_transaction());
    plan.put(prepared.version(), now);
    commit_built(prepared.name, now);
    prepared.header = prepared.data = {};
}

void ShelfCore::put(std::string_view name, std::span<const std::byte> data, const Type& type) {
    if (!joins() && may_be_inline(type, data.size())) {
        // What is looked at and summed is what is committed, though another thread may store to the source.
        std::array<std::byte, kMaxInline> copy;
        if (!data.empty()) copy_from_caller(copy.data(), data);
        const std::span<const std::byte> value(copy.data(), data.size());
        if (kept_inline(type, value)) return put_inline(name, value, type);
    }
    check_blob_name(name);
    if (joins()) return put_in_transaction(prepare(name, data, type));
    refuse_sealed(name, data.size());
    commit_one(*prepare(name, data, type));
}

void ShelfCore::put(std::string_view name, Staged staged) {
    check_blob_name(name);
    auto prepared = prepare(name, std::move(staged));
    if (joins()) put_in_transaction(std::move(prepared));
    else commit_one(*prepared);
}

void ShelfCore::erase(std::string_view name) {
    check_blob_name(name);
    std::unique_ptr<Prepared> old;  // destroyed behind the lock
    const auto lock = exclusive();
    require_writable();
    EntryView entry;
    if (!look_up(name, entry))
        throw NotFoundError(fmt::format("shelf '{}': erase '{}': no such blob", parts_.name, name));
    if (joins()) return erase_in_transaction(name, old);
    start_writing();
    Planner plan(*catalogue_, builder_, true, others_transaction());
    plan.erase(name);
    commit_built(name, now_ns());
}

void ShelfCore::rename(std::string_view from, std::string_view to, bool replace) {
    check_blob_name(from);
    check_blob_name(to);
    std::unique_ptr<Prepared> old;
    const auto lock = exclusive();
    require_writable();
    EntryView entry;
    if (!look_up(from, entry))
        throw NotFoundError(fmt::format("shelf '{}': rename '{}': no such blob", parts_.name, from));
    if (from == to) return;
    if (joins()) return rename_in_transaction(from, to, replace, old);
    start_writing();
    Planner plan(*catalogue_, builder_, true, others_transaction());
    plan.rename(from, to, replace);
    commit_built(from, now_ns());
}

// ---- Reading ----------------------------------------------------------------------------------------

void ShelfCore::refresh() {
    if (!writable()) catalogue_->refresh();
}

BlobInfo ShelfCore::info(const EntryView& entry) const {
    const Entry& e = entry.fixed;
    std::vector<std::byte> header;
    if ((e.flags & kEntryTypeInHeader) != 0 && e.header_size != 0) {
        header.resize(e.header_size);
        guarded_copy(header.data(), *parts_.data, e.header_offset, e.header_size,
                     fmt::format("header of blob '{}'", entry.name));
    }
    return blob_info(entry, header, catalogue_->root().uuid);
}

template <class F>
auto ShelfCore::reading(F&& read) {
    require_not_forked();
    if (writable()) {
        std::shared_lock lock(mutex_);
        require_open();
        return read();
    }
    std::unique_lock lock(mutex_);
    require_open();
    for (int tries = 3;; --tries) {
        refresh();
        const std::uint64_t known = catalogue_->sequence();
        try {
            return read();
        } catch (const CorruptError&) {
            refresh();
            if (tries == 0 || catalogue_->sequence() == known) throw;
        }
    }
}

std::optional<BlobInfo> ShelfCore::find(std::string_view name) {
    check_blob_name(name);
    return reading([&]() -> std::optional<BlobInfo> {
        EntryView entry;
        if (!look_up(name, entry)) return std::nullopt;
        return info(entry);
    });
}

View ShelfCore::get(std::string_view name, Access access) {
    check_blob_name(name);
    bool orphaned = false;
    View view = open_view(name, access, &orphaned);
    if (orphaned) show_as_it_was(view);
    if (access != Access::write || !joins()) return view;
    if (const auto tx = joined(); tx && tx->every_view) add(*tx, view, 0, view.info().size);
    return view;
}

View ShelfCore::open_view(std::string_view name, Access access, bool* orphaned) {
    auto state = std::make_unique<View::State>();
    const auto lock = exclusive();
    if (access == Access::write) require_writable();
    else require_open();
    EntryView entry;
    // A reader's, given up again unless the view takes that of the data over.
    ScopedMark data_mark(*parts_.lease), header_mark(*parts_.lease);
    try {
        for (;;) {
            refresh();
            if (!look_up(name, entry))
                throw NotFoundError(fmt::format("shelf '{}': no blob '{}'", parts_.name, name));
            if (writable() || entry.inlined()) break;
            // Mark, then look again: a writer that gave the extent back before our mark may reuse it.
            const Entry& e = entry.fixed;
            const bool typed = (e.flags & kEntryTypeInHeader) != 0;
            const bool known = data_mark.set(e.offset, e.extent);
            if (header_mark.set(e.header_offset, typed ? e.header_size : 0) && known) break;
        }
        if (access == Access::write && (entry.fixed.flags & kEntrySealed) != 0)
            throw ReadOnlyError(fmt::format("blob '{}' is sealed: get it for reading, or erase it and put it anew",
                                            name));
        state->info = info(entry);
        if (entry.inlined()) {
            state->value.assign(entry.value.begin(), entry.value.end());
            state->core = shared_from_this();
            state->data = state->value.data();
            state->writable = access == Access::write && entry.fixed.size == 0;
            return View(std::move(state));
        }
        if (orphaned != nullptr) *orphaned = has_orphaned_journals();
        const Kind kind = state->info.type.kind;
        if (access == Access::write) {
            if (!is_array(kind) && kind != Kind::raw)
                throw InvalidArgumentError(fmt::format("blob '{}' is a {}: values are replaced by put, not changed in "
                                                       "place", name, kind_name(kind)));
            if (sealing_ == entry.fixed.offset)
                throw ReadOnlyError(fmt::format("blob '{}' is just being sealed: get it for reading", name));
            if ((entry.fixed.flags & kEntryContentCrc) != 0) {
                drop_checksum(name, entry.fixed.flags);
                if (!look_up(name, entry)) assert(false);  // the lock was held
                state->info = info(entry);
            }
            if (!catalogue_->in_session())
                guarded([&] {
                    parts_.map->prepare_for_writing();
                    parts_.data->prepare_for_writing();
                    // A store reaches the media when it likes: what the process before us committed, and perhaps
                    // never fenced, must be there before it (that the name means this extent, that a checksum of it
                    // is void).
                    catalogue_->settle();
                });
            // Storage under every byte: a store to a hole of a full file system would be SIGBUS.
            parts_.data->reserve(entry.fixed.offset, entry.fixed.extent);
        }
        if (access == Access::write) {
            // Before anything is counted, as there may be no memory for it.
            touched_[entry.fixed.offset] = {entry.fixed.size, ++handed_out_};
        }
        state->data = parts_.data->data() + entry.fixed.offset;
        state->live = live_views_.add(state->data, entry.fixed.extent, state->info.name);
        Pin& pin = pins_[entry.fixed.offset];
        pin.size = std::max(pin.size, entry.fixed.extent);
        pin.id = entry.fixed.id;
        pin.header = entry.fixed.header_offset;
        ++pin.views;
        state->core = shared_from_this();
        state->extent = entry.fixed.extent;
        state->pinned = true;
        data_mark.keep();
        if (access == Access::write) {
            ++pin.writable;
            ++writable_uses_;
            state->writable = true;
        }
        return View(std::move(state));
    } catch (...) {
        if (state && state->live != nullptr && !state->pinned) live_views_.remove(state->live);
        throw;
    }
}

void ShelfCore::unpin(const View::State& view) noexcept {
    if (forked_.load()) return;
    const std::uint64_t offset = view.info.offset, size = view.extent;
    const bool was_writable = view.writable;
    std::unique_lock lock(mutex_);
    live_views_.remove(view.live);
    const auto it = pins_.find(offset);
    assert(it != pins_.end());
    Pin& pin = it->second;
    if (was_writable) --pin.writable;
    const bool last = --pin.views == 0;
    if (!writable()) parts_.lease->unmark_extent(offset, size);
    else if (!locked_ && last) parts_.lease->unmark_extent(offset, pin.size);  // set when the lock was given up
    if (last) {
        const Pin gone = pin;
        pins_.erase(it);
        if (gone.freed && locked_) {
            try {
                quarantine_.push_back({offset, gone.size});
                if (gone.size >= kProbeAtOnce || quarantine_.size() >= kQuarantine) drain_quarantine();
            } catch (const std::exception& e) {
                log().warn("shelf '{}': {}", parts_.name, e.what());
            }
        }
    }
    if (was_writable) drop_writable_use();
}

void ShelfCore::for_each(std::string_view prefix, const std::function<bool(const BlobInfo&)>& visit) {
    std::string last;  // where to go on after another look
    bool any = false;
    reading([&] {
        for_each_seen(prefix, [&](const EntryView& entry) {
            if (any && entry.name <= last) return true;
            const BlobInfo blob = info(entry);
            if (!writable()) last = entry.name, any = true;
            return visit(blob);
        });
    });
}

std::uint64_t ShelfCore::size() {
    const auto lock = exclusive();
    require_open();
    refresh();
    return count_seen();
}

ShelfInfo ShelfCore::stat() {
    const auto lock = exclusive();
    require_open();
    refresh();
    const Superblock& sb = catalogue_->root();
    ShelfInfo info{};
    info.name = parts_.name;
    info.uuid = uuid_text(sb.uuid);
    info.capacity = sb.capacity;
    info.used = catalogue_->space().used();
    info.free = catalogue_->space().free();
    info.largest_free = catalogue_->space().largest();
    info.blobs = count_seen();
    info.sequence = catalogue_->sequence();
    info.generation = sb.generation;
    info.format_version = sb.version;
    info.runs = sb.run_count;
    info.log_bytes = catalogue_->log_bytes();
    info.created = Clock::time_point(
        std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(sb.created_ns)));
    info.granularity = parts_.data->granularity();
    info.address = reinterpret_cast<std::uintptr_t>(parts_.data->data());
    info.writable = writable() && !failed_.load() && catalogue_->writes_allowed();
    info.clean = (sb.flags & kSuperblockClean) != 0;
    info.checksum = checksums_;
    return info;
}

void ShelfCore::inspect(const std::function<void(Catalogue&)>& visit) {
    const auto lock = exclusive();
    visit(*catalogue_);
}

void ShelfCore::examine(const std::function<void(const Catalogue&)>& visit) {
    const auto lock = exclusive();
    require_open();
    refresh();
    visit(*catalogue_);
}

}  // namespace pymm
