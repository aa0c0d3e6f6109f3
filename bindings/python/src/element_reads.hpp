// Telling `x[i] += 1` from `x[i] = 1` where x[i] is a copy: a single element, or a fancy selection.
//
// Python runs the first as a read, an addition and a store; only the store touches the shelf. In-place operators are durable when they return, plain element stores at
// the next persist(): a loop of them must not pay for a flush each. So the last few element reads are
// remembered, and a store to an element just read, through the same index object, counts as the end of
// an in-place operator. A wrong guess costs a needless flush. What is missed is an operator whose right
// side itself reads `kReads` or more elements of shelved arrays.
//
// Pointers are compared only, never followed; the GIL guards the table.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <utility>

namespace pymm::python {

inline constexpr std::size_t kReads = 8;

struct ElementReads {
    std::array<std::pair<const PyObject*, const PyObject*>, kReads> last{};
    std::size_t next = 0;
};
inline ElementReads element_reads;

inline void remember_read(const PyObject* array, const PyObject* key) noexcept {
    element_reads.last[element_reads.next++ % kReads] = {array, key};
}

inline bool was_read(const PyObject* array, const PyObject* key) noexcept {
    for (auto& read : element_reads.last)
        if (read.first == array && read.second == key) {
            read = {};
            return true;
        }
    return false;
}

}  // namespace pymm::python
