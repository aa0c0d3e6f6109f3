// Block: the Python object that owns a View. Arrays are built over its buffer, so NumPy's chain of
// `base` references keeps the view, and with it the mapping and the extent, alive.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <mutex>

#include <pymm/shelf.hpp>

namespace pymm::python {

struct Block {
    PyObject_HEAD
    View view;
    std::mutex lock;          ///< a View belongs to one thread at a time; arrays are shared by threads
    std::byte* data;          ///< first byte; never null
    std::uint64_t size;
    const void* shelf;        ///< Shelf::identity(), compared only
    Granularity granularity;
    unsigned generation;      ///< of the process that made it, counted by forks
    bool writable;
};

/// New reference, or null with a Python error set.
PyObject* make_block(View view, const void* shelf, Granularity granularity);

bool is_block(PyObject* object) noexcept;

/// Persists `size` bytes from `offset`; releases the GIL where that can take long. -1 with a Python
/// error set when it failed.
int persist_block(Block& block, std::uint64_t offset, std::uint64_t size) noexcept;

/// Persists the bytes that a strided array inside the block covers: `first` is the address of its
/// element (0, 0, ...). Neighbouring runs are joined where flushing the gap is cheaper.
int persist_strided(Block& block, const void* first, int dimensions, const Py_ssize_t* shape,
                    const Py_ssize_t* strides, std::size_t itemsize) noexcept;

/// PrivateMemory: the Python object over memory with a block's bytes that may be stored to, and reaches nobody
/// (View::private_memory). It keeps the block.
void add_private_memory_type(pybind11::module_& module);

void add_block_type(pybind11::module_& module);

}  // namespace pymm::python
