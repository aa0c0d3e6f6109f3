// Telling `x[i] += 1` from `x[i] = 1` where x[i] is a copy: a single element, or a fancy selection.
//
// Python runs the first as a read, an addition and a store; only the store touches the shelf. In-place operators are
// durable when they return, plain element stores at the next persist(): a loop of them must not pay for a flush each.
// So element reads are remembered, and a store to an element that was read, through the same index object, counts as
// the end of an in-place operator. A wrong guess costs a needless flush; none may be missed:
//
// - Whatever the right side reads must not hide the read of the left side. Where one read takes the place of another,
//   the place keeps which array that other was of, and for good: any store to that array which belongs there is flushed.
//   So a loop like `x[i] = y[i] + z[i]` stays free of flushes, however much of y and z it reads. A place keeps a few
//   arrays. Reads of more than that, in a long life of the thread, and each store that belongs there is flushed.
// - The right side may itself change the element in place, and its store must not use up the read of the left side.
//   So reads of one element are counted, up to `kNested`.
// - Each thread has a table of its own.
//
// Pointers are compared only, never followed.
#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

namespace pymm::python {

inline constexpr std::size_t kReads = 512;
inline constexpr unsigned kNested = 8;
inline constexpr std::size_t kLost = 4;

struct ElementRead {
    const PyObject* array;
    const PyObject* key;
    const PyObject* lost[kLost];  // arrays of reads that were here before
    unsigned reads;               // not yet followed by a store
    bool many;                    // reads of more arrays than that were here before

    bool has_lost(const PyObject* of) const noexcept {
        return many || std::find(lost, lost + kLost, of) != lost + kLost;
    }

    void lose() noexcept {
        if (reads == 0 || has_lost(array)) return;
        const PyObject** const free = std::find(lost, lost + kLost, nullptr);
        if (free != lost + kLost)
            *free = array;
        else
            many = true;
    }
};
// On the heap, made at the first use: the little thread-local memory that the loader has left for a module which is
// loaded at run time would not hold it.
struct ElementReads {
    ElementRead* places = nullptr;
    ~ElementReads() {
        delete[] places;
        places = nullptr;
    }
};
inline thread_local ElementReads element_reads;

/// Null when there is no memory for the table: then every element may have been read.
inline ElementRead* read_of(const PyObject* array, const PyObject* key) noexcept {
    ElementRead*& places = element_reads.places;
    if (places == nullptr) {
        places = new (std::nothrow) ElementRead[kReads]{};
        if (places == nullptr) return nullptr;
    }
    const auto a = reinterpret_cast<std::uintptr_t>(array) >> 4;
    const auto k = reinterpret_cast<std::uintptr_t>(key) >> 4;
    return &places[((a * 0x9e3779b97f4a7c15u) ^ (k * 0xff51afd7ed558ccdu)) >> 32 & (kReads - 1)];
}

inline void remember_read(const PyObject* array, const PyObject* key) noexcept {
    ElementRead* const place = read_of(array, key);
    if (place == nullptr) return;
    ElementRead& read = *place;
    if (read.array == array && read.key == key) {
        if (read.reads < kNested) ++read.reads;
        return;
    }
    read.lose();
    read.array = array;
    read.key = key;
    read.reads = 1;
}

inline bool was_read(const PyObject* array, const PyObject* key) noexcept {
    ElementRead* const place = read_of(array, key);
    if (place == nullptr) return true;
    ElementRead& read = *place;
    if (read.array == array && read.key == key && read.reads != 0) {
        --read.reads;
        return true;
    }
    return read.has_lost(array);
}

}  // namespace pymm::python
