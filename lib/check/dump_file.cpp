#include "check/dump_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace pymm {

DumpFile::DumpFile(int directory, const std::string& leaf) {
    // O_NONBLOCK: a FIFO under that name must not hang us.
    fd_ = Fd(::openat(directory, leaf.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd_) {
        missing_ = errno == ENOENT;
        problem_ = missing_ ? "there is no such file" : fmt::format("it cannot be opened: {}", std::strerror(errno));
        return;
    }
    struct stat st;
    if (::fstat(fd_.get(), &st) != 0) problem_ = fmt::format("it cannot be looked at: {}", std::strerror(errno));
    else if (!S_ISREG(st.st_mode)) problem_ = "it is not a regular file";
    else size_ = static_cast<std::uint64_t>(st.st_size);
}

std::string DumpFile::read(std::uint64_t offset, std::span<std::byte> out) const {
    if (!problem_.empty()) return problem_;
    if (!holds(offset, out.size())) return fmt::format("it reaches past the end of the file, which has {} bytes", size_);
    while (!out.empty()) {
        const ssize_t n = ::pread(fd_.get(), out.data(), std::min<std::size_t>(out.size(), 1 << 30),
                                  static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fmt::format("offset {} cannot be read: {}", offset, std::strerror(errno));
        if (n == 0) return fmt::format("the file ends at offset {}", offset);
        out = out.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return {};
}

}  // namespace pymm
