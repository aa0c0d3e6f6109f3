// Salvage: what of a damaged or lost catalogue counts on, and under which name.
#pragma once

#include "check/image.hpp"
#include "check/rebuild.hpp"

namespace pymm {

/// The root is lost: works out from runs and commits that are found in the data area what it must have named, and
/// sets root, runs and tail of the image. False when nothing at all was found.
bool reconstruct(Image& image, Plan& plan);

/// Decides about every entry that can be read, and searches the data area for blobs whose entry is lost. `guessed`: the
/// root was reconstructed, so that what it calls free may be a blob all the same.
void salvage(Image& image, Plan& plan, bool guessed);

}  // namespace pymm
