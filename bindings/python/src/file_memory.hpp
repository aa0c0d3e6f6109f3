// FileMemory: volatile memory in an unnamed file, for arrays larger than DRAM. Nothing of it outlives the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

namespace pymm::python {

/// Thread-safe. After fork(2) the child keeps what was allocated before as its own copy (pages are copied when either
/// side stores; what the parent stores to a page later may still be seen while the child has not stored there), and gets
/// no more from here.
class FileMemory {
public:
    /// At most `size` bytes in the file system of `directory`. Where `give_back`, storage returns to it with each
    /// release(); else the file keeps what it took, and the next allocation finds it there. Throws NotFoundError,
    /// NoSpaceError, IoError.
    FileMemory(const std::string& directory, std::uint64_t size, bool give_back);
    ~FileMemory();
    FileMemory(const FileMemory&) = delete;
    FileMemory& operator=(const FileMemory&) = delete;

    /// Page-aligned, with storage behind every byte. Null where there is no room, in the file or on the file system.
    /// `zero`: all zeros, without storing them where they are there already.
    void* allocate(std::size_t size, bool zero) noexcept;
    void release(void* memory) noexcept;
    /// Bytes that may be used at `memory`, which allocate() gave.
    std::size_t size_of(const void* memory) const noexcept;
    bool owns(const void* memory) const noexcept;
    /// From now on storage goes back with each release(); what nobody uses does at once.
    void retire() noexcept;
    /// In a forked child: allocate() always gives null.
    bool inherited() const noexcept;

    struct Forks;

private:
    struct Free {
        std::uint64_t size;
        bool zero;
    };
    void add_free(std::uint64_t offset, Free range);
    bool punch(std::uint64_t offset, std::uint64_t size) noexcept;

    bool give_back_;
    int fd_ = -1;
    std::byte* base_ = nullptr;
    std::uint64_t size_;
    bool inherited_ = false;
    std::map<std::uint64_t, Free> free_;                       // by offset, never touching one another
    std::unordered_map<std::uint64_t, std::uint64_t> taken_;  // offset -> size
};

}  // namespace pymm::python
