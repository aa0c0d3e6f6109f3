#include "errors.hpp"

#include <exception>
#include <new>

namespace py = pybind11;

namespace pymm::python {

void set_error(const Error& error) noexcept {
    try {
        const py::object exception = py::module_::import("pymm._errors")
                                         .attr("from_code")(static_cast<int>(error.code()),
                                                            py::str(error.what()), error.os_error());
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
    } catch (py::error_already_set& python) {
        python.restore();
    } catch (...) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
}

void set_current_error() noexcept {
    try {
        throw;
    } catch (const Error& error) {
        set_error(error);
    } catch (py::error_already_set& python) {
        python.restore();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    } catch (...) {
        PyErr_SetString(PyExc_RuntimeError, "unknown error in the pymm library");
    }
}

void register_errors() {
    py::register_exception_translator([](std::exception_ptr pointer) {
        if (!pointer) return;
        try {
            std::rethrow_exception(pointer);
        } catch (const Error& error) {
            set_error(error);
        }
    });
}

}  // namespace pymm::python
