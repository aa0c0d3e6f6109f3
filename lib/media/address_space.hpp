// Address space for mappings, reserved before files are mapped into it.
//
// Sources: mmap(2) MAP_FIXED_NOREPLACE; Documentation/arch/x86/x86_64/mm.rst and Documentation/arch/arm64/memory.rst
// of the kernel, for where user space ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pymm {

inline constexpr std::uint64_t kHugePageSize = 2 << 20;

/// Throws InvalidArgumentError, with `what` in front, unless `size` bytes could ever be mapped at `address`: a multiple
/// of the page size, and user space that every kernel has to its end. 0 stands for no wish, and passes.
void check_address(std::uint64_t address, std::uint64_t size, const std::string& what);

/// Reserves `size` bytes, whole pages: at `wanted` when that is not 0 and all of it is free, else wherever they start on
/// a huge page; why not at `wanted` is logged. Null when there is not that much (RLIMIT_AS), and where neither a wish nor
/// a huge page asks for a place. The caller maps over it, and unmaps it.
std::byte* reserve_addresses(std::uint64_t size, std::uint64_t wanted, const std::string& name);

}  // namespace pymm
