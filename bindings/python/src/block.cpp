#include "block.hpp"

#include <pthread.h>
#include <pybind11/stl.h>
#include <structmember.h>

#include <atomic>
#include <new>
#include <string>
#include <vector>

#include <pymm/tree.hpp>

#include "errors.hpp"
#include "ref.hpp"
#include "strided.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

PyTypeObject* block_type = nullptr;
std::byte nothing[1];  // what the buffer of an empty block points at

// Below this, on media whose flush is a CPU instruction, persisting takes less time than handing the
// GIL to another thread and back.
constexpr std::uint64_t kShort = 64 << 10;

// How many forks lie between this process and the first. A forked child must not wait for `lock`: another thread of
// the parent may hold it, and does so for ever in the child.
std::atomic<unsigned> generation{0};

void count_fork() noexcept { generation.fetch_add(1, std::memory_order_relaxed); }

void require_not_forked(const Block& block) {
    if (block.generation != generation.load(std::memory_order_relaxed))
        throw ClosedError("variable '" + block.view.info().name +
                          "': its shelf belongs to the parent of this process, so what is stored here reaches nobody; "
                          "open the shelf anew, by its name");
}

Block& block_of(PyObject* self) { return *reinterpret_cast<Block*>(self); }

void dealloc(PyObject* self) {
    Block& block = block_of(self);
    // The last writable view may give up the writer's lock and unmap the shelf.
    PyThreadState* state = PyEval_SaveThread();
    block.view.~View();
    PyEval_RestoreThread(state);
    block.lock.~mutex();
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

int get_buffer(PyObject* self, Py_buffer* buffer, int flags) {
    Block& block = block_of(self);
    return PyBuffer_FillInfo(buffer, self, block.data, static_cast<Py_ssize_t>(block.size),
                             block.writable ? 0 : 1, flags);
}

PyObject* persist(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    Block& block = block_of(self);
    std::uint64_t offset = 0;
    std::uint64_t size = block.size;
    if (count != 0) {
        if (count != 2) {
            PyErr_SetString(PyExc_TypeError, "persist() takes no arguments, or an offset and a size");
            return nullptr;
        }
        offset = PyLong_AsUnsignedLongLong(arguments[0]);
        if (PyErr_Occurred()) return nullptr;
        size = PyLong_AsUnsignedLongLong(arguments[1]);
        if (PyErr_Occurred()) return nullptr;
    }
    if (persist_block(block, offset, size) < 0) return nullptr;
    Py_RETURN_NONE;
}

// Both read what a type's own structures say where to find. An error that can be raised, where a load would end the
// process.
bool readable_range(Block& block, PyObject* const* arguments, Py_ssize_t count, std::uint64_t& offset,
                    std::uint64_t& size) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "an offset and a size are needed");
        return false;
    }
    offset = PyLong_AsUnsignedLongLong(arguments[0]);
    if (PyErr_Occurred()) return false;
    size = PyLong_AsUnsignedLongLong(arguments[1]);
    if (PyErr_Occurred()) return false;
    try {
        block.view.check_readable(offset, size);
        return true;
    } catch (...) {
        set_current_error();
        return false;
    }
}

PyObject* read(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    Block& block = block_of(self);
    std::uint64_t offset, size;
    if (!readable_range(block, arguments, count, offset, size)) return nullptr;
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(block.data + offset),
                                     static_cast<Py_ssize_t>(size));
}

PyObject* checksum(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    Block& block = block_of(self);
    std::uint64_t offset, size;
    if (!readable_range(block, arguments, count, offset, size)) return nullptr;
    return PyLong_FromUnsignedLong(tree_checksum({block.data + offset, static_cast<std::size_t>(size)}));
}

PyObject* persist_elements(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "persist_elements() takes an address, a shape, strides and an itemsize");
        return nullptr;
    }
    try {
        const auto first = py::cast<std::uintptr_t>(arguments[0]);
        const auto shape = py::cast<std::vector<Py_ssize_t>>(arguments[1]);
        const auto strides = py::cast<std::vector<Py_ssize_t>>(arguments[2]);
        const auto itemsize = py::cast<std::size_t>(arguments[3]);
        if (shape.size() != strides.size()) throw py::value_error("persist_elements: shape and strides differ in length");
        if (persist_strided(block_of(self), reinterpret_cast<const void*>(first), static_cast<int>(shape.size()),
                            shape.data(), strides.data(), itemsize) < 0)
            return nullptr;
    } catch (...) {
        set_current_error();
        return nullptr;
    }
    Py_RETURN_NONE;
}

template <class F>
PyObject* getter(PyObject* self, void*) {
    try {
        return F{}(block_of(self)).release().ptr();
    } catch (...) {
        set_current_error();
        return nullptr;
    }
}

py::tuple tuple_of(const std::vector<std::int64_t>& numbers) {
    py::tuple result(numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) result[i] = py::int_(numbers[i]);
    return result;
}

// decltype of a lambda in an unevaluated operand keeps the table below in one piece.
#define PYMM_GETTER(expression) \
    getter<decltype([](const Block& b) -> py::object { return (expression); })>

PyGetSetDef properties[] = {
    {"name", PYMM_GETTER(py::str(b.view.info().name)), nullptr, "name when it was opened", nullptr},
    {"id", PYMM_GETTER(py::int_(b.view.info().id)), nullptr, nullptr, nullptr},
    {"sequence", PYMM_GETTER(py::int_(b.view.info().sequence)), nullptr, nullptr, nullptr},
    {"size", PYMM_GETTER(py::int_(b.size)), nullptr, "in bytes", nullptr},
    {"kind", PYMM_GETTER(py::int_(static_cast<int>(b.view.type().kind))), nullptr, nullptr, nullptr},
    {"dtype", PYMM_GETTER(py::str(b.view.type().max_rows() ? std::string(b.view.type().element()) : b.view.type().dtype)),
     nullptr, "of the elements", nullptr},
    {"max_rows", PYMM_GETTER(py::cast(b.view.type().max_rows())), nullptr,
     "how many it may have, of an array that grows", nullptr},
    {"itemsize", PYMM_GETTER(py::int_(b.view.type().itemsize)), nullptr, nullptr, nullptr},
    {"shape", PYMM_GETTER(tuple_of(b.view.type().shape)), nullptr, nullptr, nullptr},
    {"strides", PYMM_GETTER(tuple_of(b.view.type().strides)), nullptr, nullptr, nullptr},
    {"writable", PYMM_GETTER(py::bool_(b.writable)), nullptr, nullptr, nullptr},
    {"shelf", PYMM_GETTER(py::int_(reinterpret_cast<std::uintptr_t>(b.shelf))), nullptr,
     "identity of the shelf", nullptr},
    {"address", PYMM_GETTER(py::int_(reinterpret_cast<std::uintptr_t>(b.data))), nullptr, nullptr,
     nullptr},
    {},
};
#undef PYMM_GETTER

PyMethodDef methods[] = {
    {"persist", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(persist)), METH_FASTCALL,
     "Makes stores to all bytes, or to `size` bytes from `offset`, durable."},
    {"read", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(read)), METH_FASTCALL,
     "A copy of `size` bytes from `offset`."},
    {"checksum", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(checksum)), METH_FASTCALL,
     "CRC32C of `size` bytes from `offset`."},
    {"persist_elements", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(persist_elements)), METH_FASTCALL,
     "Makes stores to a strided array inside the block durable: address, shape, strides in bytes, itemsize."},
    {},
};

template <class F>
int guarded(Block& block, std::uint64_t size, F&& work) noexcept {
    try {
        require_not_forked(block);
        if (size <= kShort && block.granularity != Granularity::page) {
            const std::lock_guard guard(block.lock);
            work();
        } else {
            const py::gil_scoped_release release;
            const std::lock_guard guard(block.lock);
            work();
        }
        return 0;
    } catch (...) {
        set_current_error();
        return -1;
    }
}

}  // namespace

PyObject* make_block(View view, const void* shelf, Granularity granularity) {
    PyObject* self = block_type->tp_alloc(block_type, 0);
    if (self == nullptr) return nullptr;
    Block& block = block_of(self);
    new (&block.view) View(std::move(view));
    new (&block.lock) std::mutex;
    const auto bytes = block.view.bytes();
    block.size = bytes.size();
    block.data = bytes.empty() ? nothing : const_cast<std::byte*>(bytes.data());
    block.shelf = shelf;
    block.generation = generation.load(std::memory_order_relaxed);
    block.granularity = granularity;
    block.writable = block.view.is_writable();
    return self;
}

bool is_block(PyObject* object) noexcept { return Py_IS_TYPE(object, block_type); }

int persist_block(Block& block, std::uint64_t offset, std::uint64_t size) noexcept {
    return guarded(block, size, [&] { block.view.persist(offset, size); });
}

int persist_strided(Block& block, const void* first, int dimensions, const Py_ssize_t* shape,
                    const Py_ssize_t* strides, std::size_t itemsize) noexcept {
    const auto offset = static_cast<const std::byte*>(first) - block.data;
    const Runs runs = coalesce(offset, dimensions, shape, strides, itemsize,
                               block.granularity == Granularity::page);
    if (runs.total() == 0) return 0;
    // as_strided() can make arrays that reach anywhere; they get all that can be theirs.
    if (!runs.inside(block.size)) return persist_block(block, 0, block.size);
    return guarded(block, runs.total(), [&] {
        runs.for_each([&](std::uint64_t at, std::uint64_t size) { block.view.persist(at, size); });
    });
}

void add_block_type(py::module_& module) {
    if (pthread_atfork(nullptr, nullptr, count_fork) != 0) throw std::bad_alloc();
    PyType_Slot slots[] = {
        {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
        {Py_tp_getset, properties},
        {Py_tp_methods, methods},
        {Py_tp_doc, const_cast<char*>("Memory of one opened variable; keeps it valid while it lives.")},
        {0, nullptr},
    };
    // Made by Handle.get() only.
    PyType_Spec spec = {"pymm._pymm.Block", sizeof(Block), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    block_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
    if (block_type == nullptr) throw py::error_already_set();
    module.attr("Block") = py::handle(reinterpret_cast<PyObject*>(block_type));
}

}  // namespace pymm::python
