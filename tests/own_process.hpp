// Work in a process of its own, with limits and mounts that end with it; and what it says about errors.
#pragma once

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include <pymm/check.hpp>
#include <pymm/error.hpp>

namespace pymm::test {

/// Runs `work` in a process of its own: limits and mounts end with it. What it returns, and what exceptions say,
/// is the result: nothing, when all is right; "SKIP: why" when the system does not allow it.
template <class F>
inline std::string in_process(F&& work) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::close(ends[0]);
        for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGXFSZ}) ::signal(signal, SIG_DFL);
        std::string text;
        try {
            text = work();
        } catch (const std::exception& error) {
            text = std::string("an exception: ") + error.what();
        }
        (void)!::write(ends[1], text.data(), text.size());
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string text;
    char part[4096];
    for (ssize_t n; (n = ::read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) text += "killed by signal " + std::to_string(WTERMSIG(status));
    return text;
}

/// True when `result` says that it was skipped, and why.
inline bool skipped(const char* what, const std::string& result) {
    if (!result.starts_with("SKIP: ")) return false;
    MESSAGE(std::string(what) << ": SKIPPED: " << result.substr(6));
    return true;
}

/// A tmpfs of its own at `path`, for this process alone. Nothing, or why there is none.
inline std::string mount_tmpfs(const std::string& path, const std::string& options) {
    if (::unshare(CLONE_NEWNS) != 0)
        return std::string("SKIP: no mount namespace of our own (") + std::strerror(errno) + "); it takes root";
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) != 0)
        return std::string("SKIP: no tmpfs can be mounted (") + std::strerror(errno) + ")";
    return {};
}

/// What an E says; other outcomes are told, too.
template <class E, class F>
inline std::string expect_error(F&& work, std::string_view advice) {
    try {
        work();
    } catch (const E& error) {
        if (std::string_view(error.what()).find(advice) == std::string_view::npos)
            return std::string("no advice '") + std::string(advice) + "': " + error.what();
        return {};
    } catch (const std::exception& error) {
        return std::string("another error: ") + error.what();
    }
    return "no error (wanted: " + std::string(advice) + ")";
}

inline std::string check_clean(const std::string& path, std::string_view shelf) {
    std::string text;
    for (const Finding& f : pymm::check(path, shelf).findings)
        if (f.severity == Severity::error) text += f.message() + "; ";
    return text;
}

#define TRY(what)                                       \
    do {                                                \
        if (std::string problem = (what); !problem.empty()) return problem; \
    } while (false)

}  // namespace pymm::test
