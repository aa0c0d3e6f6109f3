// The library's log, for those who build on it and want their lines among its own.
#pragma once

#include <string_view>

namespace pymm {

/// Says each line of `text` in the library's log, at the level "debug": on stderr, where PYMM_DEBUG is 2 or more, as
/// "pymm: debug: LINE". The variable is read once per process. Thread-safe.
void log_debug(std::string_view text);

}  // namespace pymm
