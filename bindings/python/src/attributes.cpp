// Opened variables are kept in the shelf object's own __dict__, so that a shelf all of whose variables
// are open can use Python's plain attribute access: it then has another class, `complete`. While others
// may have to be looked up in the catalogue, a small cache answers before the general machinery is
// asked: `s.x` then costs one indirect call more than an attribute of an ordinary object.
//
// The library works without the GIL, so a variable may change between the moment it was loaded and the
// moment it is kept. Changes are therefore counted, and announced before they begin: what was loaded
// before a change, or during one, is handed out but not kept. Every function below does its work in one
// go under the GIL; objects are dropped at its very end, as that can run any code.
#include "attributes.hpp"

#include <structmember.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "arena.hpp"
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
    std::uint64_t changes;  // begun or ended so far
    std::uint64_t pending;  // begun and not ended
    std::array<Slot, kSlots> slots;
};

Shelf& shelf_of(PyObject* self) { return *reinterpret_cast<Shelf*>(self); }

PyObject* text_missing = nullptr;
PyObject* text_assign = nullptr;
PyObject* text_delete = nullptr;
PyObject* text_set_item = nullptr;
PyObject* text_delete_item = nullptr;
PyObject* text_class = nullptr;
PyObject* text_settle = nullptr;
// pymm.shelf, and its twin for when all variables are open. Subclasses of users stay what they are.
PyTypeObject* plain_class = nullptr;
PyTypeObject* complete_class = nullptr;

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

/// A variable's own value is assigned to it.
int settle(PyObject* value) {
    if (is_shelved_array(value)) return settle_array(value, 1);
    // A tensor; its class says how. Other values never change in place.
    const Ref method(PyObject_GetAttr(reinterpret_cast<PyObject*>(Py_TYPE(value)), text_settle));
    if (!method) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
        PyErr_Clear();
        return 0;
    }
    return Ref(PyObject_CallOneArg(method.get(), value)) ? 0 : -1;
}

int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
    Ref result;
    if (value == nullptr) {
        result = Ref(PyObject_CallMethodOneArg(self, text_delete, name));
    } else {
        // The end of `s.x += 1`, or `s.x = a` where `a` is s.x and was stored to.
        const Slot& slot = slot_of(self, name);
        if (slot.name == name && slot.value == value) return settle(value);
        const Assigned assigned(value);
        PyObject* const arguments[] = {self, name, value};
        result = Ref(PyObject_VectorcallMethod(text_assign, arguments, 3, nullptr));
    }
    return result ? 0 : -1;
}

/// `s[name] = value` and `del s[name]`.
int set_item(PyObject* self, PyObject* name, PyObject* value) {
    if (value == nullptr) return Ref(PyObject_CallMethodOneArg(self, text_delete_item, name)) ? 0 : -1;
    const Assigned assigned(value);
    PyObject* const arguments[] = {self, name, value};
    return Ref(PyObject_VectorcallMethod(text_set_item, arguments, 3, nullptr)) ? 0 : -1;
}

bool become(PyObject* self, PyTypeObject* from, PyTypeObject* to) {
    if (Py_TYPE(self) != from || from == nullptr) return true;
    return PyObject_GenericSetAttr(self, text_class, reinterpret_cast<PyObject*>(to)) == 0;
}

PyObject* stamp(PyObject* self, PyObject*) { return PyLong_FromUnsignedLongLong(shelf_of(self).changes); }

/// Whether nothing has changed since `stamp`, and nothing is changing. Sets an error if it is no number.
bool unchanged(PyObject* self, PyObject* stamp) {
    const unsigned long long then = PyLong_AsUnsignedLongLong(stamp);
    return PyErr_Occurred() == nullptr && shelf_of(self).pending == 0 && shelf_of(self).changes == then;
}

PyObject* remember(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count != 3 || !PyUnicode_CheckExact(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "_remember() takes a name, a value and a stamp");
        return nullptr;
    }
    PyObject* name = Py_NewRef(arguments[0]);
    PyUnicode_InternInPlace(&name);
    const Ref owner(name);
    const Ref before(Py_XNewRef(opened(self, name)));
    if (unchanged(self, arguments[2])) {
        if (PyObject_GenericSetAttr(self, name, arguments[1]) < 0) return nullptr;
        note_load();
        fill(slot_of(self, name), name, arguments[1]);
    }
    if (PyErr_Occurred() != nullptr) return nullptr;
    Py_RETURN_NONE;
}

PyObject* complete(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "_complete() takes a number of variables and a stamp");
        return nullptr;
    }
    const Py_ssize_t variables = PyLong_AsSsize_t(arguments[0]);
    const Ref dict(PyObject_GenericGetDict(self, nullptr));
    if (!dict || (variables < 0 && PyErr_Occurred() != nullptr)) return nullptr;
    if (unchanged(self, arguments[1]) && PyDict_GET_SIZE(dict.get()) == variables &&
        !become(self, plain_class, complete_class))
        return nullptr;
    if (PyErr_Occurred() != nullptr) return nullptr;
    Py_RETURN_NONE;
}

PyObject* begin(PyObject* self, PyObject*) {
    ++shelf_of(self).changes;
    ++shelf_of(self).pending;
    Py_RETURN_NONE;
}

PyObject* end(PyObject* self, PyObject* const* names, Py_ssize_t count) {
    std::vector<Ref> dropped;  // destroyed last
    Shelf& shelf = shelf_of(self);
    ++shelf.changes;
    if (shelf.pending != 0) --shelf.pending;
    const Ref dict(PyObject_GenericGetDict(self, nullptr));
    if (!dict) return nullptr;
    for (Py_ssize_t i = 0; i < count; ++i) {
        // A name made at run time is another object than the interned one, and has another slot.
        for (Slot& any : shelf.slots)
            if (any.name != nullptr && PyUnicode_Compare(any.name, names[i]) == 0) {
                dropped.emplace_back(std::exchange(any.name, nullptr));
                dropped.emplace_back(std::exchange(any.value, nullptr));
            }
        PyObject* value = opened(self, names[i]);
        if (value == nullptr) continue;
        dropped.emplace_back(Py_NewRef(value));
        if (PyDict_DelItem(dict.get(), names[i]) < 0) return nullptr;
    }
    if (count != 0 && !become(self, complete_class, plain_class)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* forget_all(PyObject* self, PyObject*) {
    std::vector<Ref> dropped;
    ++shelf_of(self).changes;
    for (Slot& slot : shelf_of(self).slots) {
        dropped.emplace_back(std::exchange(slot.name, nullptr));
        dropped.emplace_back(std::exchange(slot.value, nullptr));
    }
    const Ref dict(PyObject_GenericGetDict(self, nullptr));
    if (!dict) return nullptr;
    dropped.emplace_back(PyDict_Values(dict.get()));
    PyDict_Clear(dict.get());
    if (!become(self, complete_class, plain_class)) return nullptr;
    Py_RETURN_NONE;
}

PyObject* use_classes(PyObject*, PyObject* const* classes, Py_ssize_t count) {
    if (count != 2 || !PyType_Check(classes[0]) || !PyType_Check(classes[1])) {
        PyErr_SetString(PyExc_TypeError, "_use_classes() takes two classes");
        return nullptr;
    }
    // For as long as the process lives, as the module itself.
    plain_class = reinterpret_cast<PyTypeObject*>(Py_NewRef(classes[0]));
    complete_class = reinterpret_cast<PyTypeObject*>(Py_NewRef(classes[1]));
    Py_RETURN_NONE;
}

PyObject* opened_method(PyObject* self, PyObject* name) {
    PyObject* value = opened(self, name);
    return Py_NewRef(value != nullptr ? value : Py_None);
}

template <class Function>
PyCFunction method(Function* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"_begin", begin, METH_NOARGS, "Announces a change of variables."},
    {"_end", method(end), METH_FASTCALL, "Ends it, and drops what is kept of those that are named."},
    {"_stamp", stamp, METH_NOARGS, "Counts changes: to be asked for before a variable is loaded."},
    {"_remember", method(remember), METH_FASTCALL, "Keeps a value, unless something has changed since the stamp."},
    {"_complete", method(complete), METH_FASTCALL,
     "All variables are open, if so many are and nothing has changed since the stamp."},
    {"_forget_all", forget_all, METH_NOARGS, "Drops what is kept of all variables."},
    {"_opened", opened_method, METH_O, "The value kept of a variable, or None."},
    {"_use_classes", method(use_classes), METH_FASTCALL | METH_STATIC, "The class of shelves, and its twin."},
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
    text_set_item = PyUnicode_InternFromString("_set_item");
    text_delete_item = PyUnicode_InternFromString("_delete_item");
    text_class = PyUnicode_InternFromString("__class__");
    text_settle = PyUnicode_InternFromString("_settle");
    PyType_Slot slots[] = {
        {Py_tp_new, reinterpret_cast<void*>(create)},
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        {Py_tp_getattro, reinterpret_cast<void*>(get_attribute)},
        {Py_tp_setattro, reinterpret_cast<void*>(set_attribute)},
        {Py_mp_ass_subscript, reinterpret_cast<void*>(set_item)},
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
