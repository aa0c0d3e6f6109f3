// pymm._pymm: what the Python part of the module is built on. Not an interface for users.
#include <pybind11/pybind11.h>

#include <pymm/log.hpp>
#include <pymm/version.hpp>

#include "array.hpp"
#include "attributes.hpp"
#include "block.hpp"
#include "check.hpp"
#include "errors.hpp"
#include "handle.hpp"
#include "transient.hpp"

PYBIND11_MODULE(_pymm, module) {
    module.doc() = "Extension below the module pymm.";
    module.attr("version") = pymm::version();
    module.def("log_debug", &pymm::log_debug, pybind11::arg("text"));
    pymm::python::register_errors();
    pymm::python::add_block_type(module);
    pymm::python::add_private_memory_type(module);
    pymm::python::add_array_type(module);
    pymm::python::add_shelf_type(module);
    pymm::python::add_handle_types(module);
    pymm::python::add_check(module);
    pymm::python::add_transient_memory(module);
}
