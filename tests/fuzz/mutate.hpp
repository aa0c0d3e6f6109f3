// Damages a shelf image where it hurts: in the fields of its structures.
#pragma once

#include <cstdint>
#include <random>

#include "specimen/image.hpp"

namespace pymm::test {

/// A few mutations, and then, mostly, all checksums made right again.
void mutate(ShelfImage& image, std::minstd_rand& random);

/// Takes pages from `other`.
void cross(ShelfImage& image, const ShelfImage& other, std::minstd_rand& random);

}  // namespace pymm::test
