// From C++ exceptions to Python's (pymm/_errors.py holds the classes).
#pragma once

#include <pybind11/pybind11.h>

#include <pymm/error.hpp>

namespace pymm::python {

/// Sets the Python error that stands for `error`. Needs the GIL.
void set_error(const Error& error) noexcept;

/// The same for whatever exception is being handled: to be called inside `catch (...)` by code that
/// CPython calls directly and that must not let C++ exceptions through.
void set_current_error() noexcept;

/// Lets functions bound by pybind11 throw pymm::Error.
void register_errors();

}  // namespace pymm::python
