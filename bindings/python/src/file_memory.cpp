#include "file_memory.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>
#include <set>

#include <pymm/error.hpp>

namespace pymm::python {

namespace {

constexpr std::uint64_t kPage = 4096;
// Above this, giving pages back and taking new ones is cheaper than storing zeros.
constexpr std::uint64_t kWorthPunching = 1 << 20;

// One lock for all: allocations that come here are large and few, and fork() has to hold it.
std::mutex& lock() {
    static std::mutex* const one = new std::mutex;  // destructors of statics may still free arrays
    return *one;
}

std::set<FileMemory*>& living() {
    static auto* const all = new std::set<FileMemory*>;
    return *all;
}

[[noreturn]] void fail(const std::string& what, const std::string& directory, int error) {
    const std::string message = "transient memory in " + directory + ": " + what + ": " + std::strerror(error);
    if (error == ENOENT || error == ENOTDIR) throw NotFoundError(message + "; name a directory that exists", error);
    if (error == ENOSPC || error == EDQUOT) throw NoSpaceError(message, error);
    throw IoError(message, error);
}

// No name is ever seen where the file system can do without; else only for a moment.
int unnamed_file(const std::string& directory) {
    const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
    std::string path = directory + "/pymm-transient-XXXXXX";
    const int named = ::mkostemp(path.data(), O_CLOEXEC);
    if (named >= 0) ::unlink(path.c_str());
    return named;
}

}  // namespace

// Both sides of a fork would store to the same pages: the child takes a copy of its own.
struct FileMemory::Forks {
    static void install() {
        static const int once = ::pthread_atfork([] { lock().lock(); }, [] { lock().unlock(); }, in_child);
        if (once != 0) throw std::bad_alloc();
    }
    static void in_child() {
        for (FileMemory* memory : living()) {
            memory->inherited_ = true;
            if (::mmap(memory->base_, memory->size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
                       memory->fd_, 0) == MAP_FAILED) {
                // Better no memory than the parent's.
                ::munmap(memory->base_, memory->size_);
            }
        }
        lock().unlock();
    }
};

FileMemory::FileMemory(const std::string& directory, std::uint64_t size, bool give_back)
    : give_back_(give_back), size_(size & ~(kPage - 1)) {
    rlimit limit{};
    // Past it, ftruncate(2) would raise a signal.
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        size_ = std::min<std::uint64_t>(size_, limit.rlim_cur & ~(kPage - 1));
    if (size_ == 0) throw InvalidArgumentError("transient memory in " + directory + ": of less than a page");
    Forks::install();
    fd_ = unnamed_file(directory);
    if (fd_ < 0) fail("making a file", directory, errno);
    int error = 0;
    void* mapped = MAP_FAILED;
    if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0 ||
        (mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0)) == MAP_FAILED) {
        error = errno;
        ::close(fd_);
        fail("mapping " + std::to_string(size_) + " bytes", directory, error);
    }
    base_ = static_cast<std::byte*>(mapped);
    const std::lock_guard guard(lock());
    free_.emplace(0, Free{size_, true});
    living().insert(this);
}

FileMemory::~FileMemory() {
    const std::lock_guard guard(lock());
    living().erase(this);
    ::munmap(base_, size_);
    ::close(fd_);
}

void* FileMemory::allocate(std::size_t wanted, bool zero) noexcept {
    if (wanted > size_) return nullptr;
    const std::uint64_t size = (std::max<std::uint64_t>(wanted, 1) + kPage - 1) & ~(kPage - 1);
    std::uint64_t offset;
    bool is_zero;
    {
        const std::lock_guard guard(lock());
        if (inherited_) return nullptr;
        // The lowest: what was used before has its storage already.
        const auto it = std::find_if(free_.begin(), free_.end(), [&](const auto& f) { return f.second.size >= size; });
        if (it == free_.end()) return nullptr;
        offset = it->first;
        is_zero = it->second.zero;
        try {
            taken_.emplace(offset, size);
            auto node = free_.extract(it);
            if (node.mapped().size != size) {
                node.key() += size;
                node.mapped().size -= size;
                free_.insert(std::move(node));
            }
        } catch (const std::bad_alloc&) {
            taken_.erase(offset);
            return nullptr;
        }
    }
    if (zero && !is_zero && size >= kWorthPunching) is_zero = punch(offset, size);
    // A store to a hole on a full file system would end the process.
    if (::posix_fallocate(fd_, static_cast<off_t>(offset), static_cast<off_t>(size)) != 0) {
        const std::lock_guard guard(lock());
        taken_.erase(offset);
        add_free(offset, {size, is_zero});
        return nullptr;
    }
    if (zero && !is_zero) std::memset(base_ + offset, 0, size);
    return base_ + offset;
}

void FileMemory::release(void* memory) noexcept {
    const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(memory) - base_);
    std::uint64_t size;
    bool give_back;
    {
        const std::lock_guard guard(lock());
        if (inherited_) return;  // the range is the parent's
        const auto it = taken_.find(offset);
        if (it == taken_.end()) return;
        size = it->second;
        give_back = give_back_;
        taken_.erase(it);
    }
    const bool zero = give_back && punch(offset, size);
    const std::lock_guard guard(lock());
    add_free(offset, {size, zero});
}

void FileMemory::retire() noexcept {
    const std::lock_guard guard(lock());
    if (inherited_) return;
    give_back_ = true;
    for (auto& [offset, range] : free_)
        if (!range.zero) range.zero = punch(offset, range.size);
}

bool FileMemory::punch(std::uint64_t offset, std::uint64_t size) noexcept {
    return ::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                       static_cast<off_t>(size)) == 0;
}

// Under the lock. Out of memory for the note of it, the range is lost until the end of the process, and no more.
void FileMemory::add_free(std::uint64_t offset, Free range) {
    auto next = free_.lower_bound(offset);
    if (next != free_.end() && next->first == offset + range.size) {
        range = {range.size + next->second.size, range.zero && next->second.zero};
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second.size == offset) {
            before->second = {before->second.size + range.size, before->second.zero && range.zero};
            return;
        }
    }
    try {
        free_.emplace_hint(next, offset, range);
    } catch (const std::bad_alloc&) {
    }
}

std::size_t FileMemory::size_of(const void* memory) const noexcept {
    const std::lock_guard guard(lock());
    const auto it = taken_.find(static_cast<std::uint64_t>(static_cast<const std::byte*>(memory) - base_));
    return it == taken_.end() ? 0 : it->second;
}

bool FileMemory::owns(const void* memory) const noexcept {
    const auto* at = static_cast<const std::byte*>(memory);
    return at >= base_ && at < base_ + size_;
}

bool FileMemory::inherited() const noexcept { return inherited_; }

}  // namespace pymm::python
