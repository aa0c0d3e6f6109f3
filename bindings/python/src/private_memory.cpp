#include <new>
#include <optional>
#include <utility>

#include "block.hpp"
#include "errors.hpp"
#include "ref.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

struct Private {
    PyObject_HEAD
    PrivateMemory memory;
    PyObject* block;  // pins the extent that unchanged pages show
};

PyTypeObject* private_type = nullptr;

Private& private_of(PyObject* self) { return *reinterpret_cast<Private*>(self); }

PyObject* make_private(PyObject*, PyObject* object) {
    if (!is_block(object)) {
        PyErr_SetString(PyExc_TypeError, "private_memory() takes a Block");
        return nullptr;
    }
    Block& block = *reinterpret_cast<Block*>(object);
    std::optional<PrivateMemory> memory;
    try {
        const py::gil_scoped_release release;
        const std::lock_guard guard(block.lock);
        memory = block.view.private_memory();
    } catch (...) {
        set_current_error();
        return nullptr;
    }
    PyObject* self = private_type->tp_alloc(private_type, 0);
    if (self == nullptr) return nullptr;
    new (&private_of(self).memory) PrivateMemory(std::move(*memory));
    private_of(self).block = Py_NewRef(object);
    return self;
}

void dealloc(PyObject* self) {
    private_of(self).memory.~PrivateMemory();
    PyObject* block = private_of(self).block;
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_DECREF(block);
}

int get_buffer(PyObject* self, Py_buffer* buffer, int flags) {
    const auto bytes = private_of(self).memory.bytes();
    return PyBuffer_FillInfo(buffer, self, bytes.data(), static_cast<Py_ssize_t>(bytes.size()), 0, flags);
}

PyMethodDef functions[] = {
    {"private_memory", make_private, METH_O, "Memory with a block's bytes; what is stored there reaches nobody."},
    {},
};

}  // namespace

void add_private_memory_type(py::module_& module) {
    PyType_Slot slots[] = {
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
        {Py_tp_doc, const_cast<char*>("A block's bytes, for code that does not know read-only memory.")},
        {0, nullptr},
    };
    PyType_Spec spec = {"pymm._pymm.PrivateMemory", sizeof(Private), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    private_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
    if (private_type == nullptr) throw py::error_already_set();
    module.attr("PrivateMemory") = py::handle(reinterpret_cast<PyObject*>(private_type));
    if (PyModule_AddFunctions(module.ptr(), functions) < 0) throw py::error_already_set();
}

}  // namespace pymm::python
