// Handle, Stage and Batch: the library's shelf for the Python side of the module.
#pragma once

#include <pybind11/pybind11.h>

namespace pymm::python {

void add_handle_types(pybind11::module_& module);

}  // namespace pymm::python
