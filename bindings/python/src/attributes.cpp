// Opened variables are kept in the shelf object's own __dict__, so that a shelf all of whose variables
// are open can use Python's plain attribute access (pymm/_shelf.py switches the class). While others
// may have to be looked up in the catalogue, a small cache answers before the general machinery is
// asked: `s.x` then costs one indirect call more than an attribute of an ordinary object.
#include "attributes.hpp"

#include <structmember.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "array.hpp"
#include "ref.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

constexpr std::size_t kSlots = 64;

struct Slot {
    PyObject* name;  // interned, so that comparing pointers is enough to find it again
    PyObject* value;
};

struct Shelf {
    PyObject_HEAD
    PyObject* state;  // what pymm/_shelf.py keeps for an open shelf
    std::array<Slot, kSlots> slots;
};

Shelf& shelf_of(PyObject* self) { return *reinterpret_cast<Shelf*>(self); }

PyObject* text_missing = nullptr;
PyObject* text_assign = nullptr;
PyObject* text_delete = nullptr;

Slot& slot_of(PyObject* self, PyObject* name) {
    const auto address = reinterpret_cast<std::uintptr_t>(name);
    return shelf_of(self).slots[(address >> 4 ^ address >> 10) % kSlots];
}

void fill(Slot& slot, PyObject* name, PyObject* value) {
    const Slot old = slot;
    slot = {Py_XNewRef(name), Py_XNewRef(value)};
    // Last: dropping an array can run any code.
    Py_XDECREF(old.name);
    Py_XDECREF(old.value);
}

PyObject* create(PyTypeObject* type, PyObject* arguments, PyObject*) {
    // Arguments are the business of the subclass: shelf.__new__ looks for an open shelf first.
    PyObject* state = PyTuple_GET_SIZE(arguments) == 1 ? PyTuple_GET_ITEM(arguments, 0) : Py_None;
    PyObject* self = type->tp_alloc(type, 0);
    if (self != nullptr) shelf_of(self).state = Py_NewRef(state);
    return self;
}

void dealloc(PyObject* self) {
    for (Slot& slot : shelf_of(self).slots) fill(slot, nullptr, nullptr);
    Py_CLEAR(shelf_of(self).state);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* get_attribute(PyObject* self, PyObject* name) {
    Slot& slot = slot_of(self, name);
    if (slot.name == name) return Py_NewRef(slot.value);
    PyObject* value = PyObject_GenericGetAttr(self, name);
    if (value != nullptr) {
        // Arrays are only ever in __dict__: an opened variable that another pushed out of its slot.
        if (is_shelved_array(value) && PyUnicode_CHECK_INTERNED(name)) fill(slot, name, value);
        return value;
    }
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return nullptr;
    PyErr_Clear();
    return PyObject_CallMethodOneArg(self, text_missing, name);
}

/// The opened variable of that name, from the instance's __dict__: borrowed, or null without error.
PyObject* opened(PyObject* self, PyObject* name) {
    const Ref dict(PyObject_GenericGetDict(self, nullptr));
    if (!dict) {
        PyErr_Clear();
        return nullptr;
    }
    PyObject* value = PyDict_GetItemWithError(dict.get(), name);
    if (value == nullptr) PyErr_Clear();
    return value;
}

int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
    Ref result;
    if (value == nullptr) {
        result = Ref(PyObject_CallMethodOneArg(self, text_delete, name));
    } else {
        // The end of `s.x += 1`: the array has changed in place and is durable already.
        const Slot& slot = slot_of(self, name);
        if (slot.name == name && slot.value == value) return 0;
        PyObject* const arguments[] = {self, name, value};
        result = Ref(PyObject_VectorcallMethod(text_assign, arguments, 3, nullptr));
    }
    return result ? 0 : -1;
}

PyObject* remember(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count != 2 || !PyUnicode_CheckExact(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "_remember() takes a name and a value");
        return nullptr;
    }
    PyObject* name = Py_NewRef(arguments[0]);
    PyUnicode_InternInPlace(&name);
    const Ref owner(name);
    if (PyObject_GenericSetAttr(self, name, arguments[1]) < 0) return nullptr;
    fill(slot_of(self, name), name, arguments[1]);
    Py_RETURN_NONE;
}

PyObject* forget(PyObject* self, PyObject* name) {
    const Ref dict(PyObject_GenericGetDict(self, nullptr));
    if (!dict) return nullptr;
    // A name made at run time is another object than the interned one, and has another slot.
    for (Slot& any : shelf_of(self).slots)
        if (any.name != nullptr && PyUnicode_Compare(any.name, name) == 0) fill(any, nullptr, nullptr);
    if (opened(self, name) != nullptr && PyDict_DelItem(dict.get(), name) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* forget_all(PyObject* self, PyObject*) {
    for (Slot& slot : shelf_of(self).slots) fill(slot, nullptr, nullptr);
    const Ref dict(PyObject_GenericGetDict(self, nullptr));
    if (!dict) return nullptr;
    PyDict_Clear(dict.get());
    Py_RETURN_NONE;
}

PyObject* opened_method(PyObject* self, PyObject* name) {
    PyObject* value = opened(self, name);
    return Py_NewRef(value != nullptr ? value : Py_None);
}

PyMethodDef methods[] = {
    {"_remember",
     reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(remember)), METH_FASTCALL,
     "Keeps the value of an opened variable."},
    {"_forget", forget, METH_O, "Drops what is kept of a variable."},
    {"_forget_all", forget_all, METH_NOARGS, "Drops what is kept of all variables."},
    {"_opened", opened_method, METH_O, "The value kept of a variable, or None."},
    {},
};

PyMemberDef members[] = {
    {"_state", T_OBJECT, offsetof(Shelf, state), READONLY, nullptr},
    {},
};

}  // namespace

void add_shelf_type(py::module_& module) {
    text_missing = PyUnicode_InternFromString("_missing");
    text_assign = PyUnicode_InternFromString("_assign");
    text_delete = PyUnicode_InternFromString("_delete");
    PyType_Slot slots[] = {
        {Py_tp_new, reinterpret_cast<void*>(create)},
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        {Py_tp_getattro, reinterpret_cast<void*>(get_attribute)},
        {Py_tp_setattro, reinterpret_cast<void*>(set_attribute)},
        {Py_tp_methods, methods},
        {Py_tp_members, members},
        {Py_tp_doc, const_cast<char*>("Attribute access of a shelf.")},
        {0, nullptr},
    };
    PyType_Spec spec = {"pymm._pymm.ShelfBase", sizeof(Shelf), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    const py::object type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
    if (!type) throw py::error_already_set();
    module.attr("ShelfBase") = type;
}

}  // namespace pymm::python
