// Random numbers from the kernel: salts and uuids.
#pragma once

#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <pymm/error.hpp>

namespace pymm {

inline void random_bytes(void* out, std::size_t size) {
    auto* at = static_cast<unsigned char*>(out);
    while (size != 0) {
        const ssize_t n = ::getrandom(at, size, 0);
        if (n < 0) {
            if (errno == EINTR) continue;
            throw IoError(std::string("getrandom: ") + std::strerror(errno), errno);
        }
        at += n;
        size -= static_cast<std::size_t>(n);
    }
}

inline std::uint64_t random_u64() {
    std::uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}

}  // namespace pymm
