// Progress: one line on standard error while a long copy runs, and only on a terminal.
//
// Why not a library: Debian has no progress-bar library for C++, and this is all that is needed.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "output.hpp"

namespace pymmctl {

class Progress {
public:
    /// Without a total (pipes) only bytes and rate are shown.
    Progress(bool quiet, std::string label, std::optional<std::uint64_t> total);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void advance(std::uint64_t bytes);
    /// For write_all().
    Advance callback() {
        return [this](std::size_t bytes) { advance(bytes); };
    }

private:
    using SteadyClock = std::chrono::steady_clock;
    void draw(SteadyClock::time_point now);

    bool active_;
    bool drawn_ = false;
    std::string label_;
    std::optional<std::uint64_t> total_;
    std::uint64_t done_ = 0;
    SteadyClock::time_point started_, next_;
};

}  // namespace pymmctl
