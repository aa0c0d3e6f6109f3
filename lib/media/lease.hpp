// Lease: who may write a shelf, and which bytes readers in other processes look at.
//
// Contract:
//  * At most one Lease holds the writer's lock of a shelf, over all processes. It is given up by
//    release_writer() or destruction, and by the death of the process.
//  * A reader marks the extents that it looks at: those of the root it works from, and those it has views
//    of. The writer asks before it reuses anything. Marks vanish with the process that set them.
//  * Setting a mark, and asking for marks, are full fences: of a writer that publishes, then asks, and a reader that
//    marks, then looks again, at least one sees what the other did.
//  * Calls do not block. Thread-safe.
//
// Source: fcntl(2), "Open file description locks".
#pragma once

#include <cstdint>
#include <optional>

namespace pymm {

class Lease {
public:
    virtual ~Lease() = default;

    /// False when another open file description holds it.
    virtual bool try_acquire_writer() = 0;
    virtual void release_writer() noexcept = 0;
    /// True when some other open file description holds the writer's lock.
    virtual bool writer_alive() = 0;

    virtual void mark_extent(std::uint64_t offset, std::uint64_t size) = 0;
    virtual void unmark_extent(std::uint64_t offset, std::uint64_t size) noexcept = 0;
    /// True when another process has marked any byte of the range.
    virtual bool extent_marked(std::uint64_t offset, std::uint64_t size) = 0;

    struct Mark {
        std::uint64_t offset, size;  ///< ends at 2^63 at most
    };
    /// A mark of another process that has bytes of the range, and may reach beyond it; which one of several is not said.
    /// To pass over it in one step. Where its ends are not known it is the range itself.
    virtual std::optional<Mark> mark_in(std::uint64_t offset, std::uint64_t size) {
        if (!extent_marked(offset, size)) return std::nullopt;
        return Mark{offset, size};
    }

    /// After fork(2), in the child: drops descriptors without unlocking. Async-signal-safe.
    virtual void detach_in_child() noexcept = 0;
};

/// A reader's mark of one extent, given up at the end of the scope unless kept.
class ScopedMark {
public:
    explicit ScopedMark(Lease& lease) noexcept : lease_(lease) {}
    ~ScopedMark() { unset(); }
    ScopedMark(const ScopedMark&) = delete;
    ScopedMark& operator=(const ScopedMark&) = delete;

    /// Marks this instead of what is marked. True when there was nothing to do. Of no bytes there is no mark.
    bool set(std::uint64_t offset, std::uint64_t size) {
        if (size == size_ && (size == 0 || offset == offset_)) return true;
        unset();
        if (size == 0) return true;
        lease_.mark_extent(offset, size);
        offset_ = offset;
        size_ = size;
        return false;
    }
    /// Leaves the mark to whoever calls unmark_extent().
    void keep() noexcept { size_ = 0; }

private:
    void unset() noexcept {
        if (size_ != 0) lease_.unmark_extent(offset_, size_);
        size_ = 0;
    }

    Lease& lease_;
    std::uint64_t offset_ = 0;
    std::uint64_t size_ = 0;  // 0: none
};

}  // namespace pymm
