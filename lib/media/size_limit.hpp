// RLIMIT_FSIZE: the kernel raises SIGXFSZ, which ends the process, where a file is written to or made longer behind
// the limit (getrlimit(2)). A library leaves the program's signals alone, so it asks before it calls.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace pymm {

/// True when this process may not write to a regular file up to offset `end`, in bytes. Some 0.1 us. Where another
/// thread lowers the limit between this and the call, the kernel's signal comes all the same.
inline bool beyond_size_limit(std::uint64_t end) noexcept {
    rlimit limit;
    return ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && end > limit.rlim_cur;
}

}  // namespace pymm
