#include "input.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "failure.hpp"

namespace pymmctl {

Input::Input(const std::string& path) : name_(path == "-" ? "standard input" : path) {
    if (path == "-") {
        fd_ = STDIN_FILENO;
    } else {
        fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd_ < 0) fail_errno(name_, "cannot be read", errno);
        owned_ = true;
    }
    struct stat status {};
    if (fstat(fd_, &status) != 0) {
        const int error = errno;
        if (owned_) close(fd_);
        fail_errno(name_, "cannot be read", error);
    }
    // Files of /proc and the like say 0 and are longer.
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
        const off_t at = owned_ ? 0 : lseek(fd_, 0, SEEK_CUR);
        if (at >= 0) remaining_ = static_cast<std::uint64_t>(std::max<off_t>(status.st_size - at, 0));
    }
}

Input::~Input() {
    if (owned_) close(fd_);
}

std::span<const std::byte> Input::peek(std::size_t size) {
    while (ahead_.size() < size) {
        const std::size_t had = ahead_.size();
        ahead_.resize(size);
        std::size_t got = 0;
        try {
            got = read_some(std::span(ahead_).subspan(had));
        } catch (...) {
            ahead_.resize(had);
            throw;
        }
        ahead_.resize(had + got);
        if (got == 0) break;
    }
    return std::span<const std::byte>(ahead_).first(std::min(size, ahead_.size()));
}

std::size_t Input::read(std::span<std::byte> out) {
    std::size_t done = std::min(out.size(), ahead_.size());
    std::copy_n(ahead_.begin(), done, out.begin());
    ahead_.erase(ahead_.begin(), ahead_.begin() + static_cast<std::ptrdiff_t>(done));
    while (done < out.size()) {
        const std::size_t got = read_some(out.subspan(done));
        if (got == 0) break;
        done += got;
    }
    if (remaining_) *remaining_ -= std::min<std::uint64_t>(*remaining_, done);
    return done;
}

std::size_t Input::read_some(std::span<std::byte> out) {
    constexpr std::size_t at_once = 1u << 30;  // read(2) takes no more than 2 GiB
    for (;;) {
        const ssize_t got = ::read(fd_, out.data(), std::min(out.size(), at_once));
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno == EAGAIN) {  // somebody made the shared descriptor non-blocking
            pollfd ready{fd_, POLLIN, 0};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            fail_errno(name_, "cannot be read", errno);
        }
    }
}

}  // namespace pymmctl
