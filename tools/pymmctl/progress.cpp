#include "progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "text.hpp"

namespace pymmctl {
namespace {

constexpr auto patience = std::chrono::milliseconds(500);  // short copies show nothing
constexpr auto interval = std::chrono::milliseconds(100);
constexpr std::size_t bar_width = 24;

std::size_t terminal_width() {
    winsize size{};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Progress::Progress(bool quiet, std::string label, std::optional<std::uint64_t> total)
    : active_(!quiet && isatty(STDERR_FILENO) == 1),
      label_(printable(label)),
      total_(total),
      started_(SteadyClock::now()),
      next_(started_ + patience) {}

Progress::~Progress() {
    if (drawn_) std::fputs("\r\033[K", stderr);
}

void Progress::advance(std::uint64_t bytes) {
    done_ += bytes;
    if (!active_) return;
    const auto now = SteadyClock::now();
    if (now < next_) return;
    next_ = now + interval;
    draw(now);
}

void Progress::draw(SteadyClock::time_point now) {
    const double seconds = std::chrono::duration<double>(now - started_).count();
    const auto rate = static_cast<std::uint64_t>(static_cast<double>(done_) / seconds);
    std::string text;
    if (total_ && *total_ > 0) {
        const double share =
            std::min(1.0, static_cast<double>(done_) / static_cast<double>(*total_));
        const auto filled = static_cast<std::size_t>(share * bar_width);
        text = fmt::format("[{}{}] {:3.0f}% of {}, {}/s", std::string(filled, '#'),
                           std::string(bar_width - filled, ' '), share * 100, human_size(*total_),
                           human_size(rate));
    } else {
        text = fmt::format("{}, {}/s", human_size(done_), human_size(rate));
    }
    // The label gives way: a line that wraps could not be drawn over. Cut at a character's start.
    const std::size_t width = terminal_width();
    std::string label = label_;
    if (label.size() + text.size() + 3 > width) {
        std::size_t room = width > text.size() + 6 ? width - text.size() - 6 : 0;
        while (room > 0 && (static_cast<unsigned char>(label[room]) & 0xc0) == 0x80) --room;
        label.resize(room);
        if (room > 0) label += "...";
    }
    if (!label.empty()) label += "  ";
    std::fputs(fmt::format("\r{}{}\033[K", label, text).c_str(), stderr);
    std::fflush(stderr);
    drawn_ = true;
}

}  // namespace pymmctl
