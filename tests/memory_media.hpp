// The simplest Media: bytes in this process, where everything written is durable at once. It outlives the
// catalogue that works on it, so a test reopens by making another one. Power cuts are tests/sim's subject.
#pragma once

#include <sys/mman.h>

#include <cassert>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "media/media.hpp"

namespace pymm::test {

class MemoryMedia final : public Media {
public:
    MemoryMedia(std::string name, std::uint64_t size) : Media(std::move(name), Granularity::byte, true) {
        // Pages appear when they are touched: capacities far above what a test uses cost nothing.
        void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) throw std::bad_alloc();
        data_ = static_cast<std::byte*>(at);
        size_ = size;
    }
    ~MemoryMedia() override { ::munmap(data_, size_); }

    void reserve(std::uint64_t offset, std::uint64_t size) override { check(offset, size); }
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        check(offset, size);
        std::memcpy(data_ + offset, source, size);
        written_ += size;
    }
    void fill_zero(std::uint64_t offset, std::uint64_t size) override {
        check(offset, size);
        std::memset(data_ + offset, 0, size);
        written_ += size;
    }
    void flush(std::uint64_t offset, std::uint64_t size) override { check(offset, size); }
    void drain() override {}

    /// Bytes that went through write() and fill_zero() so far.
    std::uint64_t written() const noexcept { return written_; }

private:
    void check(std::uint64_t offset, std::uint64_t size) const {
        assert(offset <= size_ && size <= size_ - offset);
        (void)offset;
        (void)size;
    }
    std::uint64_t written_ = 0;
};

}  // namespace pymm::test
