// FileLease: the Lease of shelves in files, by open-file-description locks.
//
//   NAME.map   byte 2^40                  write lock: the writer
//   NAME.data  byte 2^60                  write lock: the writer, too
//   NAME.data  bytes of an extent         read lock: a reader has a view of it
//
// A writer has both or none: whoever takes away one of the two names, and puts another file there or has one made
// anew, gets no second writer. The lock on .map is set first and dropped last, so that a writer that finds the first
// one free is not refused by one that is about to leave. Nobody waits, so nothing can wait for each other.
//
// The writer's bytes are past the end of both files, 2^60 also past all that a reader marks (a shelf has at most 2^46
// bytes): locks are advisory. They belong to the open file description and not to the process, so two shelves opened
// in one process exclude each other too, and closing some other descriptor of the file drops nothing.
// A forked child shares the description: it must close its copies (detach_in_child), else they would
// keep the locks of a parent that died.
//
// Source: fcntl(2), "Open file description locks (non-POSIX)".
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "media/counted_ranges.hpp"
#include "media/lease.hpp"

namespace pymm {

class FileLease final : public Lease {
public:
    /// Descriptors of NAME.map and NAME.data, taken over; the writer's lock needs them opened for writing.
    /// -1: there is no such file, the other one bears the lock alone. `name` is for messages.
    FileLease(int map_fd, int data_fd, std::string name) noexcept;
    ~FileLease() override;
    FileLease(const FileLease&) = delete;
    FileLease& operator=(const FileLease&) = delete;

    bool try_acquire_writer() override;
    void release_writer() noexcept override;
    bool writer_alive() override;

    void mark_extent(std::uint64_t offset, std::uint64_t size) override;
    void unmark_extent(std::uint64_t offset, std::uint64_t size) noexcept override;
    bool extent_marked(std::uint64_t offset, std::uint64_t size) override;
    std::optional<Mark> mark_in(std::uint64_t offset, std::uint64_t size) override;

    void detach_in_child() noexcept override;

private:
    /// False when somebody else's lock stands against it. Throws IoError.
    bool set(int fd, int type, std::uint64_t start, std::uint64_t size);
    void unset(int fd, std::uint64_t start, std::uint64_t size) noexcept;
    /// A lock that another description holds in the range, whole. Throws IoError.
    std::optional<Mark> held_by_another(int fd, std::uint64_t start, std::uint64_t size);
    void mark(int fd, CountedRanges& marks, std::uint64_t start, std::uint64_t size);
    void unmark(int fd, CountedRanges& marks, std::uint64_t start, std::uint64_t size) noexcept;
    [[noreturn]] void fail(const char* action, int error) const;

    int map_fd_;
    int data_fd_;
    bool detached_ = false;  // in a forked child
    std::string name_;
    std::mutex mutex_;  // keeps the counts and the kernel's locks in step
    CountedRanges extents_;
};

}  // namespace pymm
