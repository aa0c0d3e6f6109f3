// MappedMedia: a file or a devdax device mapped through libpmem2; the Media of real shelves.
//
// Three kinds of media behind one class:
//  * byte and cache_line granularity (DAX, proven by MAP_SYNC): stores, flushes and fences;
//  * page granularity (every other file): writes through the descriptor with RWF_DSYNC, so that a write
//    costs what it covers and not what else is dirty in the file; msync for stores through data(), and behind large
//    writes, which go in pieces that the kernel begins to write back while the next one is copied.
//    write() and fill_zero() have returned only when the bytes are durable. Once a sync has failed, every later one,
//    and every one that was under way, is an IoError, whatever the kernel says to it;
//  * a granularity forced by PMEM2_FORCE_GRANULARITY (BYTE, CACHE_LINE, PAGE), as libpmem2(7) has it.
//
// Sources: libpmem2(7), pmem2_map_from_existing(3), mmap(2) MAP_SYNC, pwritev2(2) RWF_DSYNC, msync(2),
// madvise(2) MADV_POPULATE_WRITE, fallocate(2), lseek(2) SEEK_DATA.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "media/media.hpp"
#include "media/sync_gate.hpp"

namespace pymm {

class MappedMedia final : public Media {
public:
    /// Maps all of `fd`, which is taken over, on failure too. `promised`: storage was allocated at
    /// creation, so that reserve() has nothing to do. `address`: where it is to be mapped if that is free; 0: anywhere.
    /// Throws IoError; CorruptError for an empty file; InvalidArgumentError where nothing can be mapped at `address`.
    static std::unique_ptr<MappedMedia> open(int fd, std::string name, bool writable, bool promised,
                                             std::uint64_t address = 0);
    ~MappedMedia() override;

    void prepare_for_writing() override;
    void reserve(std::uint64_t offset, std::uint64_t size) override;
    void write(std::uint64_t offset, const void* source, std::size_t size) override;
    void write_behind(std::uint64_t offset, const void* source, std::size_t size) override;
    void fill_zero(std::uint64_t offset, std::uint64_t size) override;
    void flush(std::uint64_t offset, std::uint64_t size) override;
    void drain() override;
    std::uint64_t next_data(std::uint64_t offset) const noexcept override;
    std::byte* map_private(std::uint64_t offset, std::uint64_t size) const noexcept override;
    void detach_in_child() noexcept override;

private:
    struct Primitives;  // what libpmem2 chose for a granularity

    MappedMedia(int fd, std::string name, bool writable, bool promised);

    // The steps of open(), in order.
    void measure();
    bool grants_sync(int protection) const;
    void map(std::uint64_t address);
    void choose_primitives();
    const Primitives& primitives_of(Granularity granularity) const;

    /// One store of a write() or fill_zero(): `source` null stands for zeros.
    void store(std::uint64_t offset, const std::byte* source, std::uint64_t size);
    void store_by_chunks(std::uint64_t offset, const std::byte* source, std::uint64_t size);
    void store_non_temporal(std::uint64_t offset, const std::byte* source, std::uint64_t size);
    /// By the processor; IoError where the mapping has no memory behind it any more.
    void store_mapped(std::uint64_t offset, const std::byte* source, std::uint64_t size, unsigned flags);
    /// Durable on return where the mapping is not forced; `behind`: after flush().
    void store_by_descriptor(std::uint64_t offset, const std::byte* source, std::uint64_t size, bool behind = false);
    /// Bytes written, at least one; throws.
    std::uint64_t write_once(std::uint64_t offset, const ::iovec* pieces, int count, bool behind);
    /// Bytes written, or -errno where nothing was written and the media has not failed; throws when it has.
    std::int64_t write_unsynced(std::uint64_t offset, std::uint64_t size, const ::iovec* pieces, int count);
    /// Bytes written and synced, or -errno where nothing was written and no sync has failed; throws when one has.
    std::int64_t write_synced(std::uint64_t offset, std::uint64_t size, const ::iovec* pieces, int count);
    /// After a write that was to be synced too has failed for lack of space: true when it was the write that failed.
    bool has_no_space(std::uint64_t offset, std::uint64_t size, const ::iovec* pieces, int count);

    /// Throws IoError where somebody has shortened the file.
    void check_length(const char* action, std::uint64_t offset, std::uint64_t size) const;
    std::uint8_t& chunk_of(std::uint64_t offset) const noexcept;
    void check_usable(std::uint64_t offset, std::uint64_t size) const;
    /// NoSpaceError where `error` says so, else IoError.
    [[noreturn]] void fail(const char* action, std::uint64_t offset, std::uint64_t size,
                           int error) const;
    /// IoError, whatever the error.
    [[noreturn]] void fail_sync(const char* action, std::uint64_t offset, std::uint64_t size, int error) const;
    /// Where another sync has failed.
    [[noreturn]] void fail_as_before(const char* action, std::uint64_t offset, std::uint64_t size) const;

    const Primitives* pmem_ = nullptr;  // none for pages
    std::uint8_t* chunks_ = nullptr;  // hints about each 2 MiB; from calloc
    std::uint64_t mapped_ = 0;        // size_ in whole pages
    int fd_ = -1;
    bool device_ = false;    // devdax: no write(2)
    bool dax_ = false;       // MAP_SYNC was granted
    bool tmpfs_ = false;     // taken for persistent memory
    std::atomic<bool> promised_;
    std::atomic<bool> unshared_{false};  // prepare_for_writing() was done
    bool detached_ = false;  // in a forked child
    std::atomic<bool> no_dsync_{false};  // RWF_DSYNC is refused by this file system
    SyncGate syncs_;
};

}  // namespace pymm
