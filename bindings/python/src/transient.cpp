#include "transient.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "file_memory.hpp"
#include "ref.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

// Smaller arrays stay in DRAM: a range of its own in a file is at least a page, and costs system calls.
constexpr std::size_t kLarge = 64 << 10;

// As NumPy declares them (NEP 49; NumPy C API, "Memory management"): version 1 is the only one there is.
struct Allocator {
    void* context;
    void* (*malloc)(void* context, std::size_t size);
    void* (*calloc)(void* context, std::size_t count, std::size_t size);
    void* (*realloc)(void* context, void* memory, std::size_t size);
    void (*free)(void* context, void* memory, std::size_t size);
};
struct Handler {
    char name[127];
    std::uint8_t version;
    Allocator allocator;
};
constexpr const char* kCapsule = "mem_handler";
constexpr const char* kName = "pymm_transient";

// Two entries of NumPy's table of functions, whose places are part of its ABI. Its headers would tie the extension
// to the version that it was compiled with.
constexpr int kSetHandler = 304, kGetHandler = 305;

void* numpy_function(int index) {
    const py::object version = py::module_::import("numpy").attr("__version__");
    const bool old = version.cast<std::string>().starts_with("1.");
    const py::object capsule =
        py::module_::import(old ? "numpy.core._multiarray_umath" : "numpy._core._multiarray_umath").attr("_ARRAY_API");
    auto* const table = static_cast<void**>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
    if (table == nullptr) throw py::error_already_set();
    return table[index];
}

Ref get_handler() {
    Ref handler(reinterpret_cast<PyObject* (*)()>(numpy_function(kGetHandler))());
    if (!handler) throw py::error_already_set();
    return handler;
}

void set_handler(PyObject* capsule) {
    const Ref replaced(reinterpret_cast<PyObject* (*)(PyObject*)>(numpy_function(kSetHandler))(capsule));
    if (!replaced) throw py::error_already_set();
}

// Lives until the capsule does: NumPy's arrays each hold a reference to the one that they were allocated with.
struct Transient {
    Handler handler{};
    std::vector<std::unique_ptr<FileMemory>> files;
    Ref previous;
    const Allocator* dram = nullptr;

    FileMemory* owner(const void* memory) const noexcept {
        for (const auto& file : files)
            if (file->owns(memory)) return file.get();
        return nullptr;
    }
    void* allocate(std::size_t size, bool zero) const noexcept {
        for (const auto& file : files) {
            if (file->inherited()) return zero ? dram->calloc(dram->context, 1, size) : dram->malloc(dram->context, size);
            if (void* memory = file->allocate(size, zero)) return memory;
        }
        return nullptr;
    }
};

Transient& self(void* context) noexcept { return *static_cast<Transient*>(context); }

void* transient_malloc(void* context, std::size_t size) {
    const Transient& t = self(context);
    return size < kLarge ? t.dram->malloc(t.dram->context, size) : t.allocate(size, false);
}

void* transient_calloc(void* context, std::size_t count, std::size_t size) {
    const Transient& t = self(context);
    std::size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
    return bytes < kLarge ? t.dram->calloc(t.dram->context, count, size) : t.allocate(bytes, true);
}

void transient_free(void* context, void* memory, std::size_t size) {
    const Transient& t = self(context);
    if (memory == nullptr) return;
    if (FileMemory* file = t.owner(memory)) file->release(memory);
    else t.dram->free(t.dram->context, memory, size);
}

// What began small stays in DRAM: how much there is to be copied is not told.
void* transient_realloc(void* context, void* memory, std::size_t size) {
    const Transient& t = self(context);
    FileMemory* const file = memory == nullptr ? nullptr : t.owner(memory);
    if (memory == nullptr) return transient_malloc(context, size);
    if (file == nullptr) return t.dram->realloc(t.dram->context, memory, size);
    const std::size_t room = file->size_of(memory);
    if (size <= room && size > room / 2) return memory;
    void* const moved = transient_malloc(context, size);
    if (moved == nullptr) return size <= room ? memory : nullptr;
    std::memcpy(moved, memory, std::min(room, size));
    file->release(memory);
    return moved;
}

void destroy(PyObject* capsule) {
    delete &self(static_cast<Handler*>(PyCapsule_GetPointer(capsule, kCapsule))->allocator.context);
}

const Handler& handler_of(const Ref& capsule) {
    const auto* handler = static_cast<const Handler*>(PyCapsule_GetPointer(capsule.get(), kCapsule));
    if (handler == nullptr) throw py::error_already_set();
    return *handler;
}

bool disable() {
    const Ref current = get_handler();
    const Allocator& allocator = handler_of(current).allocator;
    if (allocator.malloc != &transient_malloc) return false;
    const Transient& ours = self(allocator.context);
    set_handler(ours.previous.get());
    // Arrays that are there, small ones too, keep the handler, and so the files.
    for (const auto& file : ours.files) file->retire();
    return true;
}

// Each file: directory, most bytes, whether it gives storage back at once. Asked for one after the other.
void enable(const std::vector<std::tuple<std::string, std::uint64_t, bool>>& files) {
    auto made = std::make_unique<Transient>();
    for (const auto& [directory, size, give_back] : files)
        made->files.push_back(std::make_unique<FileMemory>(directory, size, give_back));
    disable();
    made->previous = get_handler();
    made->dram = &handler_of(made->previous).allocator;
    std::strcpy(made->handler.name, kName);
    made->handler.version = 1;
    made->handler.allocator = {made.get(), transient_malloc, transient_calloc, transient_realloc, transient_free};
    const Ref capsule(PyCapsule_New(&made->handler, kCapsule, destroy));
    if (!capsule) throw py::error_already_set();
    (void)made.release();
    set_handler(capsule.get());
}

}  // namespace

void add_transient_memory(py::module_& module) {
    module.def("enable_transient", &enable, py::arg("files"));
    module.def("disable_transient", &disable);
}

}  // namespace pymm::python
