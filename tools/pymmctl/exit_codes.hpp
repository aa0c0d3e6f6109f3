// Exit codes: a promise to shell scripts. man/pymmctl.1 has the same table; a test compares them.
#pragma once

#include <cerrno>

#include <pymm/error.hpp>

namespace pymmctl {

enum class Exit : int {
    success = 0,
    failure = 1,    ///< I/O error, or anything not listed below
    usage = 2,      ///< wrong command line, name, type, size or option
    not_found = 3,  ///< no such namespace, shelf, blob or input file
    exists = 4,     ///< the target name is taken
    busy = 5,       ///< another process holds the shelf, or a live view forbids the operation
    no_space = 6,   ///< shelf, file system or device is full
    corrupt = 7,    ///< damaged or foreign shelf or .npy file
    version = 8,    ///< written by a newer version
    denied = 9,     ///< no permission, or read-only media
};

/// For system calls that failed.
inline Exit exit_of_errno(int error) noexcept {
    switch (error) {
        case ENOENT:
        case ENOTDIR: return Exit::not_found;
        case EEXIST: return Exit::exists;
        case ENOSPC:
        case EDQUOT: return Exit::no_space;
        case EACCES:
        case EPERM:
        case EROFS: return Exit::denied;
        default: return Exit::failure;
    }
}

inline Exit exit_of(const pymm::Error& error) noexcept {
    switch (error.code()) {
        case pymm::Code::invalid_argument: return Exit::usage;
        case pymm::Code::not_found: return Exit::not_found;
        case pymm::Code::exists: return Exit::exists;
        case pymm::Code::busy:
        case pymm::Code::pinned: return Exit::busy;
        case pymm::Code::no_space: return Exit::no_space;
        case pymm::Code::corrupt: return Exit::corrupt;
        case pymm::Code::version: return Exit::version;
        case pymm::Code::read_only: return Exit::denied;
        case pymm::Code::io: return exit_of_errno(error.os_error());
        case pymm::Code::closed: return Exit::failure;
    }
    return Exit::failure;
}

}  // namespace pymmctl
