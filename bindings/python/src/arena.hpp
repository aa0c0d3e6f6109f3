// Arenas: NumPy's new arrays come from a shelf's free space, and can become variables of it without a copy.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include <pymm/shelf.hpp>

#include "ref.hpp"

namespace pymm::python {

/// From now on, in the present context (contextvars), large arrays are made in the shelf's free space; in DRAM where it
/// has no room. Returns what restore_allocator() takes to end that. Arrays that are not put on the shelf give
/// their space back when they go; until then they keep the shelf's lock, as views do.
Ref enter_arena(Shelf& shelf);

/// `object` is being assigned. Whether nobody else has it is for adopt() to know, while this lives.
class Assigned {
public:
    explicit Assigned(PyObject* object) noexcept;
    ~Assigned();
    Assigned(const Assigned&) = delete;
    Assigned& operator=(const Assigned&) = delete;

private:
    PyObject* outer_;
};

/// Puts the array's own memory under `name`, without a copy, if it came from an arena of this shelf and is a temporary
/// that is being assigned. False, and nothing has happened, if not. The array is read-only from then on, and its
/// memory is not reused while it lives, should anybody have found it. Throws as Shelf::put does.
bool adopt(Shelf& shelf, const std::string& name, PyObject* array, const Type& type);

}  // namespace pymm::python
