#include "shelf/core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>

#include "format/superblock.hpp"
#include "format/type_codec.hpp"
#include "media/log.hpp"
#include "shelf/planner.hpp"

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

ShelfCore::ShelfCore(ShelfParts parts, Mode mode) : parts_(std::move(parts)), mode_(mode) {
    if (writable()) {
        if (!parts_.lease->try_acquire_writer())
            throw BusyError(fmt::format("{}: shelf '{}' is open for writing elsewhere; close it there, or open "
                                        "it read-only", parts_.path, parts_.name));
        locked_ = true;
    }
    catalogue_ = std::make_unique<Catalogue>(*parts_.map, *parts_.data,
                                             writable() ? nullptr : parts_.lease.get());
    if (writable()) catalogue_->set_writer_lease(parts_.lease.get());
}

std::shared_ptr<ShelfCore> ShelfCore::open(ShelfParts parts, Mode mode) {
    return std::shared_ptr<ShelfCore>(new ShelfCore(std::move(parts), mode));
}

ShelfCore::~ShelfCore() {
    if (forked_.load()) return;
    open_ = false;
    finish_if_unused();
}

Shelf ShelfCore::handle(const std::shared_ptr<ShelfCore>& core) {
    std::unique_lock lock(core->mutex_);
    if (core->forked_.load()) return Shelf();
    if (!core->open_.load()) {
        // Closed, but live views kept the writer's lock: this is still our shelf.
        if (!core->locked_ || core->failed_.load()) return Shelf();
        core->open_ = true;
    }
    ++core->handles_;
    return Shelf(std::shared_ptr<ShelfCore>(core.get(), [core](ShelfCore*) { core->handle_gone(); }));
}

void ShelfCore::handle_gone() noexcept {
    {
        if (forked_.load()) return;
        std::unique_lock lock(mutex_);
        if (--handles_ != 0 || !open_.load()) return;
    }
    try {
        close();
    } catch (const std::exception& e) {
        log().error("closing shelf '{}': {}", parts_.name, e.what());
    }
}

void ShelfCore::close() {
    if (forked_.load() || !open_.load()) return;
    if (writable() && !failed_.load()) persist();
    std::unique_lock lock(mutex_);
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

void ShelfCore::require_open() const {
    if (forked_.load())
        throw ClosedError(fmt::format("shelf '{}' was opened by the parent of this process; open it anew",
                                      parts_.name));
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
        catalogue_->begin_session();
    });
}

// ---- Space ------------------------------------------------------------------------------------------

void ShelfCore::freed(const std::vector<Extent>& extents) {
    SpaceMap& space = catalogue_->space();
    const auto give = [&](std::uint64_t offset, std::uint64_t size) {
        if (size == 0) return;
        space.hold(offset, size);
        quarantine_.push_back({offset, size});
    };
    bool large = false;
    for (const Extent& e : extents) {
        const std::uint64_t end = e.offset + e.size;
        large |= e.size >= kProbeAtOnce;
        touched_.erase(touched_.lower_bound(e.offset), touched_.lower_bound(end));
        std::uint64_t at = e.offset;
        for (auto it = pins_.lower_bound(e.offset); it != pins_.end() && it->first < end; ++it) {
            give(at, it->first - at);
            space.hold(it->first, it->second.size);
            it->second.freed = true;
            at = it->first + it->second.size;
        }
        give(at, end - at);
    }
    if (large || quarantine_.size() >= kQuarantine) drain_quarantine(false);
}

void ShelfCore::drain_quarantine(bool all) {
    if (quarantine_.empty()) return;
    Lease& lease = *parts_.lease;
    const bool readers = lease.extent_marked(0, kAllOffsets);
    std::erase_if(quarantine_, [&](const Extent& e) {
        if (readers && lease.extent_marked(e.offset, e.size)) return false;
        catalogue_->space().release(e.offset, e.size);
        return true;
    });
    if (all) catalogue_->release_retired(&lease);
}

Extent ShelfCore::allocate(std::uint64_t size, std::uint64_t align) {
    SpaceMap& space = catalogue_->space();
    auto found = space.allocate(size, align);
    if (!found) {
        drain_quarantine(true);
        found = space.allocate(size, align);
    }
    if (!found)
        throw NoSpaceError(fmt::format("shelf '{}': {} bytes wanted, {} of {} are free, the largest piece has {}; "
                                       "erase blobs or use a larger shelf", parts_.name, size, space.free(),
                                       space.capacity(), space.largest()));
    return {*found, size};
}

void ShelfCore::release_staged(Extent extent) noexcept {
    if (extent.size != 0) catalogue_->space().release(extent.offset, extent.size);
}

void ShelfCore::drop_writable_use() noexcept {
    assert(writable_uses_ != 0);
    if (--writable_uses_ == 0) finish_if_unused();
}

// ---- Commits ----------------------------------------------------------------------------------------

void ShelfCore::commit_built(std::uint64_t now) {
    freed(guarded([&] { return catalogue_->commit(builder_, now); }));
}

void ShelfCore::commit_one(Prepared& prepared) {
    const std::uint64_t now = now_ns();
    std::unique_lock lock(mutex_);
    start_writing();
    Planner plan(*catalogue_, builder_, true);
    plan.put(prepared.version(), now);
    commit_built(now);
    prepared.header = prepared.data = {};
}

void ShelfCore::put(std::string_view name, std::span<const std::byte> data, const Type& type) {
    if (kept_inline(type, data.size())) put_inline(name, data, type);
    else commit_one(*prepare(name, data, type));
}

void ShelfCore::put(std::string_view name, Staged staged) { commit_one(*prepare(name, std::move(staged))); }

void ShelfCore::erase(std::string_view name) {
    check_blob_name(name);
    std::unique_lock lock(mutex_);
    require_writable();
    EntryView entry;
    if (!catalogue_->find(name, entry))
        throw NotFoundError(fmt::format("shelf '{}': erase '{}': no such blob", parts_.name, name));
    start_writing();
    Planner plan(*catalogue_, builder_, true);
    plan.erase(name);
    commit_built(now_ns());
}

void ShelfCore::rename(std::string_view from, std::string_view to, bool replace) {
    check_blob_name(from);
    check_blob_name(to);
    std::unique_lock lock(mutex_);
    require_writable();
    EntryView entry;
    if (!catalogue_->find(from, entry))
        throw NotFoundError(fmt::format("shelf '{}': rename '{}': no such blob", parts_.name, from));
    if (from == to) return;
    start_writing();
    Planner plan(*catalogue_, builder_, true);
    plan.rename(from, to, replace);
    commit_built(now_ns());
}

// ---- Reading ----------------------------------------------------------------------------------------

void ShelfCore::refresh() {
    if (!writable()) catalogue_->refresh();
}

Bytes ShelfCore::header_bytes(const EntryView& entry) const {
    const Entry& e = entry.fixed;
    if (e.header_size == 0) return {};
    return {parts_.data->data() + e.header_offset, e.header_size};
}

BlobInfo ShelfCore::info(const EntryView& entry) const {
    return blob_info(entry, header_bytes(entry), catalogue_->root().uuid);
}

std::optional<BlobInfo> ShelfCore::find(std::string_view name) {
    check_blob_name(name);
    EntryView entry;
    if (!writable()) {
        std::unique_lock lock(mutex_);
        require_open();
        refresh();
        if (!catalogue_->find(name, entry)) return std::nullopt;
        return info(entry);
    }
    std::shared_lock lock(mutex_);
    require_open();
    if (!catalogue_->find(name, entry)) return std::nullopt;
    return info(entry);
}

View ShelfCore::get(std::string_view name, Access access) {
    check_blob_name(name);
    auto state = std::make_unique<View::State>();
    std::unique_lock lock(mutex_);
    if (access == Access::write) require_writable();
    else require_open();
    refresh();
    EntryView entry;
    const auto look_up = [&] {
        if (!catalogue_->find(name, entry))
            throw NotFoundError(fmt::format("shelf '{}': no blob '{}'", parts_.name, name));
    };
    look_up();
    if (entry.inlined()) {
        state->info = info(entry);
        state->value.assign(entry.value.begin(), entry.value.end());
        state->core = shared_from_this();
        state->data = state->value.data();
        state->writable = access == Access::write && entry.fixed.size == 0;
        return View(std::move(state));
    }
    if (!writable()) {
        // Mark, then look again: a writer that gave the extent back before our mark may reuse it.
        for (;;) {
            const Entry before = entry.fixed;
            parts_.lease->mark_extent(before.offset, before.extent);
            try {
                refresh();
                look_up();
            } catch (...) {
                parts_.lease->unmark_extent(before.offset, before.extent);
                throw;
            }
            if (!entry.inlined() && entry.fixed.offset == before.offset && entry.fixed.id == before.id) break;
            parts_.lease->unmark_extent(before.offset, before.extent);
            if (entry.inlined()) {
                lock.unlock();
                return get(name, access);
            }
        }
    }
    state->info = info(entry);
    if (access == Access::write && state->info.type.kind != Kind::ndarray && state->info.type.kind != Kind::raw)
        throw InvalidArgumentError(fmt::format("blob '{}' is a {}: values are replaced by put, not changed in place",
                                               name, kind_name(state->info.type.kind)));
    if (access == Access::write && (entry.fixed.flags & kEntrySealed) != 0)
        throw ReadOnlyError(fmt::format("blob '{}' is sealed: put a new version instead", name));
    Pin& pin = pins_[entry.fixed.offset];
    pin.size = entry.fixed.extent;
    ++pin.views;
    state->core = shared_from_this();
    state->data = parts_.data->data() + entry.fixed.offset;
    state->pinned = true;
    if (access == Access::write) {
        if (!catalogue_->in_session()) parts_.data->prepare_for_writing();
        ++pin.writable;
        ++writable_uses_;
        touched_[entry.fixed.offset] = entry.fixed.size;
        state->writable = true;
    }
    return View(std::move(state));
}

void ShelfCore::unpin(std::uint64_t offset, bool was_writable) noexcept {
    if (forked_.load()) return;
    std::unique_lock lock(mutex_);
    const auto it = pins_.find(offset);
    assert(it != pins_.end());
    Pin& pin = it->second;
    if (was_writable) --pin.writable;
    const bool last = --pin.views == 0;
    if (!writable() || !locked_) {
        // A reader's mark, or one left when the lock was given up.
        if (!writable() || last) parts_.lease->unmark_extent(offset, pin.size);
    }
    if (last) {
        if (pin.freed && locked_) {
            quarantine_.push_back({offset, pin.size});
            if (pin.size >= kProbeAtOnce || quarantine_.size() >= kQuarantine) {
                try {
                    drain_quarantine(false);
                } catch (const std::exception& e) {
                    log().warn("shelf '{}': {}", parts_.name, e.what());
                }
            }
        }
        pins_.erase(it);
    }
    if (was_writable) drop_writable_use();
}

void ShelfCore::for_each(std::string_view prefix, const std::function<bool(const BlobInfo&)>& visit) {
    const auto walk = [&] {
        catalogue_->for_each(prefix, [&](const EntryView& entry) { return visit(info(entry)); });
    };
    if (!writable()) {
        std::unique_lock lock(mutex_);
        require_open();
        refresh();
        walk();
        return;
    }
    std::shared_lock lock(mutex_);
    require_open();
    walk();
}

std::uint64_t ShelfCore::size() {
    std::unique_lock lock(mutex_);
    require_open();
    refresh();
    return catalogue_->blobs();
}

ShelfInfo ShelfCore::stat() {
    std::unique_lock lock(mutex_);
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
    info.blobs = catalogue_->blobs();
    info.sequence = catalogue_->sequence();
    info.generation = sb.generation;
    info.format_version = sb.version;
    info.runs = sb.run_count;
    info.log_bytes = catalogue_->log_bytes();
    info.created = Clock::time_point(
        std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(sb.created_ns)));
    info.granularity = parts_.data->granularity();
    info.writable = writable() && !failed_.load() && catalogue_->writes_allowed();
    info.clean = (sb.flags & kSuperblockClean) != 0;
    return info;
}

void ShelfCore::inspect(const std::function<void(Catalogue&)>& visit) {
    std::unique_lock lock(mutex_);
    visit(*catalogue_);
}

// ---- Persisting -------------------------------------------------------------------------------------

void ShelfCore::persist_range(std::uint64_t offset, std::uint64_t size) {
    if (failed_.load())
        throw ReadOnlyError(fmt::format("shelf '{}' is read-only since an error of the media ({}); what was "
                                        "stored since may be lost", parts_.name, failure_));
    guarded([&] { parts_.data->persist(offset, size); });
}

void ShelfCore::persist() {
    std::vector<Extent> ranges;
    {
        std::unique_lock lock(mutex_);
        require_open();
        if (!writable()) return;
        for (const auto& [offset, size] : touched_) ranges.push_back({offset, size});
    }
    if (ranges.empty()) return;
    if (failed_.load()) require_writable();
    // A view that dies meanwhile may let an extent be reused: flushing foreign bytes is harmless.
    guarded([&] {
        for (const Extent& r : ranges)
            if (r.size != 0) parts_.data->flush(r.offset, r.size);
        parts_.data->drain();
    });
    std::unique_lock lock(mutex_);
    for (const Extent& r : ranges) {
        const auto pin = pins_.find(r.offset);
        if (pin == pins_.end() || pin->second.writable == 0) touched_.erase(r.offset);
    }
}

}  // namespace pymm
