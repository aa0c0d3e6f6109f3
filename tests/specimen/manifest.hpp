// What a shelf must read as, in lines of text: to be kept beside an image.
#pragma once

#include <string>

#include <pymm/shelf.hpp>

#include "sim/crash_run.hpp"

namespace pymm::test {

/// A line for each blob, in order: name, kind, dtype, itemsize, shape, strides, size, CRC32C of the data, whether it is sealed.
std::string manifest_of(const sim::State& model);
std::string manifest_of(const Shelf& shelf);

}  // namespace pymm::test
