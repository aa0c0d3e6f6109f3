#include "numpy_allocator.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace py = pybind11;

namespace pymm::python {

namespace {

// As NumPy declares them: version 1 is the only one there is.
struct Functions {
    void* context;
    void* (*malloc)(void* context, std::size_t size);
    void* (*calloc)(void* context, std::size_t count, std::size_t size);
    void* (*realloc)(void* context, void* memory, std::size_t size);
    void (*free)(void* context, void* memory, std::size_t size);
};
struct Handler {
    char name[127];
    std::uint8_t version;
    Functions functions;
};
constexpr const char* kCapsule = "mem_handler";

// Two entries of NumPy's table of functions, whose places are part of its ABI. Its headers would tie the extension
// to the version that it was compiled with.
constexpr int kSetHandler = 304, kGetHandler = 305;

void* numpy_function(int index) {
    const auto version = py::module_::import("numpy").attr("__version__").cast<std::string>();
    const char* const core = version.starts_with("1.") ? "numpy.core._multiarray_umath" : "numpy._core._multiarray_umath";
    const py::object capsule = py::module_::import(core).attr("_ARRAY_API");
    auto* const table = static_cast<void**>(PyCapsule_GetPointer(capsule.ptr(), nullptr));
    if (table == nullptr) throw py::error_already_set();
    return table[index];
}

Ref current_capsule() {
    Ref capsule(reinterpret_cast<PyObject* (*)()>(numpy_function(kGetHandler))());
    if (!capsule) throw py::error_already_set();
    return capsule;
}

const Handler& handler_of(PyObject* capsule) {
    const auto* handler = static_cast<const Handler*>(PyCapsule_GetPointer(capsule, kCapsule));
    if (handler == nullptr) throw py::error_already_set();
    return *handler;
}

// Each array holds a reference to the capsule that it was made with, and the capsule owns this.
struct Installed {
    Handler handler{};
    std::unique_ptr<DataAllocator> allocator;
    std::size_t least = 0;
    Ref before_capsule;
    const Functions* before = nullptr;

    void* allocate(std::size_t size, bool zero) const noexcept {
        if (size >= least) {
            void* const memory = allocator->allocate(size, zero);
            if (memory != nullptr || !allocator->otherwise_before()) return memory;
        }
        return zero ? before->calloc(before->context, 1, size) : before->malloc(before->context, size);
    }
};

Installed& installed(void* context) noexcept { return *static_cast<Installed*>(context); }

void* data_malloc(void* context, std::size_t size) { return installed(context).allocate(size, false); }

void* data_calloc(void* context, std::size_t count, std::size_t size) {
    std::size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? nullptr : installed(context).allocate(bytes, true);
}

void data_free(void* context, void* memory, std::size_t size) {
    const Installed& here = installed(context);
    if (memory == nullptr) return;
    if (here.allocator->owns(memory)) here.allocator->release(memory);
    else here.before->free(here.before->context, memory, size);
}

// What began small stays where it was made: how much there is to be copied is not told.
void* data_realloc(void* context, void* memory, std::size_t size) {
    const Installed& here = installed(context);
    if (memory == nullptr) return here.allocate(size, false);
    if (!here.allocator->owns(memory)) return here.before->realloc(here.before->context, memory, size);
    const std::size_t room = here.allocator->size_of(memory);
    if (size <= room && size > room / 2) return memory;
    void* const moved = here.allocate(size, false);
    if (moved == nullptr) return size <= room ? memory : nullptr;
    std::memcpy(moved, memory, std::min(room, size));
    here.allocator->release(memory);
    return moved;
}

void destroy(PyObject* capsule) {
    delete &installed(static_cast<Handler*>(PyCapsule_GetPointer(capsule, kCapsule))->functions.context);
}

Installed* ours(PyObject* capsule) {
    const Functions& functions = handler_of(capsule).functions;
    return functions.malloc == &data_malloc ? &installed(functions.context) : nullptr;
}

void set_capsule(PyObject* capsule) {
    const Ref replaced(reinterpret_cast<PyObject* (*)(PyObject*)>(numpy_function(kSetHandler))(capsule));
    if (!replaced) throw py::error_already_set();
}

}  // namespace

Ref install_allocator(std::unique_ptr<DataAllocator> allocator, const char* name, std::size_t least) {
    auto made = std::make_unique<Installed>();
    made->allocator = std::move(allocator);
    made->least = least;
    made->before_capsule = current_capsule();
    made->before = &handler_of(made->before_capsule.get()).functions;
    std::strncpy(made->handler.name, name, sizeof made->handler.name - 1);
    made->handler.version = 1;
    made->handler.functions = {made.get(), data_malloc, data_calloc, data_realloc, data_free};
    Ref before(Py_NewRef(made->before_capsule.get()));
    const Ref capsule(PyCapsule_New(&made->handler, kCapsule, destroy));
    if (!capsule) throw py::error_already_set();
    (void)made.release();
    set_capsule(capsule.get());
    return before;
}

void restore_allocator(PyObject* before) {
    handler_of(before);  // must be one
    const Ref current = current_capsule();
    set_capsule(before);
    if (const Installed* one = ours(current.get())) one->allocator->retire();
}

Ref allocator_before(const char* name) {
    const Ref current = current_capsule();
    const Installed* const one = ours(current.get());
    if (one == nullptr || std::strcmp(one->handler.name, name) != 0) return {};
    return Ref(Py_NewRef(one->before_capsule.get()));
}

}  // namespace pymm::python
