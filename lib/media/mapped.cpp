#include "media/mapped.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <fmt/format.h>
#include <libpmem2.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>

#include "media/address_space.hpp"
#include "media/guarded_read.hpp"
#include "media/log.hpp"
#include "media/pmem2_handles.hpp"
#include "media/size_limit.hpp"

// Debian 12's headers lack some; the kernel's numbers do not change.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

namespace pymm {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kChunk = kHugePageSize;
// Below it a plain copy and flushes win, above it non-temporal stores (measured, docs/DESIGN.md).
constexpr std::uint64_t kNonTemporalFrom = 4096;
// One descriptor write, and one msync. They bound how long a signal or a full disk waits to be noticed, and how long
// another sync may wait for this one (SyncGate). A sync costs a flush of the disk, be there little to write: 90 MiB in
// synced pieces of 4 MiB took five times as long as in plain ones and an msync (measured, docs/DESIGN.md).
constexpr std::uint64_t kDescriptorPiece = 4 << 20;
constexpr std::uint64_t kSyncPiece = 256 << 20;

// What this process has done to a chunk. Only a hint for the choice of the fastest path, so races
// between threads do no harm.
constexpr std::uint8_t kPopulated = 1;  // its pages are mapped
constexpr std::uint8_t kBacked = 2;     // reserve() has allocated it
constexpr std::uint8_t kReach = 4;      // times how far it was written by descriptor, in kReachUnit: pages up to there exist
constexpr std::uint64_t kReachUnit = 64 << 10;

std::uint64_t round_down(std::uint64_t n, std::uint64_t unit) { return n / unit * unit; }
std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) { return (n + unit - 1) / unit * unit; }

std::string error_text(int error) { return std::generic_category().message(error); }

/// PMEM2_FORCE_GRANULARITY, spelled as libpmem2 accepts it.
std::optional<Granularity> forced_granularity() {
    const char* text = std::getenv("PMEM2_FORCE_GRANULARITY");
    if (text == nullptr) return std::nullopt;
    if (strcasecmp(text, "BYTE") == 0) return Granularity::byte;
    if (strcasecmp(text, "CACHE_LINE") == 0 || strcasecmp(text, "CACHELINE") == 0)
        return Granularity::cache_line;
    if (strcasecmp(text, "PAGE") == 0) return Granularity::page;
    return std::nullopt;
}

pmem2_granularity to_pmem2(Granularity g) {
    switch (g) {
        case Granularity::byte: return PMEM2_GRANULARITY_BYTE;
        case Granularity::cache_line: return PMEM2_GRANULARITY_CACHE_LINE;
        case Granularity::page: break;
    }
    return PMEM2_GRANULARITY_PAGE;
}

bool is_lack_of_space(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

/// Bytes written, or -errno.
std::int64_t write_plain(int fd, const ::iovec* pieces, int count, std::uint64_t offset, int flags = 0) {
    const ssize_t done = ::pwritev2(fd, pieces, count, static_cast<off_t>(offset), flags);
    return done > 0 ? done : done == 0 ? -EIO : -errno;
}

/// True also where that cannot be found out.
bool on_network(int fd) {
    constexpr decltype(statfs::f_type) kCifs = 0xff534d42, kSmb2 = 0xfe534d42, kCeph = 0x00c36400;
    struct statfs fs;
    if (::fstatfs(fd, &fs) != 0) return true;
    return fs.f_type == NFS_SUPER_MAGIC || fs.f_type == SMB_SUPER_MAGIC || fs.f_type == kCifs || fs.f_type == kSmb2 ||
           fs.f_type == kCeph;
}

std::string failure_text(const std::string& name, const char* action, std::uint64_t offset, std::uint64_t size, int error) {
    const char* advice = "";
    switch (error) {
        case ENOSPC:
        case EDQUOT: advice = "; free some space on its file system"; break;
        case EFAULT: advice = "; the memory to be copied from cannot be read (a mapped file that shrank?)"; break;
        case EIO: advice = "; the device failed: see the kernel's log, then check the shelf"; break;
        case EFBIG: advice = "; see the file size limit (ulimit -f)"; break;
        case ENOMEM:
        case EAGAIN: advice = "; see the limits of memory and address space (ulimit -v, -l)"; break;
        default: break;
    }
    return fmt::format("{}: {} {} bytes at offset {} failed: {}{}", name, action, size, offset, error_text(error), advice);
}

}  // namespace

struct MappedMedia::Primitives {
    pmem2_memcpy_fn copy = nullptr;
    pmem2_memset_fn set = nullptr;
    pmem2_flush_fn flush = nullptr;
    pmem2_drain_fn drain = nullptr;
};

// ---- Opening ------------------------------------------------------------------------------------

std::unique_ptr<MappedMedia> MappedMedia::open(int fd, std::string name, bool writable, bool promised,
                                               std::uint64_t address) {
    // The object owns the descriptor from its first moment, so every throw below closes it.
    std::unique_ptr<MappedMedia> media(new MappedMedia(fd, std::move(name), writable, promised));
    media->measure();
    media->map(address);
    media->choose_primitives();
    return media;
}

MappedMedia::MappedMedia(int fd, std::string name, bool writable, bool promised)
    : Media(std::move(name), Granularity::page, writable),
      fd_(fd),
      promised_(promised) {}

MappedMedia::~MappedMedia() {
    if (data_ != nullptr) ::munmap(data_, mapped_);
    if (fd_ >= 0) ::close(fd_);
    std::free(chunks_);
}

void MappedMedia::measure() {
    struct stat st {};
    if (::fstat(fd_, &st) != 0) fail("looking at", 0, 0, errno);
    device_ = S_ISCHR(st.st_mode);
    if (device_)
        size_ = pmem2::source_size(fd_, name());
    else if (S_ISREG(st.st_mode))
        size_ = static_cast<std::uint64_t>(st.st_size);
    else
        throw IoError(name() + ": neither a regular file nor a devdax device", EINVAL);
    if (size_ == 0)
        throw CorruptError(name() + ": the file is empty; restore it from a backup, or erase the shelf");
    mapped_ = round_up(size_, kPage);
}

/// Whether stores reach persistent memory without the file system's help: the kernel grants MAP_SYNC only then, and its
/// answer is the definition of DAX here.
bool MappedMedia::grants_sync(int protection) const {
    // A device maps nothing smaller than its alignment.
    const std::size_t length = device_ ? mapped_ : kPage;
    void* const got = ::mmap(nullptr, length, protection, MAP_SHARED_VALIDATE | MAP_SYNC, fd_, 0);
    if (got == MAP_FAILED) {
        if (errno != EOPNOTSUPP && errno != EINVAL) fail("mapping", 0, length, errno);
        return false;
    }
    ::munmap(got, length);
    return true;
}

void MappedMedia::map(std::uint64_t address) {
    check_address(address, mapped_, name());
    const int protection = writable_ ? PROT_READ | PROT_WRITE : PROT_READ;
    // Asked beforehand and elsewhere: a MAP_FIXED that the file system refuses has unmapped the reservation all the
    // same, and what another thread maps there meanwhile a second try would replace.
    dax_ = grants_sync(protection);
    std::byte* at = reserve_addresses(mapped_, address, name());
    const int flags = (dax_ ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED) | (at != nullptr ? MAP_FIXED : 0);
    void* const got = ::mmap(at, mapped_, protection, flags, fd_, 0);
    // For the same reason nothing is unmapped here: the addresses may be another's.
    if (got == MAP_FAILED) fail("mapping", 0, mapped_, errno);
    data_ = static_cast<std::byte*>(got);
    install_bus_error_handler();
    // Access is random: without it the first touch of a cold page cache waits for readahead, 2-8 ms.
    ::madvise(data_, mapped_, MADV_RANDOM);
}

/// Of libpmem2, for that granularity; they are the same for all mappings. Asked for once in a process: libpmem2 1.12 never
/// gives back the key for thread-specific data that it makes for each mapping, and after some 1,000 there are none, for
/// anybody. Without a lock, which a forked child could find held: asking twice does no harm.
const MappedMedia::Primitives& MappedMedia::primitives_of(Granularity granularity) const {
    static std::array<std::atomic<const Primitives*>, 3> known{};
    std::atomic<const Primitives*>& place = known.at(static_cast<std::size_t>(granularity));
    if (const Primitives* found = place.load(std::memory_order_acquire)) return *found;

    pmem2::Source source(fd_, name());
    pmem2_map* map = nullptr;
    if (const int result = pmem2_map_from_existing(&map, source.get(), data_, mapped_, to_pmem2(granularity)); result != 0)
        pmem2::fail(name(), "registering the mapping", result);
    auto made = std::make_unique<Primitives>();
    made->copy = pmem2_get_memcpy_fn(map);
    made->set = pmem2_get_memset_fn(map);
    made->flush = pmem2_get_flush_fn(map);
    made->drain = pmem2_get_drain_fn(map);
    pmem2_map_delete(&map);  // forgets it; the pages stay mapped
    const Primitives* expected = nullptr;
    if (place.compare_exchange_strong(expected, made.get(), std::memory_order_acq_rel)) return *made.release();
    return *expected;
}

void MappedMedia::choose_primitives() {
    if (dax_) {
        granularity_ = pmem2::is_byte_granular(fd_, writable_, name()) ? Granularity::byte
                                                                       : Granularity::cache_line;
    }
    if (const auto forced = forced_granularity()) granularity_ = *forced;

    // Page granularity works by system calls alone; registering would cost an open 6 us for nothing.
    if (granularity_ != Granularity::page) {
        pmem_ = &primitives_of(granularity_);
        struct statfs fs;
        tmpfs_ = !dax_ && ::fstatfs(fd_, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
    }

    if (writable_) {
        // calloc, not new: for large shelves the zeros cost nothing until they are looked at.
        chunks_ = static_cast<std::uint8_t*>(std::calloc(mapped_ / kChunk + 1, 1));
        if (chunks_ == nullptr) throw std::bad_alloc();
    }
    log().debug("{}: {} bytes mapped, granularity {}{}", name(), size_, static_cast<int>(granularity_),
                dax_ ? ", DAX" : "");
}

// ---- Space --------------------------------------------------------------------------------------

// A reflinked copy (cp --reflink) shares blocks with its origin, and the first store to each needs a new one.
// XFS can give them all now; btrfs copies on every write anyway and cannot promise at all.
void MappedMedia::prepare_for_writing() {
    if (unshared_.exchange(true) || device_) return;
    struct statfs fs;
    if (::fstatfs(fd_, &fs) != 0 || fs.f_type != XFS_SUPER_MAGIC) return;
    // Where there are data only: what was never written is not shared, and XFS would fill holes with storage, so
    // that a sparse shelf had to fit its file system as a whole.
    const auto end = static_cast<off_t>(size_);
    for (off_t from = 0, to = 0; (from = ::lseek(fd_, to, SEEK_DATA)) >= 0 && from < end;) {
        to = ::lseek(fd_, from, SEEK_HOLE);
        if (to < 0 || to > end) to = end;
        int error = 0;
        do {
            error = ::fallocate(fd_, FALLOC_FL_UNSHARE_RANGE, from, to - from) == 0 ? 0 : errno;
        } while (error == EINTR);
        if (error == EOPNOTSUPP || error == EINVAL) return;
        if (error == 0) continue;
        unshared_ = false;
        fail("unsharing", static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(to - from), error);
    }
}

void MappedMedia::reserve(std::uint64_t offset, std::uint64_t size) {
    check_usable(offset, size);
    if (device_ || size == 0) return;
    // Not of a store through the mapping, which no limit stops.
    if (granularity_ == Granularity::page && beyond_size_limit(offset + size)) fail("writing", offset, size, EFBIG);
    if (promised_.load(std::memory_order_relaxed)) return;
    for (std::uint64_t at = round_down(offset, kChunk); at < offset + size; at += kChunk) {
        std::atomic_ref<std::uint8_t> chunk(chunk_of(at));
        if (chunk.load(std::memory_order_relaxed) & kBacked) continue;
        const std::uint64_t want = std::min(kChunk, size_ - at);
        int error = 0;
        do {
            // Not past the file's end: one that somebody shortened would come back as zeros, taken for data.
            error = ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at), static_cast<off_t>(want)) == 0 ? 0 : errno;
        } while (error == EINTR);
        if (error == ENOSPC || error == EDQUOT)
            throw NoSpaceError(fmt::format("{}: no space for {} bytes at offset {} ({}); free some on its "
                                           "file system and try again",
                                           name(), want, at, error_text(error)),
                               error);
        if (error == EOPNOTSUPP || error == ENOSYS) {
            // Nothing can be promised then; a full disk shows when the bytes are written.
            log().info("{}: the file system cannot allocate in advance (fallocate: {})", name(),
                       error_text(error));
            promised_ = true;
            return;
        }
        if (error != 0) fail("allocating", at, want, error);
        chunk.fetch_or(kBacked, std::memory_order_relaxed);
    }
}

// ---- Writing ------------------------------------------------------------------------------------

void MappedMedia::write(std::uint64_t offset, const void* source, std::size_t size) {
    check_usable(offset, size);
    if (size != 0) store(offset, static_cast<const std::byte*>(source), size);
}

void MappedMedia::write_behind(std::uint64_t offset, const void* source, std::size_t size) {
    if (granularity_ != Granularity::page) return write(offset, source, size);
    check_usable(offset, size);
    store_by_descriptor(offset, static_cast<const std::byte*>(source), size, true);
}

void MappedMedia::fill_zero(std::uint64_t offset, std::uint64_t size) {
    check_usable(offset, size);
    if (size != 0) store(offset, nullptr, size);
}

void MappedMedia::store(std::uint64_t offset, const std::byte* source, std::uint64_t size) {
    if (granularity_ == Granularity::page) {
        const bool behind = size > kDescriptorPiece;
        store_by_descriptor(offset, source, size, behind);
        if (behind) flush(offset, size);
        return;
    }
    if (size >= kChunk && !device_) return store_by_chunks(offset, source, size);
    reserve(offset, size);  // a store to a hole of a full file system would be SIGBUS
    if (size >= kNonTemporalFrom) return store_non_temporal(offset, source, size);
    store_mapped(offset, source, size, PMEM2_F_MEM_TEMPORAL | PMEM2_F_MEM_NODRAIN);
}

void MappedMedia::store_mapped(std::uint64_t offset, const std::byte* source, std::uint64_t size, unsigned flags) {
    const std::byte* fault = nullptr;
    const bool stored = survives_bus_error(
        [&]() noexcept {
            if (source != nullptr) pmem_->copy(data_ + offset, source, size, flags);
            else pmem_->set(data_ + offset, 0, size, flags);
        },
        fault);
    if (!stored) throw_bus_error(*this, offset, size, fault, "", "writing");
}

void MappedMedia::store_non_temporal(std::uint64_t offset, const std::byte* source,
                                     std::uint64_t size) {
    store_mapped(offset, source, size, PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_NODRAIN);
}

// A page fault costs four times the copy of its page (measured on tmpfs). So the first write to a place in a chunk
// goes through the descriptor, which needs no faults; the second maps the chunk's pages all at once; from then
// on plain non-temporal stores are the fastest. What continues a first write, as the pieces of one blob do, is a first
// write, too: to map it would give pages zeros first.
void MappedMedia::store_by_chunks(std::uint64_t offset, const std::byte* source, std::uint64_t size) {
    const std::uint64_t end = offset + size;
    std::uint64_t pending = offset;  // [pending, at) is to be written through the descriptor, at once
    const auto write_pending = [&](std::uint64_t to) {
        if (to <= pending) return;
        store_by_descriptor(pending, source ? source + (pending - offset) : nullptr, to - pending);
    };
    for (std::uint64_t at = offset; at < end;) {
        const std::uint64_t next = std::min(end, round_down(at, kChunk) + kChunk);
        std::atomic_ref<std::uint8_t> chunk(chunk_of(at));
        const std::uint8_t state = chunk.load(std::memory_order_relaxed);
        bool mapped = (state & kPopulated) != 0;
        const std::uint64_t base = round_down(at, kChunk);
        if (!mapped && (at - base) / kReachUnit < state / kReach) {
            // Refused by old kernels and where a page cannot be had: the descriptor tells the reason. On tmpfs reading maps
            // pages writable, too, and 16 at once where they are there.
            mapped = ::madvise(data_ + base, std::min(kChunk, mapped_ - base), tmpfs_ ? MADV_POPULATE_READ : MADV_POPULATE_WRITE) == 0;
            if (mapped) chunk.fetch_or(kPopulated, std::memory_order_relaxed);
        }
        if (mapped) {
            write_pending(at);
            store_non_temporal(at, source ? source + (at - offset) : nullptr, next - at);
            pending = next;
        } else {
            const std::uint64_t reach = std::max<std::uint64_t>(state / kReach, (next - base) / kReachUnit);
            chunk.store(static_cast<std::uint8_t>(state % kReach + reach * kReach), std::memory_order_relaxed);
        }
        at = next;
    }
    write_pending(end);
}

void MappedMedia::store_by_descriptor(std::uint64_t offset, const std::byte* source, std::uint64_t size, bool behind) {
    alignas(64) static constexpr std::array<std::byte, 64 << 10> zeros{};
    constexpr std::size_t max_pieces = kDescriptorPiece / zeros.size();
    std::array<::iovec, max_pieces> pieces;
    while (size != 0) {
        std::uint64_t left = std::min(size, kDescriptorPiece);
        int count = 0;
        if (source != nullptr) {
            pieces[0] = {const_cast<std::byte*>(source), left};
            count = 1;
        } else {
            for (; left != 0; ++count) {
                const std::uint64_t piece = std::min<std::uint64_t>(left, zeros.size());
                pieces[static_cast<std::size_t>(count)] = {const_cast<std::byte*>(zeros.data()), piece};
                left -= piece;
            }
        }
        const std::uint64_t done = write_once(offset, pieces.data(), count, behind);
        offset += done;
        size -= done;
        if (source != nullptr) source += done;
    }
}

std::uint64_t MappedMedia::write_once(std::uint64_t offset, const ::iovec* pieces, int count, bool behind) {
    std::uint64_t wanted = 0;
    for (int i = 0; i < count; ++i) wanted += pieces[i].iov_len;
    // Whoever forces a fine granularity on an ordinary file has declared its page cache persistent.
    const bool sync = !behind && (granularity_ == Granularity::page || dax_);
    // Part of it would be written, and the rest be SIGXFSZ.
    if (!device_ && beyond_size_limit(offset + wanted)) fail("writing", offset, wanted, EFBIG);
    for (;;) {
        check_length("writing", offset, wanted);
        const std::int64_t done = behind ? write_unsynced(offset, wanted, pieces, count)
                                  : sync ? write_synced(offset, wanted, pieces, count)
                                         : write_plain(fd_, pieces, count, offset);
        if (done > 0) return static_cast<std::uint64_t>(done);
        const int error = static_cast<int>(-done);
        if (error == EINTR) continue;
        if (sync && (error == EOPNOTSUPP || error == ENOSYS)) {
            if (!no_dsync_.exchange(true))
                log().warn("{}: the file system cannot sync a range (RWF_DSYNC: {}); each commit syncs the "
                           "whole file, which is slow",
                           name(), error_text(error));
            continue;
        }
        fail("writing", offset, wanted, error);
    }
}

std::int64_t MappedMedia::write_synced(std::uint64_t offset, std::uint64_t size, const ::iovec* pieces, int count) {
    SyncGate::Pass pass(syncs_);
    if (syncs_.error() != 0) fail_as_before("writing", offset, size);
    const bool dsync = !no_dsync_.load(std::memory_order_relaxed);
    const std::int64_t done = write_plain(fd_, pieces, count, offset, dsync ? RWF_DSYNC : 0);
    const char* action = "writing";
    int error = done > 0 ? 0 : static_cast<int>(-done);
    if (done > 0 && !dsync && ::fdatasync(fd_) != 0) {
        action = "syncing";
        error = errno;
    } else if (error == 0) {
        if (!pass.synced()) fail_as_before("writing", offset, size);
        return done;
    } else if (error == EINTR || error == EFAULT) {
        return done;  // from the write alone: a call that has written something syncs it, and says how much it was
    } else if (dsync && (error == EOPNOTSUPP || error == ENOSYS)) {
        return done;  // refused at once
    } else if (is_lack_of_space(error) && (dsync ? has_no_space(offset, size, pieces, count) : !on_network(fd_))) {
        return done;
    }
    pass.failed(error);
    fail_sync(action, offset, size, error);
}

// Without a sync an errno is that of the write, except over a network.
std::int64_t MappedMedia::write_unsynced(std::uint64_t offset, std::uint64_t size, const ::iovec* pieces, int count) {
    if (syncs_.error() != 0) fail_as_before("writing", offset, size);
    const std::int64_t done = write_plain(fd_, pieces, count, offset);
    int error = done > 0 ? 0 : static_cast<int>(-done);
    if (error == EINTR || error == EFAULT || (is_lack_of_space(error) && !on_network(fd_))) return done;
    const char* action = "writing";
    if (error == 0) {
        // The whole pages, as others follow. Nothing waits for them here, so no error of theirs is told; but one of
        // beginning may be told to nobody else.
        const std::uint64_t from = round_down(offset, kPage), to = round_down(offset + static_cast<std::uint64_t>(done), kPage);
        if (to <= from) return done;
        if (::sync_file_range(fd_, static_cast<off_t>(from), static_cast<off_t>(to - from), SYNC_FILE_RANGE_WRITE) == 0)
            return done;
        error = errno;
        if (error == ENOSYS || error == EINVAL || error == ESPIPE || error == EPERM) return done;  // not to be had here
        action = "syncing";
    }
    SyncGate::Pass(syncs_).failed(error);
    fail_sync(action, offset, size, error);
}

// A synced write fails for lack of space in two ways, under one errno. Either there was nowhere to write to: then nothing
// was written and nothing synced, and all is as before. Or the bytes were written to the page cache, and the sync failed,
// this one's or that of any page of the file (a thin-provisioned device is full): then nothing is known any more. The
// same write without a sync tells: if it goes through, there is space to write to, so it was the sync. What is written
// here stays unsynced, which does not matter where the media has failed. If the write fails again, it was the write:
// had the file system found space the first time, it would have kept it until the bytes were written back.
// Over a network the write itself may report what was found in writing back, so there it is never the write.
bool MappedMedia::has_no_space(std::uint64_t offset, std::uint64_t size, const ::iovec* pieces, int count) {
    if (on_network(fd_)) return false;
    std::int64_t done;
    do {
        check_length("writing", offset, size);
        done = write_plain(fd_, pieces, count, offset);
    } while (done == -EINTR);
    return done < 0 && is_lack_of_space(static_cast<int>(-done));
}

// ---- Flushing -----------------------------------------------------------------------------------

void MappedMedia::flush(std::uint64_t offset, std::uint64_t size) {
    check_usable(offset, size);
    if (size == 0) return;
    if (granularity_ != Granularity::page) {
        const std::byte* fault = nullptr;
        if (!survives_bus_error([&]() noexcept { pmem_->flush(data_ + offset, size); }, fault))
            throw_bus_error(*this, offset, size, fault, "", "flushing");
        return;
    }
    const std::uint64_t from = round_down(offset, kPage);
    const std::uint64_t to = round_up(offset + size, kPage);
    check_length("syncing", offset, size);  // msync(2) is content with pages that are gone
    for (std::uint64_t at = from; at < to; at += kSyncPiece) {
        const std::uint64_t piece = std::min(kSyncPiece, to - at);
        SyncGate::Pass pass(syncs_);
        if (syncs_.error() != 0) fail_as_before("syncing", at, piece);
        if (::msync(data_ + at, piece, MS_SYNC) != 0) {
            const int error = errno;
            pass.failed(error);
            fail_sync("syncing", at, piece, error);
        }
        if (!pass.synced()) fail_as_before("syncing", at, piece);
    }
}

void MappedMedia::drain() {
    // Page granularity: write() and flush() have waited already.
    if (granularity_ != Granularity::page) pmem_->drain();
}

std::uint64_t MappedMedia::next_data(std::uint64_t offset) const noexcept {
    if (device_ || fd_ < 0) return offset;
    // Moves the offset of the description, which nobody goes by.
    const off_t at = ::lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
    if (at < 0) return errno == ENXIO ? std::max(offset, size_) : offset;
    return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(at), offset, std::max(offset, size_));
}

std::byte* MappedMedia::map_private(std::uint64_t offset, std::uint64_t size) const noexcept {
    if (device_ || detached_) return nullptr;
    void* got = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd_,
                       static_cast<off_t>(offset));
    return got == MAP_FAILED ? nullptr : static_cast<std::byte*>(got);
}

void MappedMedia::detach_in_child() noexcept {
    if (detached_) return;
    detached_ = true;
    // Private pages: what the child stores stays with it, and its views keep their addresses. Devdax
    // refuses private mappings; there the views become read-only.
    const int protection = writable_ ? PROT_READ | PROT_WRITE : PROT_READ;
    if (::mmap(data_, mapped_, protection, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd_, 0) ==
        MAP_FAILED)
        ::mprotect(data_, mapped_, PROT_READ);
    ::close(fd_);
    fd_ = -1;
}

// ---- Helpers ------------------------------------------------------------------------------------

// A write through the descriptor would make a shortened file longer again: the gap would read as zeros, and be taken
// for data. 0.3 us, where a synced write of 64 bytes takes 120 us on a disk and 0.7 us on tmpfs. A file that is cut
// between this and the write is not noticed before the next one: there is no call that writes only where a file is.
void MappedMedia::check_length(const char* action, std::uint64_t offset, std::uint64_t size) const {
    if (device_) return;
    struct stat st;
    if (::fstat(fd_, &st) != 0) fail("looking at", offset, size, errno);
    if (static_cast<std::uint64_t>(st.st_size) >= size_) return;
    throw IoError(fmt::format("{}: {} {} bytes at offset {} failed: the file has {} bytes, it had {}: somebody shortened "
                              "it; close the shelf, restore the file from a copy, and run a check of it", name(), action,
                              size, offset, st.st_size, size_), EIO);
}

std::uint8_t& MappedMedia::chunk_of(std::uint64_t offset) const noexcept {
    return chunks_[offset / kChunk];
}

void MappedMedia::check_usable(std::uint64_t offset, std::uint64_t size) const {
    assert(offset <= size_ && size <= size_ - offset);
    if (detached_)
        throw ClosedError(name() + ": belongs to the parent of this forked process; open it again here");
    // A store to a read-only mapping would be SIGSEGV, so this is checked in every build.
    if (!writable_) throw ReadOnlyError(name() + ": opened read-only");
    (void)offset;
    (void)size;
}

void MappedMedia::fail(const char* action, std::uint64_t offset, std::uint64_t size, int error) const {
    // The media is sound after these: what was to be written is not.
    if (is_lack_of_space(error)) throw NoSpaceError(failure_text(name(), action, offset, size, error), error);
    throw IoError(failure_text(name(), action, offset, size, error), error);
}

void MappedMedia::fail_sync(const char* action, std::uint64_t offset, std::uint64_t size, int error) const {
    throw IoError(failure_text(name(), action, offset, size, error), error);
}

void MappedMedia::fail_as_before(const char* action, std::uint64_t offset, std::uint64_t size) const {
    const int error = syncs_.error();
    throw IoError(fmt::format("{}: {} {} bytes at offset {} failed, as a sync of this file has failed: {}; nothing that is "
                              "written from then on counts until it is opened again", name(), action, size, offset,
                              error_text(error)), error);
}

}  // namespace pymm
