// What changes a blob under its id. Appending: behind its end, where nothing that a commit names lies, then one commit
// that moves the end. Order and cost: docs/DESIGN.md, "Append".
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>

#include "format/crc32c.hpp"
#include "format/type_codec.hpp"
#include "media/guarded_read.hpp"
#include "shelf/planner.hpp"
#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

namespace {

constexpr std::size_t kPiece = 4 << 20;
// Up to here an extent that is full is followed by one of twice the size, then by one of one and a half.
constexpr std::uint64_t kDoubled = 1 << 20;

/// Bytes of a new extent for a blob of `size` that grows: whole pages, so that what comes shares them with nobody.
std::uint64_t extent_to_grow(std::uint64_t size) {
    return round_up(size + (size < kDoubled ? size : size / 2), kPage);
}

/// Whether the first `size` bytes of the extent can be the blob's: from a page on it owns its pages.
bool holds(const BlobInfo& blob, std::uint64_t size) {
    return size <= blob.extent && (size < kPage || (blob.offset % kPage == 0 && blob.extent % kPage == 0));
}

/// The type with `more` bytes behind the data.
Type grown(const BlobInfo& blob, std::uint64_t more) {
    const auto refuse = [&](std::string_view why) {
        throw InvalidArgumentError(fmt::format("append to '{}' ({}): {}", blob.name, blob.type.describe().substr(0, 200), why));
    };
    if (blob.size + more < more || blob.size + more > static_cast<std::uint64_t>(INT64_MAX)) refuse("it would be too large");
    const Type& old = blob.type;
    if (!is_array(old.kind)) {
        if (!can_grow(old.kind)) refuse("values are replaced by put; raw bytes, arrays and linked lists can be appended to");
        return old;
    }
    if (old.shape.empty()) refuse("it has no dimensions, so there are no rows");
    std::vector<std::int64_t> shape = old.shape;
    shape[0] = 1;
    const Type row = Type::array(old.dtype, old.itemsize, shape);
    const std::uint64_t row_size = row.nbytes();
    if (row_size == 0) refuse("its rows have no bytes");
    if (!old.c_contiguous()) refuse("only arrays in C order grow along their first axis");
    if (more % row_size != 0) refuse(fmt::format("{} bytes are no whole rows of {}", more, row_size));
    shape[0] = static_cast<std::int64_t>((blob.size + more) / row_size);
    if (const auto most = old.max_rows(); most && static_cast<std::uint64_t>(shape[0]) > *most)
        refuse(fmt::format("it was made for {} rows at most, and would have {}", *most, shape[0]));
    Type type = Type::array(old.dtype, old.itemsize, std::move(shape));
    type.kind = old.kind;
    return type;
}

/// grown(), if the blob is what the caller expects.
Type expect(const BlobInfo& old, std::uint64_t more, const AppendTo& to) {
    if (to.id && old.id != *to.id)
        throw NotFoundError(fmt::format("append to '{}': blob {} is not there any more: it was replaced or renamed", old.name,
                                        *to.id));
    if (to.size && old.size != *to.size)
        throw InvalidArgumentError(fmt::format("append to '{}': it has {} bytes, not {}: look at it again", old.name, old.size,
                                               *to.size));
    return grown(old, more);
}

}  // namespace

/// One append to an extent at a time, and none while its blob is sealed.
class ShelfCore::AppendTurn {
public:
    AppendTurn(ShelfCore& core, std::uint64_t offset) : core_(core), offset_(offset) {}
    AppendTurn(const AppendTurn&) = delete;
    AppendTurn& operator=(const AppendTurn&) = delete;
    ~AppendTurn() {
        if (!taken_ || core_.forked_.load()) return;
        {
            const std::unique_lock lock(core_.mutex_);
            core_.appending_.erase(offset_);
        }
        core_.append_done_.notify_all();
    }
    void take(std::unique_lock<std::shared_mutex>& lock) {
        core_.append_done_.wait(lock, [&] { return !core_.appending_.contains(offset_); });
        taken_ = core_.appending_.insert(offset_).second;
    }

private:
    ShelfCore& core_;
    std::uint64_t offset_;
    bool taken_ = false;
};

BlobInfo ShelfCore::append(std::string_view name, std::span<const std::byte> data, const AppendTo& to) {
    {
        const auto lock = exclusive();
        require_writable();
    }
    check_blob_name(name);
    for (;;)
        if (auto done = joins() ? append_in_transaction(name, data, to) : try_append(name, data, to)) return *std::move(done);
}

// The first one of a transaction copies the blob to an extent that no commit names yet; later ones add to that. What
// other threads did to the blob during the copy counts: then nothing is returned, and it begins anew.
std::optional<BlobInfo> ShelfCore::append_in_transaction(std::string_view name, std::span<const std::byte> data,
                                                         const AppendTo& to) {
    const View view = open_view(name, Access::read);
    const BlobInfo& old = view.info();
    const Type type = expect(old, data.size(), to);
    const std::uint64_t size = old.size + data.size();
    if (old.sealed) throw ReadOnlyError(fmt::format("append to '{}': it is sealed: erase it, and put it anew", name));
    if (data.empty()) return old;
    // The version that the transaction has put, under the lock.
    const auto ours = [&]() -> std::unique_ptr<Prepared>* {
        auto& changes = own_transaction().changes;
        const auto change = changes.find(name);
        return change == changes.end() || !change->second.prepared ? nullptr : &change->second.prepared;
    };
    bool fits = false;
    std::unique_ptr<Prepared> before, p = prepare(name, type, size);
    std::vector<std::byte> header;
    {
        const auto lock = exclusive();
        start_writing();
        require_spare(name);
        fits = ours() != nullptr && !old.inlined && holds(old, size);
        ++writable_uses_;
        p->counted = true;
        if (!fits) {
            const std::uint64_t extent = extent_to_grow(size);
            p->data = allocate(extent, alignment_for(extent));
        }
        p->header = allocate(extent_header_size(name.size(), encoded_type_size(type)), kLine);
        p->entry.mode = old.mode;
        header = place(*p, type, old.id, fits ? Extent{old.offset, old.extent} : p->data);
    }
    const std::uint32_t crc = write_appended(*p, view, !fits, data, header);
    {
        const auto lock = exclusive();
        require_writable();
        EntryView entry;
        if (!look_up(name, entry) || entry.fixed.id != old.id || entry.fixed.sequence != old.sequence ||
            entry.fixed.size != old.size || (entry.fixed.flags & kEntrySealed) != 0)
            return {};
        // A claim that was given up meanwhile is void for good; of a copy all was summed as it was written.
        const bool stands = (entry.fixed.flags & kEntryContentCrc) != 0;
        const bool sound = checksums_ && (old.checksum ? stands : !fits);
        p->entry.flags &= ~kEntryContentCrc;
        if (sound) p->entry.flags |= kEntryContentCrc;
        p->entry.content_crc = sound ? crc : 0;
        p->entry.created_ns = entry.fixed.created_ns;
        p->entry.modified_ns = now_ns();
        if (fits) {
            // Their extent passes from one to the other.
            std::unique_ptr<Prepared>& now = *ours();
            p->data = std::exchange(now->data, {});
            release_staged(std::exchange(now->header, {}));
            p->entry.sequence = ++tx_versions_;
            before = std::exchange(now, std::move(p));
        } else {
            set_change(name, p, before);
        }
        tx_->counted = false;
    }
    return *find(name);
}

// Nothing where the name came to mean something else meanwhile.
std::optional<BlobInfo> ShelfCore::try_append(std::string_view name, std::span<const std::byte> data, const AppendTo& to) {
    // Pins the extent: what is written behind the end reaches nobody else, whatever becomes of the name.
    const View view = get(name, Access::read);
    const BlobInfo& old = view.info();
    const Type type = expect(old, data.size(), to);
    const std::uint64_t size = old.size + data.size();
    std::unique_ptr<Prepared> p = prepare(name, type, size);
    AppendTurn turn(*this, old.offset);
    bool moves = false;
    std::vector<std::byte> header;
    {
        auto lock = exclusive();
        if (!old.inlined) turn.take(lock);
        start_writing();
        EntryView entry;
        const bool there = catalogue_->find(name, entry);
        if (const TransactionState* others = others_transaction())
            others->refuse("append to", name, there ? &entry.fixed : nullptr);
        if (!there || entry.fixed.id != old.id || entry.fixed.sequence != old.sequence) return {};
        Planner::require_unsealed("append to", name, entry.fixed);
        if (!old.inlined && sealing_ == old.offset)
            throw ReadOnlyError(fmt::format("append to '{}': it is just being sealed", name));
        if (data.empty()) return old;
        require_spare(name);
        ++writable_uses_;
        p->counted = true;
        p->header = allocate(extent_header_size(name.size(), encoded_type_size(type)), kLine);
        if (old.inlined || !holds(old, size)) moves = !make_longer(*p, old, size);
        p->entry.mode = old.mode;
        header = place(*p, type, old.id, moves ? p->data : Extent{old.offset, old.extent + p->data.size});
    }
    const std::uint64_t at = p->entry.offset;
    const std::uint32_t crc = write_appended(*p, view, moves, data, header);

    const auto lock = exclusive();
    start_writing();
    EntryView entry;
    if (!catalogue_->find(name, entry) || entry.fixed.id != old.id || entry.fixed.sequence != old.sequence ||
        (entry.fixed.flags & kEntrySealed) != 0)
        return {};
    // A claim that was given up since then is void for good. One that was void before is right again for a copy, of
    // which all was summed as it was written.
    const bool sound = old.checksum ? (entry.fixed.flags & kEntryContentCrc) != 0 : moves && checksums_;
    p->entry.flags &= ~kEntryContentCrc;
    if (sound) p->entry.flags |= kEntryContentCrc;
    p->entry.content_crc = sound ? crc : 0;
    p->entry.attr_offset = entry.fixed.attr_offset;
    p->entry.attr_size = entry.fixed.attr_size;
    const std::uint64_t now = now_ns();
    Planner plan(*catalogue_, builder_, true, others_transaction());
    plan.append(p->version(), now);
    commit_built(name, now);
    if (const auto pin = pins_.find(at); pin != pins_.end()) pin->second.header = p->entry.header_offset;
    p->header = p->data = {};
    BlobInfo result = old;
    result.type = type;
    result.size = size;
    result.offset = at;
    result.extent = p->entry.extent;
    result.sequence = catalogue_->sequence();
    result.modified = Clock::time_point(std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(now)));
    result.inlined = false;
    result.checksum = sound ? std::optional(crc) : std::nullopt;
    return result;
}

// Durable on return: the new bytes, the header, and where the blob `moves` the old bytes. The checksum of all of it. A
// claimed one is gone on from, so that damage to what it is of stays damage.
std::uint32_t ShelfCore::write_appended(const Prepared& p, const View& view, bool moves, std::span<const std::byte> data,
                                        std::span<const std::byte> header) {
    const BlobInfo& old = view.info();
    Media& media = *parts_.data;
    std::uint32_t crc = old.checksum.value_or(0);
    if (moves) {
        const std::uint32_t copied = copy_blob(view, p.entry.offset);
        if (!old.checksum) crc = copied;
    }
    try {
        crc = copy_in(p.entry.offset + old.size, data, crc);
        media.write(p.header.offset, header.data(), header.size());
        media.drain();
    } catch (const IoError& error) {
        // The caller's memory vanished: nothing is wrong with the media.
        if (error.os_error() == EFAULT) throw;
        fail(error);
    }
    return crc;
}

// Wants the lock. True: the extent stays where it is, and `p.data` is what follows it. False: `p.data` is a new one.
bool ShelfCore::make_longer(Prepared& p, const BlobInfo& old, std::uint64_t size) {
    const auto behind = [&](std::uint64_t extent) {
        // A huge page wants an extent that starts on one.
        if (old.inlined || old.extent % kPage != 0 || old.offset % alignment_for(extent) != 0) return false;
        if (!catalogue_->space().allocate_at(old.offset + old.extent, extent - old.extent)) return false;
        p.data = {old.offset + old.extent, extent - old.extent};
        return true;
    };
    const std::uint64_t wanted = extent_to_grow(size), least = round_up(size, kPage);
    if (behind(wanted)) return true;
    try {
        p.data = allocate(wanted, alignment_for(wanted));
        return false;
    } catch (const NoSpaceError&) {
        if (wanted == least) throw;
    }
    if (behind(least)) return true;
    p.data = allocate(least, alignment_for(least));
    return false;
}

// All of the blob's bytes to `to`, but for the fence; the checksum of what was written, where the shelf records them.
std::uint32_t ShelfCore::copy_blob(const View& view, std::uint64_t to) {
    const BlobInfo& blob = view.info();
    if (blob.inlined) return guarded([&] { return copy_in(to, view.bytes()); });
    Media& media = *parts_.data;
    const std::size_t room = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, blob.size));
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(room);
    const std::string what = fmt::format("blob '{}'", blob.name);
    std::uint32_t crc = 0;
    for (std::uint64_t at = 0; at < blob.size; at += room) {
        const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(room, blob.size - at));
        guarded_copy(buffer.get(), media, blob.offset + at, piece, what);
        if (checksums_) crc = crc32c(buffer.get(), piece, crc);
        guarded([&] { media.write_behind(to + at, buffer.get(), piece); });
    }
    guarded([&] { media.sync_behind(to, blob.size); });
    return crc;
}

void ShelfCore::replace(std::string_view name, Staged staged, std::uint64_t id, std::uint64_t size) {
    check_blob_name(name);
    auto prepared = prepare(name, std::move(staged), id);
    const auto check = [&] {
        EntryView entry;
        const bool there = look_up(name, entry);
        if (const TransactionState* others = others_transaction())
            others->refuse("replace", name, there ? &entry.fixed : nullptr);
        if (there && entry.fixed.id == id && entry.fixed.size == size) return;
        throw NotFoundError(fmt::format("shelf '{}': replace '{}': blob {} with {} bytes is not there any more; look at it "
                                        "again", parts_.name, name, id, size));
    };
    if (joins()) put_in_transaction(std::move(prepared), check);
    else commit_one(*prepared, check);
}

}  // namespace pymm
