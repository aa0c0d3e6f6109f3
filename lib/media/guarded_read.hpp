// Guarded reads: a bus error in the library's own loads and stores becomes an IoError.
//
// A load from a mapping has no return value to report an error by. Where the file has become shorter, the
// disk cannot be read, or persistent memory is damaged, the kernel raises SIGBUS instead. A guard covers a
// short piece of plain code: copies, loops, checksums. A bus error in it jumps back to the guard.
//
//   * The code may call only what needs no clean-up: no object with a destructor may live in it, no lock be
//     taken, no memory allocated. It must not throw, so it is to be declared noexcept. What it assigned is
//     undefined after a bus error.
//   * A guard belongs to one thread; guards nest. It costs no system call, about as much as a function call.
//   * The handler is installed when the first media is mapped, over what was there before: any other bus
//     error goes to that, after a message to stderr if it hit a live view (lib/media/live_views.hpp). That one may
//     leave by a jump: the next bus error comes to us again.
//   * A thread that blocks SIGBUS cannot be helped: the kernel ends the process.
//
// Sources: sigaction(2), sigsetjmp(3), mmap(2) "SIGBUS".
#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "media/media.hpp"

namespace pymm {

/// Installs the process's SIGBUS handler, or puts it on top again where somebody has installed another one
/// since. Thread-safe.
void install_bus_error_handler();

namespace detail {

struct BusGuard {
    sigjmp_buf back;
    BusGuard* outer;
    const volatile std::byte* fault;  // set by the handler
};

// Looked at in the handler: must not need a lazy allocation of thread-local storage.
extern thread_local BusGuard* bus_guard [[gnu::tls_model("initial-exec")]];

}  // namespace detail

/// Runs `code`. False after a bus error in it; `fault` is then the address that could not be accessed, or
/// null where that is not known.
template <class F>
bool survives_bus_error(F&& code, const std::byte*& fault) noexcept {
    static_assert(std::is_nothrow_invocable_v<F&>, "a guard is left by a jump: its code must be noexcept");
    detail::BusGuard guard;
    guard.outer = detail::bus_guard;
    guard.fault = nullptr;
    if (sigsetjmp(guard.back, 0) != 0) {
        detail::bus_guard = guard.outer;
        fault = const_cast<const std::byte*>(guard.fault);
        return false;
    }
    detail::bus_guard = &guard;
    // The compiler sees no connection between the guard and plain loads.
    asm volatile("" ::: "memory");
    code();
    asm volatile("" ::: "memory");
    detail::bus_guard = guard.outer;
    return true;
}

/// The IoError (EIO) for a fault at `fault` in [offset, offset + size) of the media; EFAULT where it was not
/// the media. `what` tells what was being accessed: "blob 'x'", "redo log".
[[noreturn]] void throw_bus_error(const Media& media, std::uint64_t offset, std::uint64_t size,
                                  const std::byte* fault, std::string_view what, const char* doing = "reading");

/// Runs plain code that reads [offset, offset + size) of the mapping.
template <class F>
void guarded_read(const Media& media, std::uint64_t offset, std::uint64_t size, std::string_view what, F&& code) {
    const std::byte* fault = nullptr;
    if (!survives_bus_error(std::forward<F>(code), fault)) [[unlikely]]
        throw_bus_error(media, offset, size, fault, what);
}

/// memcpy out of the mapping.
inline void guarded_copy(void* to, const Media& media, std::uint64_t offset, std::uint64_t size,
                         std::string_view what) {
    guarded_read(media, offset, size, what,
                 [&]() noexcept { std::memcpy(to, media.data() + offset, static_cast<std::size_t>(size)); });
}

}  // namespace pymm
