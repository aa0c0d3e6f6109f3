// Where NumPy takes the memory of its arrays from (NEP 49; NumPy C API, "Memory management").
#pragma once

#include <cstddef>
#include <memory>

#include "ref.hpp"

namespace pymm::python {

/// What large arrays are made in. NumPy calls it from any thread, mostly with the GIL.
class DataAllocator {
public:
    virtual ~DataAllocator() = default;
    /// Null where it has no room; `zero`: all zeros.
    virtual void* allocate(std::size_t size, bool zero) noexcept = 0;
    virtual bool owns(const void* memory) const noexcept = 0;
    /// Bytes that may be used at `memory`, which allocate() gave.
    virtual std::size_t size_of(const void* memory) const noexcept = 0;
    virtual void release(void* memory) noexcept = 0;
    /// Where it has no room: whether the allocator before it is asked, or NumPy raises MemoryError.
    virtual bool otherwise_before() const noexcept = 0;
    /// No more arrays will be made here.
    virtual void retire() noexcept {}
};

/// From now on, in the present context (contextvars), arrays of at least `least` bytes are made by `allocator`, smaller
/// ones by what was there before. It lives as long as NumPy and arrays refer to it. Returns what was there.
/// Throws pybind11::error_already_set.
Ref install_allocator(std::unique_ptr<DataAllocator> allocator, const char* name, std::size_t least);

/// Puts back what install_allocator() returned, and retires what is there if it is ours.
void restore_allocator(PyObject* before);

/// If an allocator of that name was installed last, in this context: what was there before it; else null.
Ref allocator_before(const char* name);

}  // namespace pymm::python
