// What a shelf must read as, in lines of text: to be kept beside an image.
#pragma once

#include <string>

#include <pymm/shelf.hpp>

#include "sim/crash_run.hpp"

namespace pymm::test {

/// A line for each blob, in order: name, kind, dtype, itemsize, shape, strides, size, CRC32C of the data, whether it is sealed;
/// behind it, of a container, an indented line for each node: its kind, its size, and of a leaf kind, dtype and CRC32C.
std::string manifest_of(const sim::State& model);
std::string manifest_of(const Shelf& shelf);

}  // namespace pymm::test
