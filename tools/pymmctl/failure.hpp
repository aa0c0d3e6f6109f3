// Errors that the tool itself raises; the library's are pymm::Error.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

#include "exit_codes.hpp"

namespace pymmctl {

/// `message` reads "where: what: what to do"; main() puts "pymmctl COMMAND: " before it.
class Failure : public std::runtime_error {
public:
    Failure(Exit code, const std::string& message) : std::runtime_error(message), code_(code) {}
    Exit code() const noexcept { return code_; }

private:
    Exit code_;
};

/// Whoever read our standard output has gone; there is nobody to tell.
class OutputClosed : public std::exception {};

/// A system call on `where` failed.
[[noreturn]] inline void fail_errno(const std::string& where, const std::string& what, int error) {
    throw Failure(exit_of_errno(error),
                  where + ": " + what + ": " + std::generic_category().message(error));
}

}  // namespace pymmctl
