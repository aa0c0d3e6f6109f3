// Bringing a blob's bytes to the media, before any commit names them.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <mutex>
#include <new>

#include "format/crc32c.hpp"
#include "format/names.hpp"
#include "format/type_codec.hpp"
#include "media/log.hpp"
#include "shelf/core.hpp"

namespace pymm {

using namespace format;

std::uint64_t alignment_for(std::uint64_t size) noexcept {
    return size >= kHugePage ? kHugePage : size >= kPage ? kPage : kLine;
}

bool may_be_inline(const Type& type, std::uint64_t size) noexcept {
    if (encoded_type_size(type) > kMaxEntryType) return false;
    if (size == 0) return true;
    return !is_array(type.kind) && type.kind != Kind::raw && size <= kMaxInline;
}

bool kept_inline(const Type& type, std::span<const std::byte> value) noexcept {
    return may_be_inline(type, value.size()) &&
           (value.empty() || ::memmem(value.data(), value.size(), &kCommitMagic, sizeof kCommitMagic) == nullptr);
}

namespace {

void check_type(std::string_view name, const Type& type, std::uint64_t size) {
    if (const char* problem = type_problem(type, size))
        throw InvalidArgumentError(fmt::format("put '{}': {} bytes as {}: {}", name, size,
                                               type.describe().substr(0, 200), problem));
}

// Blobs of a page or more own their pages: no neighbour may share the last one.
std::uint64_t extent_for(std::uint64_t size) {
    return round_up(std::max<std::uint64_t>(size, 1), size >= kPage ? kPage : kLine);
}

}  // namespace

void ShelfCore::release_staged(Extent extent) noexcept {
    if (extent.size == 0) return;
    try {
        catalogue_->space().release(extent.offset, extent.size);
    } catch (const std::bad_alloc&) {
        // It is not handed out any more until the shelf is opened again: no commit names it.
    }
}

Prepared::~Prepared() {
    if (core->forked_.load()) return;
    std::unique_lock lock(core->mutex_);
    core->release_staged(header);
    core->release_staged(data);
    if (counted) core->drop_writable_use();
}

std::vector<std::byte> ShelfCore::encode_header(const Prepared& p, const Type& type) {
    std::vector<std::byte> encoded_type(encoded_type_size(type));
    encode_type(type, encoded_type.data());
    ExtentHeader h{};
    h.uuid = catalogue_->root().uuid;
    h.own_offset = p.entry.header_offset;
    h.offset = p.entry.offset;
    h.extent = p.entry.extent;
    h.size = p.entry.size;
    h.id = p.entry.id;
    h.sequence = catalogue_->sequence();
    h.created_ns = now_ns();
    h.mode = p.entry.mode;
    std::vector<std::byte> bytes;
    encode_extent_header(h, p.name, encoded_type, bytes);
    return bytes;
}

std::vector<std::byte> ShelfCore::place(Prepared& p, const Type& type, std::uint64_t id, Extent data) {
    p.entry.id = id;
    p.entry.offset = data.offset;
    p.entry.extent = data.size;
    p.entry.header_offset = p.header.offset;
    p.entry.header_size = static_cast<std::uint32_t>(p.header.size);
    return encode_header(p, type);
}

void ShelfCore::require_spare(std::string_view name, std::uint64_t commit) {
    if (catalogue_->ensure_spare(commit)) return;
    drain_quarantine();
    if (catalogue_->ensure_spare(commit)) return;
    // The catalogue itself may be what is in the way: scattered runs, full of superseded entries.
    try {
        guarded([&] { catalogue_->compact(); });
    } catch (const NoSpaceError&) {
    }
    collect_freed();
    drain_quarantine();
    if (catalogue_->ensure_spare(commit)) return;
    if (commit > catalogue_->root().base_log_size && catalogue_->ensure_spare())
        throw NoSpaceError(fmt::format("shelf '{}': '{}': too full for {} bytes in one commit; make smaller batches, or "
                                       "erase blobs", parts_.name, name, commit));
    const SpaceMap& space = catalogue_->space();
    throw NoSpaceError(fmt::format("shelf '{}': '{}': full: {} bytes must stay free in one piece, so that the catalogue "
                                   "can be rewritten and blobs be erased, and {} of {} are free; erase blobs or use a "
                                   "larger shelf", parts_.name, name, catalogue_->spare_wanted(), space.free(),
                                   space.capacity()));
}

// The shortest way: nothing but the commit. One lock, no allocation of ours.
void ShelfCore::put_inline(std::string_view name, std::span<const std::byte> data, const Type& type) {
    check_blob_name(name);
    check_type(name, type, data.size());
    std::byte encoded[kMaxEntryType];
    Version version{name, {}, Bytes(encoded, encoded_type_size(type)), data};
    encode_type(type, encoded);
    version.entry.size = data.size();
    version.entry.mode = 0600;
    version.entry.share_count = 1;
    version.entry.flags = kEntryInline;
    if (checksums_) {
        version.entry.flags |= kEntryContentCrc;
        version.entry.content_crc = crc32c(data.data(), data.size());
    }
    const std::uint64_t now = now_ns();
    const auto lock = exclusive();
    start_writing();
    version.entry.id = catalogue_->take_id();
    Planner plan(*catalogue_, builder_, true, others_transaction());
    plan.put(version, now);
    commit_built(name, now);
}

// Everything but the bytes: checks, entry, and for small blobs one extent for header and data.
std::unique_ptr<Prepared> ShelfCore::prepare(std::string_view name, const Type& type, std::uint64_t size) {
    check_type(name, type, size);
    auto p = std::make_unique<Prepared>(shared_from_this());
    p->name = name;
    p->entry.size = size;
    p->entry.mode = 0600;
    p->entry.share_count = 1;
    if (checksums_) p->entry.flags |= kEntryContentCrc;
    const std::size_t type_size = encoded_type_size(type);
    if (type_size <= kMaxEntryType) {
        p->type.resize(type_size);
        encode_type(type, p->type.data());
    } else {
        if (type_size > kMaxType)
            throw InvalidArgumentError(fmt::format("put '{}': the dtype's description has {} bytes; at most {} are "
                                                   "possible", name, type_size, kMaxType));
        p->entry.flags |= kEntryTypeInHeader;
    }
    return p;
}

std::unique_ptr<Prepared> ShelfCore::prepare(std::string_view name, std::span<const std::byte> data,
                                             const Type& type, std::uint64_t id) {
    auto p = prepare(name, type, data.size());
    const bool small = may_be_inline(type, data.size());
    if (small) {
        p->value.resize(data.size());
        if (!data.empty()) copy_from_caller(p->value.data(), data);
    }
    if (small && kept_inline(type, p->value)) {
        p->entry.flags |= kEntryInline;
        if (checksums_) p->entry.content_crc = crc32c(p->value.data(), p->value.size());
        auto lock = exclusive();
        start_writing();
        require_spare(name);
        p->entry.id = id != 0 ? id : catalogue_->take_id();
        return p;
    }
    p->value.clear();

    const std::uint64_t extent = extent_for(data.size());
    const std::size_t header_size = extent_header_size(name.size(), encoded_type_size(type));
    const bool together = data.size() < kPage;
    std::vector<std::byte> header;
    {
        auto lock = exclusive();
        start_writing();
        require_spare(name);
        ++writable_uses_;
        p->counted = true;
        try {
            if (together) {
                const Extent both = allocate(header_size + extent, kLine);
                p->header = {both.offset, header_size};
                p->data = {both.offset + header_size, extent};
            } else {
                p->data = allocate(extent, alignment_for(data.size()));
                p->header = allocate(header_size, kLine);
            }
        } catch (...) {
            lock.unlock();  // ~Prepared wants it
            throw;
        }
        header = place(*p, type, id != 0 ? id : catalogue_->take_id(), p->data);
    }
    Media& media = *parts_.data;
    const auto copy = [&] {
        if (together) {
            header.resize(header_size + data.size());
            if (!data.empty()) copy_from_caller(header.data() + header_size, data);
            if (checksums_) p->entry.content_crc = crc32c(header.data() + header_size, data.size());
            media.write(p->header.offset, header.data(), header.size());
        } else {
            p->entry.content_crc = copy_in(p->data.offset, data);
            media.write(p->header.offset, header.data(), header.size());
        }
        media.drain();  // durable before any record may name it
    };
    try {
        copy();
    } catch (const IoError& error) {
        // The caller's memory vanished (a truncated file mapped by them): nothing is wrong with the media.
        if (error.os_error() == EFAULT) throw;
        fail(error);
    }
    return p;
}

Staged ShelfCore::stage(const Type& type, std::uint64_t size) {
    check_type("(staged)", type, size);
    auto state = std::make_unique<Staged::State>();
    state->type = type;
    state->size = size;
    state->inlined = may_be_inline(type, size);
    {
        auto lock = exclusive();
        start_writing();
        if (!state->inlined) {
            require_spare("(staged)");
            state->extent = allocate(extent_for(size), alignment_for(size));
        }
        ++writable_uses_;
    }
    state->core = shared_from_this();
    if (state->inlined) state->value.resize(size);
    return Staged(std::move(state));
}

bool ShelfCore::resize(Staged::State& s, const Type& type, std::uint64_t size) {
    check_type("(staged)", type, size);
    if (s.inlined || may_be_inline(type, size)) return false;
    const std::uint64_t extent = extent_for(size), old = s.extent.size;
    if (s.extent.offset % alignment_for(size) != 0) return false;
    const auto lock = exclusive();
    start_writing();
    if (extent > old) {
        const std::uint64_t behind = s.extent.offset + old;
        SpaceMap& space = catalogue_->space();
        if (!space.allocate_at(behind, extent - old)) {
            drain_quarantine();
            if (!space.allocate_at(behind, extent - old)) return false;
        }
        try {
            if (s.exposed.load()) parts_.data->reserve(behind, extent - old);
        } catch (...) {
            release_staged({behind, extent - old});
            throw;
        }
    } else {
        // No commit ever named it, so nobody looks at what is given back.
        release_staged({s.extent.offset + extent, old - extent});
    }
    s.extent.size = extent;
    s.type = type;
    s.size = size;
    s.written = std::min(s.written.load(), size);
    return true;
}

std::unique_ptr<Prepared> ShelfCore::prepare(std::string_view name, Staged staged, std::uint64_t id) {
    if (!staged) throw InvalidArgumentError(fmt::format("put '{}': nothing is staged", name));
    Staged::State& s = *staged.state_;
    if (s.core.get() != this)
        throw InvalidArgumentError(fmt::format("put '{}': staged on another shelf", name));
    if (s.inlined) return prepare(name, std::span<const std::byte>(s.value), s.type, id);
    auto p = prepare(name, s.type, s.size);
    std::vector<std::byte> header;
    {
        auto lock = exclusive();
        start_writing();
        ++writable_uses_;
        p->counted = true;
        try {
            p->header = allocate(extent_header_size(name.size(), encoded_type_size(s.type)), kLine);
        } catch (...) {
            lock.unlock();
            throw;
        }
        p->data = std::exchange(s.extent, {});
        header = place(*p, s.type, id != 0 ? id : catalogue_->take_id(), p->data);
    }
    Media& media = *parts_.data;
    if (checksums_) {
        // What nobody wrote counts, too: it is what stores to an earlier blob left, durable or not.
        const bool written = !s.exposed.load() && s.written.load() >= p->entry.size;
        p->entry.content_crc = written ? checksum_in_place(media, p->entry.offset, p->entry.size, name)
                                       : settle(p->entry.offset, p->entry.size, name);
    }
    guarded([&] {
        if (s.exposed.load() && p->entry.size != 0 && !checksums_) media.flush(p->entry.offset, p->entry.size);
        else if (s.behind.load()) media.sync_behind(p->entry.offset, p->entry.size);
        media.write(p->header.offset, header.data(), header.size());
        media.drain();
    });
    return p;
}

}  // namespace pymm
