#include "media/guarded_read.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>

#include "media/live_views.hpp"

namespace pymm {

namespace detail {
thread_local BusGuard* bus_guard [[gnu::tls_model("initial-exec")]] = nullptr;
}  // namespace detail

namespace {

constexpr std::uint64_t kPage = 4096;

// What to do with a bus error that is not ours. Of two, the one that `current` names is valid: the handler
// may run while another thread installs it anew.
struct sigaction previous[2];
std::atomic<unsigned> current{0};
std::atomic<bool> spent[2];  // it was installed for one signal (SA_RESETHAND), and has had it

// The last bus error of this thread that was passed on. The handler that got it may leave by a jump, as a program does
// that recovers from it; nobody tells us. So this is no flag, but a place on the stack: while that handler runs, we
// are called deeper. (Deeper than a handler that jumped is possible, too.) All our handler changes is this, and it
// stays installed.
struct Passed {
    std::uintptr_t frame = 0;
    const siginfo_t* info = nullptr;
    unsigned depth = 0;  // how many were passed on within each other, if none has jumped
};
thread_local Passed passed [[gnu::tls_model("initial-exec")]];
// A handler that faults itself is called so often; so often can a program jump out of it, ever deeper.
constexpr unsigned kMostNested = 16;

void on_bus_error(int signal, siginfo_t* info, void* context);

void end_by_default(int signal, bool synchronous) {
    struct sigaction fallback {};
    fallback.sa_handler = SIG_DFL;
    ::sigaction(signal, &fallback, nullptr);
    // The instruction is executed again when the handler returns, and ends the process where it stands;
    // a signal that was sent has to be sent again.
    if (!synchronous) ::raise(signal);
}

void pass_on(int signal, siginfo_t* info, void* context) {
    const bool synchronous = info->si_code > 0;
    const unsigned valid = current.load(std::memory_order_acquire);
    const struct sigaction& before = previous[valid];
    if ((before.sa_flags & SA_SIGINFO) == 0) {
        if (before.sa_handler == SIG_IGN && !synchronous) return;
        if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) return end_by_default(signal, synchronous);
    }
    if ((before.sa_flags & SA_RESETHAND) != 0 && spent[valid].exchange(true)) return end_by_default(signal, synchronous);
    if ((before.sa_flags & SA_SIGINFO) != 0) before.sa_sigaction(signal, info, context);
    else before.sa_handler(signal);
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
    const bool synchronous = info->si_code > 0;
    const bool of_this_process = info->si_pid == ::getpid();  // where somebody sent it
    // A handler above ours that passes on what it got by raise(3) hides the address.
    const bool raised = info->si_code == SI_TKILL && of_this_process;
    if (detail::BusGuard* guard = detail::bus_guard; guard != nullptr && (synchronous || raised)) {
        passed = {};
        guard->fault = synchronous ? static_cast<const volatile std::byte*>(info->si_addr) : nullptr;
        // A handler above ours may have been installed without SA_NODEFER: the jump leaves its mask behind.
        sigset_t ours;
        ::sigemptyset(&ours);
        ::sigaddset(&ours, SIGBUS);
        ::pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
        siglongjmp(guard->back, 1);
    }
    const int error = errno;
    const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const bool deeper = here < passed.frame;  // stacks grow downwards
    // The handler before us may also have been installed above us, before we came on top again. What it got from us
    // it then hands back, by a call or by raise(3) or kill(2): that is the end.
    const bool handed_back = deeper && (synchronous ? info == passed.info : of_this_process);
    const unsigned depth = deeper ? passed.depth + 1 : 1;
    if (synchronous && !handed_back) report_bus_error(info->si_addr);
    if (handed_back || depth > kMostNested) {
        end_by_default(signal, synchronous);
    } else {
        const Passed outer = deeper ? passed : Passed{};
        passed = {here, info, depth};
        pass_on(signal, info, context);
        passed = outer;
    }
    errno = error;
}

}  // namespace

void install_bus_error_handler() {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    struct sigaction now {};
    ::sigaction(SIGBUS, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_bus_error) return;
    const unsigned next = current.load(std::memory_order_relaxed) ^ 1;
    previous[next] = now;
    spent[next].store(false, std::memory_order_relaxed);
    current.store(next, std::memory_order_release);
    struct sigaction ours {};
    ours.sa_sigaction = on_bus_error;
    // No signal is blocked in the handler, so that leaving it by a jump has no mask to restore. On the
    // alternate stack where there is one, as faulthandler and others expect.
    ours.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    ::sigaction(SIGBUS, &ours, nullptr);
}

void throw_bus_error(const Media& media, std::uint64_t offset, std::uint64_t size, const std::byte* fault,
                     std::string_view what, const char* doing) {
    std::uint64_t at = offset;
    if (fault != nullptr) {
        const auto address = reinterpret_cast<std::uintptr_t>(fault);
        const auto base = reinterpret_cast<std::uintptr_t>(media.data());
        if (address < base || address - base >= (media.size() + kPage - 1) / kPage * kPage)
            throw IoError(fmt::format("{}: {} {} at offset {}: the memory on the other side cannot be accessed (a "
                                      "mapped file that shrank?)", media.name(), doing, what, offset), EFAULT);
        // The kernel may name the page, which starts before the range.
        at = std::max(offset, static_cast<std::uint64_t>(address - base));
    }
    struct stat st {};
    std::string why = "its device failed: see the kernel's log";
    if (::stat(media.name().c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
        static_cast<std::uint64_t>(st.st_size) < media.size())
        why = fmt::format("the file has {} bytes, it had {}: somebody shortened it", st.st_size, media.size());
    throw IoError(fmt::format("{}: {} {} failed at offset {} (bus error, {} bytes from {}): {}; close the shelf, mend "
                              "that, and run a check of it", media.name(), doing, what, at, size, offset, why), EIO);
}

}  // namespace pymm
