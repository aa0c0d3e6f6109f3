// ArrayBase: the part of shelved_ndarray that has to be fast, as a subtype of numpy.ndarray made at
// import. NumPy's C API is not used (only `__array_struct__`, the array interface protocol), so one
// binary serves every NumPy.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>

namespace pymm::python {

struct Block;

/// The struct behind `__array_struct__` (NumPy manual, "The array interface protocol").
struct ArrayInterface {
    int two;
    int nd;
    char typekind;
    int itemsize;
    int flags;
    Py_ssize_t* shape;
    Py_ssize_t* strides;
    void* data;
    PyObject* descr;
};

/// Keeps the capsule, and through it the struct, alive.
class ArrayView {
public:
    /// On failure a Python error is set and operator bool is false.
    explicit ArrayView(PyObject* array) noexcept;
    ~ArrayView() { Py_XDECREF(capsule_); }
    ArrayView(const ArrayView&) = delete;
    ArrayView& operator=(const ArrayView&) = delete;

    explicit operator bool() const noexcept { return interface_ != nullptr; }
    const ArrayInterface* operator->() const noexcept { return interface_; }
    std::uint64_t nbytes() const noexcept;

private:
    PyObject* capsule_;
    const ArrayInterface* interface_ = nullptr;
};

/// The block at the end of the array's chain of bases, borrowed; null when it has none, without error.
Block* find_block(PyObject* array) noexcept;

/// Makes the bytes that the array covers durable; nothing to do where it is not on a shelf.
int persist_array(PyObject* array) noexcept;

/// The end of an assignment of the array to the variable that it is. The end of `s.x += 1`, too: the operator has made
/// it durable already, then there is nothing to do. `borrowed`: references that the calls on the way hold.
int settle_array(PyObject* array, int borrowed) noexcept;

/// An array becomes what is kept of a variable.
void note_load() noexcept;

/// Whether `object` is a numpy.ndarray itself, of no subclass, and owns its memory.
bool is_plain_array(PyObject* object) noexcept;

/// Whether `object` is an instance of ArrayBase.
bool is_shelved_array(PyObject* object) noexcept;

void add_array_type(pybind11::module_& module);

}  // namespace pymm::python
