// Owners for libpmem2's handles, and its errors as exceptions. Included by lib/media only.
#pragma once

#include <libpmem2.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include <pymm/error.hpp>

namespace pymm::pmem2 {

/// Throws IoError with libpmem2's own text for the last error of this thread.
[[noreturn]] inline void fail(const std::string& name, const char* action, int result) {
    // Results are -errno, or below PMEM2_E_UNKNOWN (pmem2_err_to_errno is declared, but not exported by
    // libpmem2 1.12).
    const int error = result > PMEM2_E_UNKNOWN ? -result : EINVAL;
    throw IoError(name + ": " + action + ": " + pmem2_errormsg(), error);
}

class Source {
public:
    Source(int fd, const std::string& name) {
        if (const int result = pmem2_source_from_fd(&source_, fd); result != 0)
            fail(name, "preparing it for libpmem2", result);
    }
    ~Source() { pmem2_source_delete(&source_); }
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    pmem2_source* get() const noexcept { return source_; }

private:
    pmem2_source* source_ = nullptr;
};

/// Bytes of a devdax device, of which fstat(2) knows nothing.
inline std::uint64_t source_size(int fd, const std::string& name) {
    const Source source(fd, name);
    std::size_t size = 0;
    if (const int result = pmem2_source_size(source.get(), &size); result != 0)
        fail(name, "asking for its size", result);
    return size;
}

/// True when CPU caches are inside the persistence domain (eADR), so that no flush is needed. Only
/// pmem2_map_new knows; a throw-away mapping of one unit asks it.
inline bool is_byte_granular(int fd, bool writable, const std::string& name) {
    const Source source(fd, name);
    std::size_t unit = 0;
    pmem2_config* config = nullptr;
    if (pmem2_source_alignment(source.get(), &unit) != 0 || pmem2_config_new(&config) != 0) return false;
    pmem2_map* map = nullptr;
    const unsigned protection = PMEM2_PROT_READ | (writable ? PMEM2_PROT_WRITE : 0);
    const bool byte =
        pmem2_config_set_length(config, unit) == 0 &&
        pmem2_config_set_protection(config, protection) == 0 &&
        pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_BYTE) == 0 &&
        pmem2_map_new(&map, config, source.get()) == 0;
    if (map != nullptr) pmem2_map_delete(&map);
    pmem2_config_delete(&config);
    return byte;
}

}  // namespace pymm::pmem2
