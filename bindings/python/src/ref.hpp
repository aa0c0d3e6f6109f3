// An owned reference for code that talks to CPython directly, where pybind11's wrappers would cost
// more than the work itself.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

namespace pymm::python {

class Ref {
public:
    Ref() noexcept = default;
    /// Takes over a new reference; null stands for "a Python error is set".
    explicit Ref(PyObject* stolen) noexcept : object_(stolen) {}
    Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
    Ref& operator=(Ref&& other) noexcept {
        std::swap(object_, other.object_);
        return *this;
    }
    ~Ref() { Py_XDECREF(object_); }

    explicit operator bool() const noexcept { return object_ != nullptr; }
    PyObject* get() const noexcept { return object_; }
    PyObject* release() noexcept { return std::exchange(object_, nullptr); }

private:
    PyObject* object_ = nullptr;
};

}  // namespace pymm::python
