#include "sim/image_buffer.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace pymm::sim {

namespace {
std::byte* map(int fd, std::uint64_t size, int flags) {
    void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    return static_cast<std::byte*>(at);
}
}  // namespace

ImageBuffer::ImageBuffer(std::uint64_t size)
    : size_(size),
      mapped_((size + 4095) / 4096 * 4096),
      fd_(::memfd_create("pymm-sim", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(mapped_)) != 0)
        throw std::system_error(errno, std::generic_category(), "memfd_create");
    shared_ = map(fd_, mapped_, MAP_SHARED);
}

ImageBuffer::~ImageBuffer() {
    if (private_ != nullptr) ::munmap(private_, mapped_);
    if (shared_ != nullptr) ::munmap(shared_, mapped_);
    if (fd_ >= 0) ::close(fd_);
}

std::span<std::byte> ImageBuffer::scratch() {
    if (private_ == nullptr)
        private_ = map(fd_, mapped_, MAP_PRIVATE);
    else
        ::madvise(private_, mapped_, MADV_DONTNEED);  // drops the private copies: the file shows again
    return {private_, size_};
}

}  // namespace pymm::sim
