#include "output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "failure.hpp"

namespace pymmctl {
namespace {

// What the signal handler removes. One output file at a time is all this program ever has.
std::array<char, PATH_MAX> unfinished{};
volatile std::sig_atomic_t has_unfinished = 0;

extern "C" void remove_unfinished(int signal) {
    if (has_unfinished) unlink(unfinished.data());
    std::signal(signal, SIG_DFL);
    raise(signal);  // delivered when the handler returns: die as anybody else would
}

constexpr std::array deadly{SIGINT, SIGTERM, SIGHUP};

/// mkostemp(3), with the file removed should one of those signals end us. They wait meanwhile, so that
/// none falls between the two.
int make_guarded(std::string& path) {
    sigset_t waiting, before;
    sigemptyset(&waiting);
    for (const int signal : deadly) sigaddset(&waiting, signal);
    sigprocmask(SIG_BLOCK, &waiting, &before);
    const int fd = mkostemp(path.data(), O_CLOEXEC);
    const int error = errno;
    if (fd >= 0) {
        std::memcpy(unfinished.data(), path.c_str(), path.size() + 1);
        has_unfinished = 1;
        for (const int signal : deadly) {
            struct sigaction action {};
            sigaction(signal, nullptr, &action);
            if (action.sa_handler == SIG_IGN) continue;  // nohup(1) means it
            action.sa_handler = remove_unfinished;
            sigemptyset(&action.sa_mask);
            action.sa_flags = 0;
            sigaction(signal, &action, nullptr);
        }
    }
    sigprocmask(SIG_SETMASK, &before, nullptr);
    errno = error;
    return fd;
}

/// rename(2) that refuses an existing name.
int rename_to_new(const char* from, const char* to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    // File systems that cannot do it; nearly all of them know links.
    if (link(from, to) != 0) return -1;
    return unlink(from);
}

mode_t current_umask() {
    const mode_t mask = umask(0);
    umask(mask);
    return mask;
}

}  // namespace

void write_all(int fd, std::span<const std::byte> bytes, const std::string& name,
               const Advance& advance) {
    constexpr std::size_t piece = 8u << 20;  // often enough for a progress bar
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), std::min(bytes.size(), piece));
        if (written < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) {  // somebody made the shared descriptor non-blocking
                pollfd ready{fd, POLLOUT, 0};
                poll(&ready, 1, -1);
                continue;
            }
            if (errno == EPIPE) throw OutputClosed();
            fail_errno(name, "cannot be written", errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        if (advance) advance(static_cast<std::size_t>(written));
    }
}

TextOutput& TextOutput::operator<<(std::string_view text) {
    constexpr std::size_t enough = 64u << 10;
    pending_ += text;
    if (pending_.size() >= enough) flush();
    return *this;
}

void TextOutput::flush() {
    write_all(STDOUT_FILENO, std::as_bytes(std::span(pending_)), "standard output");
    pending_.clear();
}

OutputFile::OutputFile(const std::string& path, bool replace)
    : path_(path), name_(path == "-" ? "standard output" : path), replace_(replace) {
    if (path == "-") {
        fd_ = STDOUT_FILENO;
        owned_ = false;
        return;
    }
    struct stat status {};
    const bool existing = stat(path.c_str(), &status) == 0;
    if (existing && S_ISDIR(status.st_mode))
        throw Failure(Exit::usage, path + ": is a directory: give the name of a file");
    const bool regular = !existing || S_ISREG(status.st_mode);
    if (existing && regular && !replace)
        throw Failure(Exit::exists, path + ": exists: not replaced");
    if (regular) open_beside(existing);
    else open_directly();
}

void OutputFile::open_directly() {
    fd_ = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) fail_errno(name_, "cannot be written", errno);
}

void OutputFile::open_beside(bool existing) {
    // Through a symbolic link its target is replaced, as a plain write would have done.
    if (char* target = existing ? realpath(path_.c_str(), nullptr) : nullptr) {
        path_ = target;
        std::free(target);
    }
    const std::size_t slash = path_.find_last_of('/');
    temporary_ = (slash == std::string::npos ? "" : path_.substr(0, slash + 1)) + ".pymmctl.XXXXXX";
    if (temporary_.size() >= unfinished.size()) fail_errno(name_, "cannot be made", ENAMETOOLONG);
    fd_ = make_guarded(temporary_);
    if (fd_ < 0) {
        const int error = errno;
        temporary_.clear();
        fail_errno(name_, "cannot be made", error);
    }
    // mkostemp makes 0600; a new file gets what open(2) would have given, an old one keeps its mode.
    struct stat status {};
    const bool known = existing && stat(path_.c_str(), &status) == 0;
    const mode_t mode = known ? status.st_mode & 0777u : 0666u & ~current_umask();
    if (fchmod(fd_, mode) != 0) {
        // Then it stays private, which is safe.
    }
}

OutputFile::~OutputFile() {
    if (owned_ && fd_ >= 0) close(fd_);
    if (!temporary_.empty()) {
        unlink(temporary_.c_str());
        has_unfinished = 0;
    }
}

void OutputFile::write(std::span<const std::byte> bytes, const Advance& advance) {
    write_all(fd_, bytes, name_, advance);
}

void OutputFile::commit() {
    if (owned_) {
        // Network file systems report what did not fit only here.
        const int closed = close(fd_);
        const int error = errno;
        fd_ = -1;
        if (closed != 0 && error != EINTR) fail_errno(name_, "cannot be written", error);
    }
    if (temporary_.empty()) return;
    const int done = replace_ ? std::rename(temporary_.c_str(), path_.c_str())
                              : rename_to_new(temporary_.c_str(), path_.c_str());
    if (done != 0) fail_errno(name_, "cannot get its name", errno);
    has_unfinished = 0;
    temporary_.clear();
}

}  // namespace pymmctl
