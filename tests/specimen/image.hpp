// ShelfImage: the two files of a shelf in memory, to be damaged, opened, fuzzed and compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace pymm::test {

/// Page-aligned bytes on the heap, as mapped files are aligned; no byte more, so that a sanitizer sees what
/// reaches outside.
class PageBytes {
public:
    PageBytes() = default;
    explicit PageBytes(std::size_t size) : size_(size) {
        bytes_.reset(static_cast<std::byte*>(::operator new(size != 0 ? size : 1, std::align_val_t{4096})));
        std::memset(bytes_.get(), 0, size);
    }
    PageBytes(std::span<const std::byte> from) : PageBytes(from.size()) {
        if (size_ != 0) std::memcpy(bytes_.get(), from.data(), size_);
    }
    PageBytes(const PageBytes& other) : PageBytes(std::span<const std::byte>(other)) {}
    PageBytes& operator=(const PageBytes& other) {
        if (size_ == other.size_) {
            if (size_ != 0 && this != &other) std::memcpy(bytes_.get(), other.bytes_.get(), size_);
            return *this;
        }
        return *this = PageBytes(other);
    }
    PageBytes(PageBytes&&) noexcept = default;
    PageBytes& operator=(PageBytes&&) noexcept = default;

    std::byte* data() const noexcept { return bytes_.get(); }
    std::size_t size() const noexcept { return size_; }
    operator std::span<std::byte>() noexcept { return {bytes_.get(), size_}; }
    operator std::span<const std::byte>() const noexcept { return {bytes_.get(), size_}; }

private:
    struct Free {
        void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{4096}); }
    };
    std::size_t size_ = 0;
    std::unique_ptr<std::byte, Free> bytes_;
};

struct ShelfImage {
    PageBytes map;
    PageBytes data;

    /// As sim::open_image() wants them.
    std::vector<std::span<std::byte>> spans() { return {map, data}; }
};

}  // namespace pymm::test
