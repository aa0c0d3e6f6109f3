// Version of the library; the version of the on-media format is separate (docs/FORMAT.md).
#pragma once

#define PYMM_VERSION_MAJOR 0
#define PYMM_VERSION_MINOR 1
#define PYMM_VERSION_PATCH 0

namespace pymm {

/// "0.1.0"
const char* version() noexcept;

}  // namespace pymm
