#include "media/address_space.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <pymm/error.hpp>

#include "media/log.hpp"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

namespace pymm {

namespace {

// Of 47 bits on x86-64 the last page is kept free; five-level page tables have more, but not on every machine.
constexpr std::uint64_t kUserEnd = (1ull << 47) - 4096;

void* reserve(void* at, std::uint64_t size, int flags) noexcept {
    return ::mmap(at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

std::byte* reserve_at(std::uint64_t wanted, std::uint64_t size, const std::string& name) {
    void* const place = reinterpret_cast<void*>(wanted);
    void* const got = reserve(place, size, MAP_FIXED_NOREPLACE);
    if (got == place) return static_cast<std::byte*>(got);
    const int error = got == MAP_FAILED ? errno : EEXIST;
    // Kernels before 4.17 do not know the flag: to them the address is a hint.
    if (got != MAP_FAILED) ::munmap(got, size);
    log().info("{}: {} bytes at address {:#x} are not to be had ({}); mapped elsewhere", name, size, wanted,
               error == EEXIST ? "occupied" : std::generic_category().message(error));
    return nullptr;
}

}  // namespace

void check_address(std::uint64_t address, std::uint64_t size, const std::string& what) {
    if (address == 0) return;
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    if (address % page != 0)
        throw InvalidArgumentError(fmt::format("{}: the address {:#x} is no multiple of {}, the size of a page", what,
                                               address, page));
    if (address >= kUserEnd || size > kUserEnd - address)
        throw InvalidArgumentError(fmt::format("{}: {} bytes at address {:#x} reach beyond {:#x}, where user space ends",
                                               what, size, address, kUserEnd));
}

std::byte* reserve_addresses(std::uint64_t size, std::uint64_t wanted, const std::string& name) {
    if (wanted != 0)
        if (std::byte* at = reserve_at(wanted, size, name)) return at;
    if (size < kHugePageSize) return nullptr;
    const std::uint64_t total = size + kHugePageSize;
    void* at = reserve(nullptr, total, 0);
    if (at == MAP_FAILED) return nullptr;
    auto* start = static_cast<std::byte*>(at);
    const auto address = reinterpret_cast<std::uintptr_t>(start);
    const std::uint64_t head = (kHugePageSize - address % kHugePageSize) % kHugePageSize;
    if (head != 0) ::munmap(start, head);
    ::munmap(start + head + size, kHugePageSize - head);
    return start + head;
}

}  // namespace pymm
