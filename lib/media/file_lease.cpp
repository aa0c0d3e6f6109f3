#include "media/file_lease.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <system_error>

#include <pymm/error.hpp>

namespace pymm {

namespace {

static_assert(sizeof(off_t) == 8, "the lock offsets need 64-bit file offsets");

constexpr std::uint64_t kWriterByte = 1ull << 40;      // of .map
constexpr std::uint64_t kDataWriterByte = 1ull << 60;  // of .data

/// Stores before it are seen before loads behind it are made. (ThreadSanitizer does not know std::atomic_thread_fence;
/// what is ordered here is memory of several processes, which it does not look at.)
void full_fence() noexcept { __sync_synchronize(); }

struct flock range_lock(int type, std::uint64_t start, std::uint64_t size) {
    // A length of 0 would mean "to the end of all files".
    assert(size != 0);
    struct flock lock {};  // l_pid must be 0 for these commands
    lock.l_type = static_cast<short>(type);
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(start);
    lock.l_len = static_cast<off_t>(size);
    return lock;
}

}  // namespace

FileLease::FileLease(int map_fd, int data_fd, std::string name) noexcept
    : map_fd_(map_fd), data_fd_(data_fd), name_(std::move(name)) {}

FileLease::~FileLease() {
    // The descriptions may be shared with descriptors that live on (the media's): closing would not
    // drop the locks, so they are dropped by name. Not in a detached child, which shares them with its
    // parent.
    if (data_fd_ >= 0) {
        unset(data_fd_, 0, 1ull << 62);
        ::close(data_fd_);
    }
    if (map_fd_ >= 0) {
        unset(map_fd_, kWriterByte, 1);
        ::close(map_fd_);
    }
}

bool FileLease::try_acquire_writer() {
    if (detached_) fail("locking", EBADF);
    if (map_fd_ >= 0 && !set(map_fd_, F_WRLCK, kWriterByte, 1)) return false;
    // Who has it already has both: a refusal or an error of the second takes nothing away that was there before.
    try {
        if (data_fd_ < 0 || set(data_fd_, F_WRLCK, kDataWriterByte, 1)) return true;
    } catch (...) {
        unset(map_fd_, kWriterByte, 1);
        throw;
    }
    unset(map_fd_, kWriterByte, 1);
    return false;
}

void FileLease::release_writer() noexcept {
    unset(data_fd_, kDataWriterByte, 1);
    unset(map_fd_, kWriterByte, 1);
}

bool FileLease::writer_alive() {
    if (detached_) fail("looking for locks", EBADF);
    return (map_fd_ >= 0 && held_by_another(map_fd_, kWriterByte, 1)) ||
           (data_fd_ >= 0 && held_by_another(data_fd_, kDataWriterByte, 1));
}

void FileLease::mark_extent(std::uint64_t offset, std::uint64_t size) {
    if (size != 0) mark(data_fd_, extents_, offset, size);
}

void FileLease::unmark_extent(std::uint64_t offset, std::uint64_t size) noexcept {
    if (size != 0) unmark(data_fd_, extents_, offset, size);
}

bool FileLease::extent_marked(std::uint64_t offset, std::uint64_t size) {
    return mark_in(offset, size).has_value();
}

std::optional<Lease::Mark> FileLease::mark_in(std::uint64_t offset, std::uint64_t size) {
    return size != 0 ? held_by_another(data_fd_, offset, size) : std::nullopt;
}

void FileLease::detach_in_child() noexcept {
    // Closed, never unlocked: an unlock would take the parent's locks away.
    if (map_fd_ >= 0) ::close(map_fd_);
    if (data_fd_ >= 0) ::close(data_fd_);
    map_fd_ = data_fd_ = -1;
    detached_ = true;
}

void FileLease::mark(int fd, CountedRanges& marks, std::uint64_t start, std::uint64_t size) {
    const std::lock_guard guard(mutex_);
    // Only read locks are ever set on these bytes, so a conflict means a foreign program's lock.
    if (!set(fd, F_RDLCK, start, size)) fail("marking what is read", EAGAIN);
    marks.add(start, start + size);
    // The mark is set before the caller looks again; with the fence in held_by_another(): of a writer that publishes and
    // then asks, and a reader that marks and then looks, at least one sees the other.
    full_fence();
}

void FileLease::unmark(int fd, CountedRanges& marks, std::uint64_t start,
                       std::uint64_t size) noexcept {
    if (fd < 0) return;  // in a forked child, where another thread may have held the mutex
    const std::lock_guard guard(mutex_);
    marks.remove(start, start + size, [&](std::uint64_t from, std::uint64_t to) {
        unset(fd, from, to - from);
    });
}

bool FileLease::set(int fd, int type, std::uint64_t start, std::uint64_t size) {
    struct flock lock = range_lock(type, start, size);
    while (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno == EAGAIN || errno == EACCES) return false;
        if (errno != EINTR) fail("locking", errno);
    }
    return true;
}

void FileLease::unset(int fd, std::uint64_t start, std::uint64_t size) noexcept {
    if (fd < 0) return;
    struct flock lock = range_lock(F_UNLCK, start, size);
    while (::fcntl(fd, F_OFD_SETLK, &lock) != 0 && errno == EINTR) {
    }
}

std::optional<Lease::Mark> FileLease::held_by_another(int fd, std::uint64_t start, std::uint64_t size) {
    // What the caller published is to be seen before the locks are looked at. The kernel takes no lock where a file has
    // none at all, so the call alone orders nothing.
    full_fence();
    // Asks whether a write lock could be set: any lock of another description stands against it. Asking
    // needs no writable descriptor.
    struct flock lock = range_lock(F_WRLCK, start, size);
    while (::fcntl(fd, F_OFD_GETLK, &lock) != 0)
        if (errno != EINTR) fail("looking for locks", errno);
    if (lock.l_type == F_UNLCK) return std::nullopt;
    const auto from = static_cast<std::uint64_t>(lock.l_start);
    // A length of 0 means to the end of all files.
    return Mark{from, lock.l_len != 0 ? static_cast<std::uint64_t>(lock.l_len) : (std::uint64_t{1} << 63) - from};
}

void FileLease::fail(const char* action, int error) const {
    const std::string text = std::generic_category().message(error);
    const char* advice = "";
    if (error == ENOLCK)
        advice = "; the kernel or the file server is out of locks: use a local file system";
    else if (error == EOPNOTSUPP || error == EINVAL || error == ENOSYS)
        advice = "; this file system has no byte-range locks: move the shelf to one that has (ext4, xfs, "
                 "tmpfs)";
    else if (error == EBADF && detached_)
        throw ClosedError(name_ + ": belongs to the parent of this forked process; open it again here");
    throw IoError(fmt::format("{}: {} failed: {}{}", name_, action, text, advice), error);
}

}  // namespace pymm
