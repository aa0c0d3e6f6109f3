// Media: the one interface through which persistent memory is mapped, written, flushed and fenced.
//
// Contract (what the layers above rely on; the simulator in tests/ implements the same):
//
//  * An object covers bytes [0, size) of one file or device, mapped at data(). data() does not change
//    while the object lives.
//  * A byte changed by write() or fill_zero(), or stored through data() and then covered by flush(), is
//    *durable* once a drain() that began afterwards has returned. Any changed byte *may* become durable
//    at any moment before that, in any order, in pieces as small as 8 aligned bytes.
//  * write(), fill_zero() and flush() may return with the bytes already durable (page granularity).
//  * Concurrent calls on disjoint ranges are safe. drain() covers what the calling thread wrote or
//    flushed; it promises nothing about other threads' ranges.
//  * Failure: IoError (or NoSpaceError from reserve() and the writing calls, see write()). After an IoError of a write,
//    flush or drain the state of the range is unknown, and that of all other ranges that were changed and not durable
//    yet: the caller must treat the media as read-only and never retry as if nothing had happened. A sync never fails
//    by NoSpaceError.
//  * Offsets are bytes; ranges outside [0, size) are a caller's bug and are asserted.
//
// Sources: libpmem2(7), pmem2_map_from_existing(3), pmem2_get_memcpy_fn(3), pmem2_get_persist_fn(3);
// pwritev2(2) RWF_DSYNC and msync(2) for page granularity.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <pymm/shelf.hpp>

namespace pymm {

class Media {
public:
    virtual ~Media() = default;
    Media(const Media&) = delete;
    Media& operator=(const Media&) = delete;

    std::byte* data() const noexcept { return data_; }
    std::uint64_t size() const noexcept { return size_; }
    Granularity granularity() const noexcept { return granularity_; }
    bool writable() const noexcept { return writable_; }
    /// For messages: the path of the file or device.
    const std::string& name() const noexcept { return name_; }

    /// Makes sure that storage stands behind the range, so that later writes, and stores through data(),
    /// cannot fail for lack of space. Throws NoSpaceError. Cheap when it was done before.
    virtual void reserve(std::uint64_t offset, std::uint64_t size) = 0;

    /// Called once before the first store of a session: blocks shared with a reflinked copy get storage
    /// of their own now, so that a store never fails for lack of space. Throws NoSpaceError, IoError.
    virtual void prepare_for_writing() {}

    /// Copies `size` bytes to `offset`. Throws NoSpaceError where nothing was reserved and nothing is left, or where
    /// the file system needs space even to write to what was reserved (copy on write, quotas, thin volumes). The range
    /// then holds old bytes, new ones or both, durable or not, until all of it is written again; all else is as it
    /// was. So it may be tried again where nothing refers to the range, or the bytes are those that were there; else
    /// it is a failure as any other.
    virtual void write(std::uint64_t offset, const void* source, std::size_t size) = 0;
    virtual void fill_zero(std::uint64_t offset, std::uint64_t size) = 0;

    /// As write(), for one of several pieces: where write() returns with the bytes durable (page granularity), these are
    /// so only after sync_behind() of a range that holds them. One sync of all pieces costs less than one of each.
    virtual void write_behind(std::uint64_t offset, const void* source, std::size_t size) { write(offset, source, size); }
    /// What write_behind() wrote to the range, by any thread, is from now on as if write() had written it.
    void sync_behind(std::uint64_t offset, std::uint64_t size) {
        if (granularity_ == Granularity::page) flush(offset, size);
    }

    /// For stores made through data().
    virtual void flush(std::uint64_t offset, std::uint64_t size) = 0;
    /// Fence: waits until everything written or flushed before is durable.
    virtual void drain() = 0;

    void persist(std::uint64_t offset, std::uint64_t size) {
        flush(offset, size);
        drain();
    }

    /// Some offset at or behind `offset`, and not behind size(), with nothing but zeros between: never stored to. Media
    /// that do not know answer `offset`. To pass over holes without reading them.
    virtual std::uint64_t next_data(std::uint64_t offset) const noexcept { return offset; }

    /// A private mapping of the range, whole pages, that may be stored to: the kernel copies what is, and the media
    /// never sees it. The caller unmaps it. Null where there is none to be had: then the caller copies.
    virtual std::byte* map_private(std::uint64_t offset, std::uint64_t size) const noexcept {
        (void)offset;
        (void)size;
        return nullptr;
    }

    /// After fork(2), in the child: stores must never reach the media again. Async-signal-safe.
    virtual void detach_in_child() noexcept {}

protected:
    Media(std::string name, Granularity granularity, bool writable)
        : granularity_(granularity), writable_(writable), name_(std::move(name)) {}

    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
    Granularity granularity_;
    bool writable_;

private:
    std::string name_;
};

}  // namespace pymm
