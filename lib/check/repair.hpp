// Decides what a repair does, and does it.
#pragma once

#include "check/image.hpp"

namespace pymm {

/// Mends what the options allow of what was found. True when something was written: then another check tells how the
/// shelf is now.
bool repair(Image& image);

}  // namespace pymm
