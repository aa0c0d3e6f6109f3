#include "array.hpp"

#include "block.hpp"
#include "element_reads.hpp"
#include "ref.hpp"

#include <array>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace pymm::python {

namespace {

PyTypeObject* ndarray = nullptr;     // numpy.ndarray
PyTypeObject* array_base = nullptr;  // ArrayBase
PyTypeObject* void_scalar = nullptr;  // numpy.void
PyObject* make_element = nullptr;    // pymm._elements.structured
PyObject* text_base = nullptr;       // interned names
PyObject* view_method = nullptr;  // numpy.ndarray.view
PyObject* text_ndim = nullptr;
PyObject* text_struct = nullptr;
PyObject* text_call = nullptr;
PyObject* text_out = nullptr;
PyObject* text_dst = nullptr;
PyObject* text_arr = nullptr;
PyObject* text_a = nullptr;
PyObject* default_array_function = nullptr;  // numpy.ndarray.__array_function__

/// The same memory as a plain array.
PyObject* plain_view(PyObject* array) {
    PyObject* const arguments[] = {array, reinterpret_cast<PyObject*>(ndarray)};
    return PyObject_Vectorcall(view_method, arguments, 2, nullptr);
}

/// What a NumPy operation made: plain unless it is a view of shelved memory. Steals and returns a
/// reference.
PyObject* demote(PyObject* result) {
    if (result == nullptr || !is_shelved_array(result) || find_block(result) != nullptr) return result;
    const Ref owner(result);
    Ref base(PyObject_GetAttr(result, text_base));
    if (!base) return nullptr;
    // Fancy indexing of a subclass makes a plain array and then an equal view of it.
    if (Py_IS_TYPE(base.get(), ndarray)) {
        const ArrayView a(result);
        if (!a) return nullptr;
        const ArrayView b(base.get());
        if (!b) return nullptr;
        bool equal = a->data == b->data && a->nd == b->nd && a->itemsize == b->itemsize &&
                     a->typekind == b->typekind && a->typekind != 'V';
        for (int d = 0; equal && d < a->nd; ++d)
            equal = a->shape[d] == b->shape[d] && a->strides[d] == b->strides[d];
        if (equal) return base.release();
    }
    return plain_view(result);
}

/// New reference to what NumPy is given in place of `argument`.
PyObject* plain_of(PyObject* argument) {
    return is_shelved_array(argument) ? plain_view(argument) : Py_NewRef(argument);
}

// --- operators ----------------------------------------------------------------------------------

// On plain views, too: NumPy's protocols would lead to array_ufunc() below, and do the same in twice the time.

/// Whether the right side of an operator may have the first word. Python asks it first where its class is a subclass
/// of the left one's, as numpy.matrix is of numpy.ndarray; of ours it is not.
bool goes_first(PyObject* right) {
    return !Py_IS_TYPE(right, ndarray) && PyObject_TypeCheck(right, ndarray) && !is_shelved_array(right);
}

template <binaryfunc PyNumberMethods::*slot, binaryfunc operation>
PyObject* binary(PyObject* left, PyObject* right) {
    const Ref a(plain_of(left));
    if (!a) return nullptr;
    if (a.get() != left && goes_first(right)) return operation(a.get(), right);
    const Ref b(plain_of(right));
    if (!b) return nullptr;
    return (ndarray->tp_as_number->*slot)(a.get(), b.get());
}

PyObject* power(PyObject* left, PyObject* right, PyObject* modulus) {
    const Ref a(plain_of(left));
    if (!a) return nullptr;
    if (a.get() != left && goes_first(right)) return PyNumber_Power(a.get(), right, modulus);
    const Ref b(plain_of(right));
    if (!b) return nullptr;
    return ndarray->tp_as_number->nb_power(a.get(), b.get(), modulus);
}

PyObject* compare(PyObject* left, PyObject* right, int operation) {
    const Ref a(plain_of(left));
    if (!a) return nullptr;
    if (goes_first(right)) return PyObject_RichCompare(a.get(), right, operation);
    const Ref b(plain_of(right));
    if (!b) return nullptr;
    return ndarray->tp_richcompare(a.get(), b.get(), operation);
}

// --- in-place operators -------------------------------------------------------------------------

// They work on a plain view: for subclasses, NumPy spends a microsecond on protocols.

// The array that the thread's last in-place operator left durable, until something else is done to it. Compared only:
// an address may be used again, but what is kept of a variable is only ever a new array after a load.
struct Settled {
    const PyObject* array;
    std::uint64_t loads;
};
thread_local Settled settled;
std::uint64_t loads = 0;  // guarded by the GIL

/// Steals `result`, which the operator of ndarray gave for `plain`, a view of `self`.
PyObject* durable(PyObject* self, PyObject* plain, PyObject* result) {
    if (result != plain) return result;  // NotImplemented, or null
    Py_DECREF(result);
    if (persist_array(self) < 0) return nullptr;
    settled = {self, loads};
    return Py_NewRef(self);
}

template <binaryfunc PyNumberMethods::*slot>
PyObject* in_place(PyObject* self, PyObject* other) {
    const Ref plain(plain_view(self));
    if (!plain) return nullptr;
    return durable(self, plain.get(), (ndarray->tp_as_number->*slot)(plain.get(), other));
}

PyObject* in_place_power(PyObject* self, PyObject* other, PyObject* modulus) {
    const Ref plain(plain_view(self));
    if (!plain) return nullptr;
    return durable(self, plain.get(),
                   ndarray->tp_as_number->nb_inplace_power(plain.get(), other, modulus));
}

// --- indexing -----------------------------------------------------------------------------------

/// An element of a structured array shows the array's memory. Of shelved memory it becomes one that keeps what is
/// stored to it. Steals and returns a reference.
PyObject* live_element(PyObject* element) {
    if (make_element == nullptr || find_block(element) == nullptr) return element;
    const Ref owner(element);
    return PyObject_CallOneArg(make_element, element);
}

PyObject* subscript(PyObject* self, PyObject* key) {
    PyObject* result = ndarray->tp_as_mapping->mp_subscript(self, key);
    if (result == nullptr) return nullptr;
    if (is_shelved_array(result) && find_block(result) != nullptr) return result;
    if (Py_IS_TYPE(result, void_scalar)) return live_element(result);
    remember_read(self, key);
    return demote(result);
}

// For iteration, which does not ask subscript().
PyObject* item(PyObject* self, Py_ssize_t index) {
    PyObject* result = ndarray->tp_as_sequence->sq_item(self, index);
    return result != nullptr && Py_IS_TYPE(result, void_scalar) ? live_element(result) : result;
}

int assign_item(PyObject* self, Py_ssize_t index, PyObject* value) {
    settled = {};
    return ndarray->tp_as_sequence->sq_ass_item(self, index, value);
}

/// The view that `key` selects, or `array` itself where it selects no single block of memory.
Ref selected(PyObject* array, PyObject* key) {
    // An ellipsis at the end makes NumPy return a view even of one element.
    Ref whole;
    if (PyTuple_Check(key)) {
        const Ref dots(PyTuple_Pack(1, Py_Ellipsis));
        if (dots) whole = Ref(PySequence_Concat(key, dots.get()));
    } else {
        whole = Ref(PyTuple_Pack(2, key, Py_Ellipsis));
    }
    if (whole) {
        Ref view(ndarray->tp_as_mapping->mp_subscript(array, whole.get()));
        if (view && is_shelved_array(view.get()) && find_block(view.get()) != nullptr) return view;
    }
    PyErr_Clear();
    return Ref(Py_NewRef(array));
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
    settled = {};
    if (ndarray->tp_as_mapping->mp_ass_subscript(self, key, value) < 0) return -1;
    if (!was_read(self, key)) return 0;
    return persist_array(selected(self, key).get());
}

// --- NumPy's protocols --------------------------------------------------------------------------

// __array_wrap__(self, array, context=None, return_scalar=False): results become plain arrays; an
// array given as out= is made durable. NumPy 1 does not say whether a scalar is wanted.
PyObject* array_wrap(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "__array_wrap__() needs an array");
        return nullptr;
    }
    PyObject* array = arguments[0];
    if (array == self) {
        return persist_array(self) < 0 ? nullptr : Py_NewRef(self);
    }
    bool scalar = count >= 3 && PyObject_IsTrue(arguments[2]) == 1;
    if (count < 3) {
        const Ref ndim(PyObject_GetAttr(array, text_ndim));
        if (!ndim) return nullptr;
        scalar = PyLong_AsLong(ndim.get()) == 0;
    }
    if (!scalar) return demote(Py_NewRef(array));
    const Ref empty(PyTuple_New(0));
    if (!empty) return nullptr;
    return PyObject_GetItem(array, empty.get());
}

// __array_ufunc__(self, ufunc, method, *inputs, **keywords): the work is done on plain views, so results are plain;
// what was written to, an array given as out= or the first one of ufunc.at(), is made durable.
PyObject* array_ufunc(PyObject*, PyObject* const* arguments, Py_ssize_t count, PyObject* names) {
    if (count < 3 || !PyUnicode_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "__array_ufunc__() takes a ufunc, a method and the inputs");
        return nullptr;
    }
    const Py_ssize_t keywords = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    const Py_ssize_t inputs = count - 2;
    // Few in all but the rarest calls: no heap for them.
    const auto all = static_cast<std::size_t>(inputs + keywords);
    std::array<Ref, 6> few;
    std::array<PyObject*, 6> few_plain;
    std::vector<Ref> more(all <= few.size() ? 0 : all);
    std::vector<PyObject*> more_plain(more.size());
    Ref* const owned = more.empty() ? few.data() : more.data();
    PyObject** const plain = more.empty() ? few_plain.data() : more_plain.data();
    PyObject* out = nullptr;        // the tuple as it was given
    PyObject* plain_out = nullptr;  // and with plain views
    for (Py_ssize_t i = 0; i < inputs + keywords; ++i) {
        const auto at = static_cast<std::size_t>(i);
        PyObject* argument = arguments[i + 2];
        if (i >= inputs && PyTuple_CheckExact(argument) &&
            PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i - inputs), "out") == 0) {
            out = argument;
            plain_out = PyTuple_New(PyTuple_GET_SIZE(out));
            owned[at] = Ref(plain_out);
            for (Py_ssize_t k = 0; plain_out != nullptr && k < PyTuple_GET_SIZE(out); ++k) {
                PyObject* item = plain_of(PyTuple_GET_ITEM(out, k));
                if (item == nullptr) return nullptr;
                PyTuple_SET_ITEM(plain_out, k, item);
            }
        } else {
            owned[at] = Ref(plain_of(argument));
        }
        if (!owned[at]) return nullptr;
        plain[at] = owned[at].get();
    }
    Ref result;
    bool at_indices = false;
    if (arguments[1] == text_call || PyUnicode_Compare(arguments[1], text_call) == 0) {
        result = Ref(PyObject_Vectorcall(arguments[0], plain, static_cast<std::size_t>(inputs), names));
    } else {
        const Ref method(PyObject_GetAttr(arguments[0], arguments[1]));
        if (!method) return nullptr;
        at_indices = PyUnicode_CompareWithASCIIString(arguments[1], "at") == 0;
        result = Ref(PyObject_Vectorcall(method.get(), plain, static_cast<std::size_t>(inputs), names));
    }
    if (!result) return nullptr;
    if (at_indices && is_shelved_array(arguments[2]) && persist_array(arguments[2]) < 0) return nullptr;
    if (out == nullptr) return result.release();
    // What is given is given back, as by NumPy itself.
    Ref several;
    if (PyTuple_CheckExact(result.get()) && result.get() != plain_out) {
        several = Ref(PyTuple_New(PyTuple_GET_SIZE(result.get())));
        if (!several) return nullptr;
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(result.get()); ++k)
            PyTuple_SET_ITEM(several.get(), k, Py_NewRef(PyTuple_GET_ITEM(result.get(), k)));
    }
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(out); ++k) {
        PyObject* given = PyTuple_GET_ITEM(out, k);
        if (!is_shelved_array(given)) continue;
        if (persist_array(given) < 0) return nullptr;
        PyObject* view = PyTuple_GET_ITEM(plain_out, k);
        if (result.get() == view) result = Ref(Py_NewRef(given));
        for (Py_ssize_t r = 0; several && r < PyTuple_GET_SIZE(several.get()); ++r)
            if (PyTuple_GET_ITEM(several.get(), r) == view && PyTuple_SetItem(several.get(), r, Py_NewRef(given)) < 0)
                return nullptr;
    }
    return several ? several.release() : result.release();
}

/// Makes durable what a NumPy function has written to: `out`, or the first argument where it gives back nothing
/// (copyto, put, place, putmask, fill_diagonal, put_along_axis).
int persist_written(PyObject* result, PyObject* arguments, PyObject* keywords) {
    if (!PyTuple_Check(arguments) || !PyDict_Check(keywords)) return 0;
    const Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    if (PyDict_GET_SIZE(keywords) != 0) {
        for (PyObject* name : {text_out, text_dst, text_arr, text_a}) {
            if (name != text_out && (result != Py_None || count != 0)) break;
            PyObject* value = PyDict_GetItemWithError(keywords, name);
            if (value == nullptr && PyErr_Occurred() != nullptr) return -1;
            if (value == nullptr) continue;
            if (PyTuple_Check(value)) {
                for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(value); ++k)
                    if (persist_array(PyTuple_GET_ITEM(value, k)) < 0) return -1;
            } else if (persist_array(value) < 0) {
                return -1;
            }
        }
    }
    if (result == Py_None) return count == 0 ? 0 : persist_array(PyTuple_GET_ITEM(arguments, 0));
    // An `out` by position is given back. The first argument is never it: atleast_1d() gives that back as it is.
    if (!is_shelved_array(result)) return 0;
    const Block* block = find_block(result);
    for (Py_ssize_t i = 1; block != nullptr && i < count; ++i) {
        PyObject* argument = PyTuple_GET_ITEM(arguments, i);
        if (is_shelved_array(argument) && find_block(argument) == block && persist_array(argument) < 0) return -1;
    }
    return 0;
}

// __array_function__(self, func, types, args, kwargs): NumPy's own work, results made plain.
PyObject* array_function(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "__array_function__() takes func, types, args and kwargs");
        return nullptr;
    }
    PyObject* const with_self[] = {self, arguments[0], arguments[1], arguments[2], arguments[3]};
    Ref result(PyObject_Vectorcall(default_array_function, with_self, 5, nullptr));
    if (!result || persist_written(result.get(), arguments[2], arguments[3]) < 0) return nullptr;
    if (PyList_CheckExact(result.get())) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(result.get()); ++i) {
            PyObject* item = PyList_GET_ITEM(result.get(), i);
            if (!is_shelved_array(item)) continue;
            PyObject* plain = demote(Py_NewRef(item));
            if (plain == nullptr || PyList_SetItem(result.get(), i, plain) < 0) return nullptr;
        }
        return result.release();
    }
    if (PyTuple_CheckExact(result.get())) {
        bool any = false;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(result.get()); ++i)
            any = any || is_shelved_array(PyTuple_GET_ITEM(result.get(), i));
        if (!any) return result.release();
        Ref copy(PyTuple_New(PyTuple_GET_SIZE(result.get())));
        if (!copy) return nullptr;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(result.get()); ++i) {
            PyObject* plain = demote(Py_NewRef(PyTuple_GET_ITEM(result.get(), i)));
            if (plain == nullptr) return nullptr;
            PyTuple_SET_ITEM(copy.get(), i, plain);
        }
        return copy.release();
    }
    return demote(result.release());
}

// `s.x.shape = ...` would change the one array object that stands for the variable, but not what is
// stored. Views are free to be changed.
int set_attribute(PyObject* self, PyObject* name, PyObject* value) {
    for (const char* fixed : {"shape", "strides", "dtype", "data"}) {
        if (!PyUnicode_Check(name) || PyUnicode_CompareWithASCIIString(name, fixed) != 0) continue;
        const Ref base(PyObject_GetAttr(self, text_base));
        if (!base) return -1;
        if (is_block(base.get())) {
            PyErr_Format(PyExc_AttributeError,
                         "'%s' of a shelved variable is stored with it: assign a changed copy to the "
                         "variable, or change a view (x.view(), x.reshape())",
                         fixed);
            return -1;
        }
    }
    return PyObject_GenericSetAttr(self, name, value);
}

template <class F>
PyCFunction c_function(F* function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef methods[] = {
    {"__array_wrap__", c_function(array_wrap), METH_FASTCALL, nullptr},
    {"__array_ufunc__", c_function(array_ufunc), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"__array_function__", c_function(array_function), METH_FASTCALL, nullptr},
    {},
};

PyObject* persist_array_function(PyObject*, PyObject* array) {
    if (persist_array(array) < 0) return nullptr;
    Py_RETURN_NONE;
}

// For shelf.__setitem__: besides the variable's own references, the caller and it and this call have one each.
PyObject* settle_function(PyObject*, PyObject* array) {
    if (settle_array(array, 3) < 0) return nullptr;
    Py_RETURN_NONE;
}

PyObject* block_function(PyObject*, PyObject* array) {
    Block* block = find_block(array);
    if (block == nullptr) Py_RETURN_NONE;
    return Py_NewRef(reinterpret_cast<PyObject*>(block));
}

PyObject* use_elements(PyObject*, PyObject* function) {
    make_element = Py_NewRef(function);  // for as long as the process lives
    Py_RETURN_NONE;
}

PyObject* use_sequence(PyObject*, PyObject* type) {
    if (!PyType_Check(type) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type), array_base) ||
        PyType_HasFeature(reinterpret_cast<PyTypeObject*>(type), Py_TPFLAGS_HEAPTYPE) == 0) {
        PyErr_SetString(PyExc_TypeError, "use_sequence() takes a subclass of ArrayBase");
        return nullptr;
    }
    *reinterpret_cast<PyTypeObject*>(type)->tp_as_sequence = *array_base->tp_as_sequence;
    Py_RETURN_NONE;
}

PyObject* remember_read_function(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    if (count == 2) remember_read(arguments[0], arguments[1]);
    Py_RETURN_NONE;
}

PyObject* was_read_function(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
    settled = {};
    return PyBool_FromLong(count == 2 && was_read(arguments[0], arguments[1]) ? 1 : 0);
}

PyObject* demote_function(PyObject*, PyObject* array) { return demote(Py_NewRef(array)); }

PyMethodDef functions[] = {
    {"persist_array", persist_array_function, METH_O,
     "Makes the bytes that an array covers durable; nothing to do where it is not on a shelf."},
    {"settle_array", settle_function, METH_O,
     "Makes an array durable that is assigned to the variable which it is, unless an in-place operator just did."},
    {"block_of", block_function, METH_O, "The Block whose memory an array shows, or None."},
    {"use_elements", use_elements, METH_O, "What makes an element of a structured array one that is kept."},
    // A class statement gives `__len__` to the sequence protocol, too, which NumPy leaves without a length so that C
    // callers' negative indices are counted from the end once, and takes away the refusal to concatenate.
    {"use_sequence", use_sequence, METH_O, "A Python subclass of ArrayBase is a sequence as ArrayBase is."},
    {"remember_read", c_function(remember_read_function), METH_FASTCALL, "An element was read: array, index."},
    {"was_read", c_function(was_read_function), METH_FASTCALL,
     "Whether a store to the element may be the end of an in-place operator: array, index."},
    {"demote", demote_function, METH_O, "The array, as a plain one unless it shows shelved memory."},
    {},
};

}  // namespace

ArrayView::ArrayView(PyObject* array) noexcept : capsule_(PyObject_GetAttr(array, text_struct)) {
    if (capsule_ == nullptr) return;
    interface_ = static_cast<const ArrayInterface*>(PyCapsule_GetPointer(capsule_, nullptr));
    if (interface_ != nullptr && interface_->two != 2) {
        interface_ = nullptr;
        PyErr_SetString(PyExc_ValueError, "__array_struct__ of an unknown version");
    }
}

std::uint64_t ArrayView::nbytes() const noexcept {
    auto bytes = static_cast<std::uint64_t>(interface_->itemsize);
    for (int d = 0; d < interface_->nd; ++d) bytes *= static_cast<std::uint64_t>(interface_->shape[d]);
    return bytes;
}

bool is_shelved_array(PyObject* object) noexcept { return PyObject_TypeCheck(object, array_base); }

bool is_plain_array(PyObject* object) noexcept {
    if (Py_TYPE(object) != ndarray) return false;
    const Ref base(PyObject_GetAttr(object, text_base));
    if (!base) PyErr_Clear();
    return base.get() == Py_None;
}

Block* find_block(PyObject* array) noexcept {
    // Each step is kept alive by the one before, and the first by the caller.
    for (PyObject* at = array; PyObject_TypeCheck(at, ndarray) || PyObject_TypeCheck(at, void_scalar);) {
        const Ref base(PyObject_GetAttr(at, text_base));
        if (!base) {
            PyErr_Clear();
            return nullptr;
        }
        at = base.get();
        if (is_block(at)) return reinterpret_cast<Block*>(at);
        // NumPy puts a memoryview between an array and its buffer at times.
        if (PyMemoryView_Check(at)) {
            PyObject* owner = PyMemoryView_GET_BASE(at);
            return owner != nullptr && is_block(owner) ? reinterpret_cast<Block*>(owner) : nullptr;
        }
    }
    return nullptr;
}

int persist_array(PyObject* array) noexcept {
    Block* block = find_block(array);
    if (block == nullptr || !block->writable) return 0;
    const ArrayView view(array);
    if (!view) return -1;
    return persist_strided(*block, view->data, view->nd, view->shape, view->strides,
                           static_cast<std::size_t>(view->itemsize));
}

void note_load() noexcept { ++loads; }

int settle_array(PyObject* array, int borrowed) noexcept {
    const Settled last = std::exchange(settled, {});
    // The instance's __dict__ and the slot keep it. Who else does might have stored to it unseen, as through a plain
    // view or a buffer.
    if (last.array == array && last.loads == loads && Py_REFCNT(array) <= 2 + borrowed) return 0;
    return persist_array(array);
}

void add_array_type(py::module_& module) {
    py::object numpy_ndarray = py::module_::import("numpy").attr("ndarray");
    const py::tuple bases = py::make_tuple(numpy_ndarray);
    ndarray = reinterpret_cast<PyTypeObject*>(numpy_ndarray.release().ptr());  // kept for good
    void_scalar = reinterpret_cast<PyTypeObject*>(py::object(py::module_::import("numpy").attr("void")).release().ptr());
    text_base = PyUnicode_InternFromString("base");
    text_ndim = PyUnicode_InternFromString("ndim");
    text_call = PyUnicode_InternFromString("__call__");
    text_out = PyUnicode_InternFromString("out");
    text_dst = PyUnicode_InternFromString("dst");
    text_arr = PyUnicode_InternFromString("arr");
    text_a = PyUnicode_InternFromString("a");
    text_struct = PyUnicode_InternFromString("__array_struct__");
    default_array_function =
        PyObject_GetAttrString(reinterpret_cast<PyObject*>(ndarray), "__array_function__");
    if (default_array_function == nullptr) throw py::error_already_set();
    view_method = PyObject_GetAttrString(reinterpret_cast<PyObject*>(ndarray), "view");
    if (view_method == nullptr) throw py::error_already_set();

    using N = PyNumberMethods;
    PyType_Slot slots[] = {
        {Py_nb_inplace_add, reinterpret_cast<void*>(in_place<&N::nb_inplace_add>)},
        {Py_nb_inplace_subtract, reinterpret_cast<void*>(in_place<&N::nb_inplace_subtract>)},
        {Py_nb_inplace_multiply, reinterpret_cast<void*>(in_place<&N::nb_inplace_multiply>)},
        {Py_nb_inplace_remainder, reinterpret_cast<void*>(in_place<&N::nb_inplace_remainder>)},
        {Py_nb_inplace_power, reinterpret_cast<void*>(in_place_power)},
        {Py_nb_inplace_lshift, reinterpret_cast<void*>(in_place<&N::nb_inplace_lshift>)},
        {Py_nb_inplace_rshift, reinterpret_cast<void*>(in_place<&N::nb_inplace_rshift>)},
        {Py_nb_inplace_and, reinterpret_cast<void*>(in_place<&N::nb_inplace_and>)},
        {Py_nb_inplace_xor, reinterpret_cast<void*>(in_place<&N::nb_inplace_xor>)},
        {Py_nb_inplace_or, reinterpret_cast<void*>(in_place<&N::nb_inplace_or>)},
        {Py_nb_inplace_floor_divide, reinterpret_cast<void*>(in_place<&N::nb_inplace_floor_divide>)},
        {Py_nb_inplace_true_divide, reinterpret_cast<void*>(in_place<&N::nb_inplace_true_divide>)},
        {Py_nb_add, reinterpret_cast<void*>(binary<&N::nb_add, PyNumber_Add>)},
        {Py_nb_subtract, reinterpret_cast<void*>(binary<&N::nb_subtract, PyNumber_Subtract>)},
        {Py_nb_multiply, reinterpret_cast<void*>(binary<&N::nb_multiply, PyNumber_Multiply>)},
        {Py_nb_remainder, reinterpret_cast<void*>(binary<&N::nb_remainder, PyNumber_Remainder>)},
        {Py_nb_divmod, reinterpret_cast<void*>(binary<&N::nb_divmod, PyNumber_Divmod>)},
        {Py_nb_power, reinterpret_cast<void*>(power)},
        {Py_nb_lshift, reinterpret_cast<void*>(binary<&N::nb_lshift, PyNumber_Lshift>)},
        {Py_nb_rshift, reinterpret_cast<void*>(binary<&N::nb_rshift, PyNumber_Rshift>)},
        {Py_nb_and, reinterpret_cast<void*>(binary<&N::nb_and, PyNumber_And>)},
        {Py_nb_xor, reinterpret_cast<void*>(binary<&N::nb_xor, PyNumber_Xor>)},
        {Py_nb_or, reinterpret_cast<void*>(binary<&N::nb_or, PyNumber_Or>)},
        {Py_nb_floor_divide, reinterpret_cast<void*>(binary<&N::nb_floor_divide, PyNumber_FloorDivide>)},
        {Py_nb_true_divide, reinterpret_cast<void*>(binary<&N::nb_true_divide, PyNumber_TrueDivide>)},
        {Py_nb_matrix_multiply, reinterpret_cast<void*>(binary<&N::nb_matrix_multiply, PyNumber_MatrixMultiply>)},
        {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
        {Py_tp_hash, reinterpret_cast<void*>(PyObject_HashNotImplemented)},
        {Py_sq_item, reinterpret_cast<void*>(item)},
        {Py_sq_ass_item, reinterpret_cast<void*>(assign_item)},
        {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
        {Py_mp_ass_subscript, reinterpret_cast<void*>(assign_subscript)},
        {Py_tp_setattro, reinterpret_cast<void*>(set_attribute)},
        {Py_tp_methods, methods},
        {Py_tp_doc, const_cast<char*>("numpy.ndarray whose in-place operators are durable.")},
        // Last, so that it can be left out: NumPy has `@=` since 1.25.
        {Py_nb_inplace_matrix_multiply,
         reinterpret_cast<void*>(in_place<&N::nb_inplace_matrix_multiply>)},
        {0, nullptr},
    };
    if (ndarray->tp_as_number->nb_inplace_matrix_multiply == nullptr)
        slots[std::size(slots) - 2] = {0, nullptr};
    // Size 0: as the base's. No garbage collection, as ndarray has none.
    PyType_Spec spec = {"pymm._pymm.ArrayBase", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    array_base = reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(&spec, bases.ptr()));
    if (array_base == nullptr) throw py::error_already_set();
    module.attr("ArrayBase") = py::handle(reinterpret_cast<PyObject*>(array_base));
    if (PyModule_AddFunctions(module.ptr(), functions) < 0) throw py::error_already_set();
}

}  // namespace pymm::python
