// ImageBuffer: the durable bytes of a SimMedia, and a scratch view of them that is cheap to make, to
// scribble over and to reset: private pages over a memory file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pymm::sim {

class ImageBuffer {
public:
    explicit ImageBuffer(std::uint64_t size);
    ~ImageBuffer();
    ImageBuffer(const ImageBuffer&) = delete;
    ImageBuffer& operator=(const ImageBuffer&) = delete;

    std::span<std::byte> bytes() noexcept { return {shared_, size_}; }
    std::span<const std::byte> bytes() const noexcept { return {shared_, size_}; }
    /// A copy of bytes() as they are now, page-aligned, to be written to at will. Valid until the next
    /// call or change of bytes().
    std::span<std::byte> scratch();

private:
    std::uint64_t size_;
    std::uint64_t mapped_;
    int fd_;
    std::byte* shared_ = nullptr;
    std::byte* private_ = nullptr;
};

}  // namespace pymm::sim
