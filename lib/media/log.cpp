#include "media/log.hpp"

#include <pymm/log.hpp>

#include <algorithm>

namespace pymm {

void log_debug(std::string_view text) {
    if (!log().should_log(spdlog::level::debug)) return;
    for (std::size_t at = 0, end = 0; end != text.size(); at = end + 1) {
        end = std::min(text.find('\n', at), text.size());
        log().debug("{}", text.substr(at, end - at));
    }
}

}  // namespace pymm
