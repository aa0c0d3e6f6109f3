// The library's own log. Errors are thrown, not logged; what is logged is what nobody can be told by an
// exception: fallbacks taken, damage worked around, work done in the background.
//
// PYMM_DEBUG chooses how much goes to stderr: 0 errors only, unset warnings, 1 also notes, 2 also
// debugging, 3 everything.
#pragma once

#include <spdlog/logger.h>
#include <spdlog/sinks/ansicolor_sink.h>

#include <cstdlib>
#include <memory>

namespace pymm {

namespace detail {
inline spdlog::level::level_enum log_level_from_environment() noexcept {
    const char* text = std::getenv("PYMM_DEBUG");
    if (text == nullptr || *text == '\0') return spdlog::level::warn;
    switch (*text) {
        case '0': return spdlog::level::err;
        case '1': return spdlog::level::info;
        case '2': return spdlog::level::debug;
        default: return spdlog::level::trace;
    }
}
}  // namespace detail

/// Thread-safe, created at the first call. Not in spdlog's registry: that belongs to the application.
inline spdlog::logger& log() {
    // Never destroyed: destructors of the application's statics may still log.
    static spdlog::logger* const logger = [] {
        auto* made = new spdlog::logger(
            "pymm", std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>());
        made->set_pattern("%n: %l: %v");
        made->set_level(detail::log_level_from_environment());
        return made;
    }();
    return *logger;
}

}  // namespace pymm
