// Turns exceptions into a message on standard error and an exit code.
#pragma once

#include <functional>

#include "command.hpp"

namespace pymmctl {

/// Runs `action`. When it throws, prints "pymmctl COMMAND: ..." (unless `tell` says no) and returns the
/// code. OutputClosed passes through.
Exit guarded(const Context& context, const std::function<void()>& action,
             const std::function<bool(Exit)>& tell = {});

/// One line on standard error.
void complain(const Context& context, const std::string& message);

}  // namespace pymmctl
