// Checking a shelf: what pymm.fsck() calls.
#pragma once

#include <pybind11/pybind11.h>

namespace pymm::python {

void add_check(pybind11::module_& module);

}  // namespace pymm::python
