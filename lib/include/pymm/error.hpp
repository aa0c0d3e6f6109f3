// Errors of the library: one small hierarchy below pymm::Error.
//
// Every message says what failed, where (path, structure, offset) and what the user can do.
// The `Code` is what bindings and tools branch on; the classes exist so that C++ callers can catch
// what they can handle.
#pragma once

#include <stdexcept>
#include <string>

namespace pymm {

enum class Code {
    invalid_argument,  ///< a name, size, type or option that can never be right
    not_found,         ///< no such namespace, shelf or blob
    exists,            ///< the target name is taken
    busy,              ///< another process holds the shelf for writing
    no_space,          ///< shelf, file system or device is full
    corrupt,           ///< damaged or foreign media: a check failed
    version,           ///< written by a newer version, with features this one does not know
    read_only,         ///< opened read-only, read-only media, or read-only after an I/O error
    io,                ///< the operating system reported an error; `os_error()` is its errno
    pinned,            ///< a live view forbids the operation
    closed,            ///< the shelf was closed, or belongs to the parent of a forked process
};

/// Base of all exceptions thrown by the library.
class Error : public std::runtime_error {
public:
    Error(Code code, const std::string& message, int os_error = 0)
        : std::runtime_error(message), code_(code), os_error_(os_error) {}

    Code code() const noexcept { return code_; }
    /// errno of the failed system call, or 0 when none was involved.
    int os_error() const noexcept { return os_error_; }

private:
    Code code_;
    int os_error_;
};

/// One subclass per code, so that `catch (const NotFoundError&)` works.
template <Code C>
class ErrorOf : public Error {
public:
    explicit ErrorOf(const std::string& message, int os_error = 0) : Error(C, message, os_error) {}
};

using InvalidArgumentError = ErrorOf<Code::invalid_argument>;
using NotFoundError = ErrorOf<Code::not_found>;
using ExistsError = ErrorOf<Code::exists>;
using BusyError = ErrorOf<Code::busy>;
using NoSpaceError = ErrorOf<Code::no_space>;
using CorruptError = ErrorOf<Code::corrupt>;
using VersionError = ErrorOf<Code::version>;
using ReadOnlyError = ErrorOf<Code::read_only>;
using IoError = ErrorOf<Code::io>;
using PinnedError = ErrorOf<Code::pinned>;
using ClosedError = ErrorOf<Code::closed>;

}  // namespace pymm
