// ShelfBase: attribute access of pymm.shelf, in C for speed.
#pragma once

#include <pybind11/pybind11.h>

namespace pymm::python {

void add_shelf_type(pybind11::module_& module);

}  // namespace pymm::python
