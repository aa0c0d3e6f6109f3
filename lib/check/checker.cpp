#include "check/checker.hpp"

#include "check/image.hpp"

namespace pymm {

CheckReport check_media(const CheckTarget& target, const CheckOptions& options) {
    CheckReport report;
    Image image(target, options, report);
    check_root(image);
    return report;
}

}  // namespace pymm
