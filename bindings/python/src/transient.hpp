// Transient memory: NumPy's large allocations come from files instead of DRAM.
#pragma once

#include <pybind11/pybind11.h>

namespace pymm::python {

void add_transient_memory(pybind11::module_& module);

}  // namespace pymm::python
