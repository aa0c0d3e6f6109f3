// Content checksums: recorded by puts where the shelf wants them, and by sealing; void once somebody may store
// to the data. A checksum is never wrong, only absent, which is a matter of order (docs/FORMAT.md, "Content
// checksums"; docs/DESIGN.md, "Seal").
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "format/crc32c.hpp"
#include "media/guarded_read.hpp"
#include "shelf/core.hpp"
#include "shelf/planner.hpp"
#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

namespace {

// A put with a checksum goes through a buffer of this size: large enough that a synced write of it costs what
// the medium writes, and a multiple of the chunks that the media thinks in.
constexpr std::size_t kPiece = 4 << 20;
// From this size on a look-up before the copy is worth while.
constexpr std::uint64_t kMuch = 1 << 20;

}  // namespace

std::uint32_t checksum_in_place(const Media& media, std::uint64_t offset, std::uint64_t size, std::string_view name) {
    std::uint32_t crc = 0;
    guarded_read(media, offset, size, fmt::format("blob '{}'", name),
                 [&]() noexcept { crc = crc32c(media.data() + offset, static_cast<std::size_t>(size)); });
    return crc;
}

void copy_from_caller(std::byte* to, std::span<const std::byte> from) {
    const std::byte* fault = nullptr;
    if (!survives_bus_error([&]() noexcept { std::memcpy(to, from.data(), from.size()); }, fault))
        throw IoError("put: the memory to be copied from cannot be read (a mapped file that shrank?); nothing has "
                      "changed", EFAULT);
}

// What is summed is what was written, though another thread may store to the source meanwhile.
std::uint32_t ShelfCore::copy_in(std::uint64_t offset, std::span<const std::byte> data, std::uint32_t seed) {
    Media& media = *parts_.data;
    if (!checksums_) {
        media.write(offset, data.data(), data.size());
        return 0;
    }
    const std::size_t room = std::min(kPiece, data.size());
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(room);
    std::uint32_t crc = seed;
    for (std::size_t at = 0; at < data.size(); at += room) {
        const std::size_t size = std::min(room, data.size() - at);
        copy_from_caller(buffer.get(), data.subspan(at, size));
        crc = crc32c(buffer.get(), size, crc);
        if (size == data.size()) media.write(offset, buffer.get(), size);
        else media.write_behind(offset + at, buffer.get(), size);
    }
    if (room < data.size()) media.sync_behind(offset, data.size());
    return crc;
}

// Others may have stored these bytes: a process that died and never flushed them, or one whose sync failed. After that
// the pages are clean in the cache and old on the media, so a flush would not write them. They are written again.
std::uint32_t ShelfCore::settle(std::uint64_t offset, std::uint64_t size, std::string_view name) {
    Media& media = *parts_.data;
    if (media.granularity() != Granularity::page) {
        guarded([&] { media.flush(offset, size); });
        return checksum_in_place(media, offset, size, name);
    }
    const std::size_t room = std::min<std::uint64_t>(kPiece, size);
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(room);
    const std::string what = fmt::format("blob '{}'", name);
    std::uint32_t crc = 0;
    for (std::uint64_t at = 0; at < size; at += room) {
        const std::size_t piece = std::min<std::uint64_t>(room, size - at);
        guarded_copy(buffer.get(), media, offset + at, piece, what);
        crc = crc32c(buffer.get(), piece, crc);
        guarded([&] {
            if (piece == size) media.write(offset, buffer.get(), piece);
            else media.write_behind(offset + at, buffer.get(), piece);
        });
    }
    if (room < size) guarded([&] { media.sync_behind(offset, size); });
    return crc;
}

void ShelfCore::refuse_sealed(std::string_view name, std::uint64_t size) {
    if (size < kMuch) return;
    const auto lock = exclusive();
    EntryView entry;
    if (catalogue_->find(name, entry)) Planner::require_unsealed("put", name, entry.fixed);
}

void ShelfCore::drop_checksum(std::string_view name, std::uint32_t flags) {
    if (tx_) {
        const auto it = tx_->changes.find(name);
        if (it != tx_->changes.end() && it->second.prepared) {
            it->second.prepared->entry.flags &= ~kEntryContentCrc;  // which no commit has claimed
            return;
        }
        if (it != tx_->changes.end()) name = it->second.origin;
    }
    start_writing();
    Planner plan(*catalogue_, builder_, true);
    plan.mark(name, flags & ~kEntryContentCrc, 0);
    commit_built(name, now_ns());
}

void ShelfCore::seal(std::string_view name) {
    require_not_forked();
    if (joins())
        throw InvalidArgumentError(fmt::format("shelf '{}': seal '{}': not inside a transaction; seal it before, or behind "
                                               "its end", parts_.name, name));
    const std::lock_guard one(seal_mutex_);
    for (;;) {
        // What takes part in a transaction may yet be undone; asked again wherever the lock was given up.
        const auto refuse_taking_part = [&] {
            EntryView entry;
            if (const TransactionState* others = others_transaction())
                others->refuse("seal", name, catalogue_->find(name, entry) ? &entry.fixed : nullptr);
        };
        {
            const auto lock = exclusive();
            require_writable();
            refuse_taking_part();
        }
        // Pins the extent, so that it stays this blob's while it is read without the lock.
        const View view = get(name, Access::read);
        const BlobInfo& blob = view.info();
        if (blob.sealed) return;
        {
            auto lock = exclusive();
            append_done_.wait(lock, [&] { return !appending_.contains(blob.offset); });
            refuse_taking_part();
            start_writing();
            if (!blob.inlined) {
                const auto pin = pins_.find(blob.offset);
                if (pin != pins_.end() && pin->second.writable != 0)
                    throw PinnedError(fmt::format("shelf '{}': seal '{}': a writable view of it is in use in this "
                                                  "process; drop that first", parts_.name, name));
                sealing_ = blob.offset;  // from here on there can be none
            }
        }
        struct Done {
            ShelfCore& core;
            ~Done() {
                std::unique_lock lock(core.mutex_);
                core.sealing_ = 0;
            }
        };
        std::uint32_t crc = 0;
        {
            const Done done{*this};
            if (blob.inlined) {
                crc = crc32c(view.bytes().data(), view.bytes().size());
            } else if (blob.size != 0) {
                crc = settle(blob.offset, blob.size, name);
                guarded([&] { parts_.data->drain(); });
            }
            const auto lock = exclusive();
            refuse_taking_part();
            start_writing();
            EntryView entry;
            // Replaced, renamed or appended to meanwhile: what bears the name now was not summed.
            if (catalogue_->find(name, entry) && entry.fixed.id == blob.id && entry.fixed.sequence == blob.sequence) {
                if (!blob.inlined) touched_.erase(blob.offset);  // nobody stored since
                Planner plan(*catalogue_, builder_, true);
                plan.mark(name, entry.fixed.flags | kEntrySealed | kEntryContentCrc, crc);
                commit_built(name, now_ns());
                return;
            }
        }
    }
}

}  // namespace pymm
