// Measuring side by side: alternatives run in turn, round by round, so that a drift of the machine hits
// all alike; the median of the rounds counts, and ratios are the result.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace pymm::perf {

inline double seconds(const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

inline std::string duration(double s) {
    if (s < 1e-6) return fmt::format("{:.0f} ns", s * 1e9);
    if (s < 1e-3) return fmt::format("{:.2f} us", s * 1e6);
    if (s < 1) return fmt::format("{:.2f} ms", s * 1e3);
    return fmt::format("{:.2f} s", s);
}

/// One alternative: `work` returns seconds for one unit of what is compared.
struct Alternative {
    std::string name;
    std::function<double()> work;
    std::vector<double> rounds{};
};

/// Runs the alternatives in turn, `rounds` times after one round of warming up, and prints medians and
/// their ratio to the first one.
inline void compare(const std::string& title, std::vector<Alternative> all, int rounds) {
    for (int round = -1; round < rounds; ++round)
        for (Alternative& a : all) {
            const double s = a.work();
            if (round >= 0) a.rounds.push_back(s);
        }
    fmt::print("{}\n", title);
    const double base = median(all.front().rounds);
    for (const Alternative& a : all) {
        const auto [low, high] = std::minmax_element(a.rounds.begin(), a.rounds.end());
        fmt::print("  {:<44} {:>10}  {:>6.2f}x   ({} .. {})\n", a.name, duration(median(a.rounds)),
                   median(a.rounds) / base, duration(*low), duration(*high));
    }
    std::fflush(stdout);
}

}  // namespace pymm::perf
