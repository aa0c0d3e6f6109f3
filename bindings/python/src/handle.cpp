#include "handle.hpp"

#include <pybind11/stl.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <pymm/namespace.hpp>
#include <pymm/transaction.hpp>
#include <pymm/tree.hpp>

#include "arena.hpp"
#include "array.hpp"
#include "block.hpp"
#include "numpy_allocator.hpp"
#include "ref.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

// Everything that may wait, copy or flush runs without the GIL. Nothing below takes the GIL while it is
// inside the library: the library's locks are never held by a thread that waits for Python.
template <class F>
auto unlocked(F&& work) {
    const py::gil_scoped_release release;
    return work();
}

/// Bytes of an object with a contiguous buffer; keeps the buffer while it lives.
class Buffer {
public:
    explicit Buffer(py::handle object) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) < 0) throw py::error_already_set();
    }
    ~Buffer() { PyBuffer_Release(&view_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    std::span<const std::byte> bytes() const {
        return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
    }

private:
    Py_buffer view_;
};

Type scalar_type(int kind, std::string dtype, std::uint32_t itemsize) {
    Type type = Type::value(static_cast<Kind>(kind));
    type.dtype = std::move(dtype);
    if (type.kind == Kind::scalar) type.itemsize = itemsize;
    return type;
}

// --- what Handle and Batch have in common -------------------------------------------------------

Type contiguous_type(const ArrayView& view, std::string dtype, bool fortran) {
    if (!view) throw py::error_already_set();
    Type type = Type::array(std::move(dtype), static_cast<std::uint32_t>(view->itemsize),
                            std::vector<std::int64_t>(view->shape, view->shape + view->nd), fortran);
    // The flags of __array_struct__ are wrong for structured dtypes.
    for (std::size_t d = 0; type.nbytes() != 0 && d < type.shape.size(); ++d)
        if (type.shape[d] != 1 && type.strides[d] != view->strides[d])
            throw py::value_error("put_array: the array is not contiguous in the order given");
    return type;
}

/// Copies a contiguous NumPy array from its own memory: a memory-mapped file is never read whole.
template <class Target>
void put_array(Target& target, const std::string& name, py::handle array, std::string dtype, bool fortran) {
    const ArrayView view(array.ptr());
    const Type type = contiguous_type(view, std::move(dtype), fortran);
    const std::span bytes(static_cast<const std::byte*>(view->data), type.nbytes());
    unlocked([&] { target.put(name, bytes, type); });
}

/// Copies the bytes of a tensor, in the order of its strides.
template <class Target>
void put_tensor(Target& target, const std::string& name, py::handle bytes, std::string dtype, std::uint32_t itemsize,
                std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
    const Type type = Type::tensor(std::move(dtype), itemsize, std::move(shape), std::move(strides));
    const Buffer buffer(bytes);
    unlocked([&] { target.put(name, buffer.bytes(), type); });
}

template <class Target>
void put_value(Target& target, const std::string& name, py::handle bytes, int kind, std::string dtype,
               std::uint32_t itemsize) {
    const Type type = scalar_type(kind, std::move(dtype), itemsize);
    const Buffer buffer(bytes);
    unlocked([&] { target.put(name, buffer.bytes(), type); });
}

// --- Stage --------------------------------------------------------------------------------------

class Stage {
public:
    explicit Stage(Staged staged) : staged_(std::move(staged)) {}

    py::memoryview memory() {
        const auto bytes = staged_.memory();
        return py::memoryview::from_memory(bytes.data(), static_cast<py::ssize_t>(bytes.size()));
    }
    void write(std::uint64_t offset, py::handle data) {
        const Buffer buffer(data);
        unlocked([&] { staged_.write(offset, buffer.bytes()); });
    }
    Staged take() { return std::move(staged_); }

private:
    Staged staged_;
};

// --- Changes -----------------------------------------------------------------------------------

/// A transaction.
class Changes {
public:
    explicit Changes(Transaction transaction) : transaction_(std::move(transaction)) {}
    ~Changes() {
        const py::gil_scoped_release release;
        transaction_ = {};
    }
    Changes(const Changes&) = delete;
    Changes& operator=(const Changes&) = delete;

    Transaction& operator*() { return transaction_; }

    void add_block(py::handle object, std::uint64_t offset, std::uint64_t size) {
        if (!is_block(object.ptr())) throw py::type_error("add_block: no block");
        const Block& block = *reinterpret_cast<const Block*>(object.ptr());
        unlocked([&] { transaction_.add(block.view, offset, size); });
    }

private:
    Transaction transaction_;
};

// --- Handle -------------------------------------------------------------------------------------

class Handle {
public:
    Handle(Shelf shelf) : shelf_(std::move(shelf)), granularity_(shelf_.stat().granularity) {}

    static Handle open(const std::string& path, const std::string& name, bool writable, std::uint64_t address) {
        const OpenOptions options{.mode = writable ? Mode::read_write : Mode::read_only, .address = address};
        return unlocked([&] { return Handle(Namespace::open(path).shelf(name, options)); });
    }

    static Handle create(const std::string& path, const std::string& name, std::uint64_t capacity,
                         bool force, bool checksum, std::uint64_t address) {
        CreateOptions options;
        options.capacity = capacity;
        options.force = force;
        options.checksum = checksum;
        options.address = address;
        return unlocked([&] { return Handle(Namespace::open(path).create(name, options)); });
    }

    Shelf& shelf() { return shelf_; }

    py::object get(const std::string& name) {
        View view;
        unlocked([&] {
            const std::optional<BlobInfo> info = shelf_.find(name);
            if (!info) return;
            const bool in_place = is_array(info->type.kind) || info->type.kind == Kind::raw;
            if (in_place && shelf_.writable()) {
                try {
                    view = shelf_.get(name, Access::write);
                    return;
                } catch (const ReadOnlyError&) {
                    // Sealed, or the media failed: still readable.
                } catch (const NoSpaceError&) {
                    // Too full for the commit that gives its checksum up: readable, too.
                    if (!info->checksum) throw;
                }
            }
            view = shelf_.get(name, Access::read);
            // Values are copied next: an error that can be raised, where a load would end the process.
            // But not of trees and lists, which are read where they are looked at.
            const Kind kind = info->type.kind;
            const bool in_pieces = kind == Kind::tree || kind == Kind::pickled || kind == Kind::linked_list;
            if (!in_place && !in_pieces) view.check_readable();
        });
        if (!view) throw py::key_error(name);
        PyObject* block = make_block(std::move(view), shelf_.identity(), granularity_);
        if (block == nullptr) throw py::error_already_set();
        return py::reinterpret_steal<py::object>(block);
    }

    /// Whether `block` shows the present version of the variable.
    bool is_current(const std::string& name, py::handle block) {
        if (!is_block(block.ptr())) return false;
        const Block& b = *reinterpret_cast<const Block*>(block.ptr());
        if (b.shelf != shelf_.identity()) return false;
        const std::optional<BlobInfo> info = shelf_.find(name);
        const BlobInfo& ours = b.view.info();
        return same_version(info, ours.id, ours.sequence) && info->offset == ours.offset && info->size == ours.size;
    }

    /// Whether the variable's present version is that one; for values, which keep no block.
    bool is_version(const std::string& name, std::uint64_t id, std::uint64_t sequence) {
        return same_version(shelf_.find(name), id, sequence);
    }

    /// One put, whatever the kind. Without a writable view, a recorded checksum of the source stays.
    void copy(const std::string& from, const std::string& to, bool replace) {
        const bool found = unlocked([&] {
            if (!shelf_.contains(from)) return false;
            if (!replace && shelf_.contains(to))
                throw ExistsError("shelf '" + shelf_.name() + "': copy '" + from + "': '" + to +
                                  "' exists: take another name, or replace it");
            const View view = shelf_.get(from, Access::read);
            view.check_readable();
            shelf_.put(to, view.bytes(), view.type());
            return true;
        });
        if (!found) throw py::key_error(from);
    }

    /// The same for what changes under its id: what a transaction has put is another version behind its commit.
    bool is_exactly(const std::string& name, std::uint64_t id, std::uint64_t sequence) {
        const std::optional<BlobInfo> info = shelf_.find(name);
        return info && info->id == id && info->sequence == sequence;
    }

    void append(const std::string& name, py::handle data, std::optional<std::uint64_t> id, std::optional<std::uint64_t> size) {
        const Buffer buffer(data);
        unlocked([&] { shelf_.append(name, buffer.bytes(), {id, size}); });
    }

    Stage stage(std::string dtype, std::uint32_t itemsize, std::vector<std::int64_t> shape, bool fortran,
                bool zero) {
        return stage(Type::array(std::move(dtype), itemsize, std::move(shape), fortran), zero);
    }

    Stage stage_tensor(std::string dtype, std::uint32_t itemsize, std::vector<std::int64_t> shape,
                       std::vector<std::int64_t> strides, bool zero) {
        return stage(Type::tensor(std::move(dtype), itemsize, std::move(shape), std::move(strides)), zero);
    }

    Stage stage(const Type& type, bool zero) {
        return unlocked([&] {
            Staged staged = shelf_.stage(type, type.nbytes());
            if (zero) staged.zero();
            return Stage(std::move(staged));
        });
    }

    Stage stage_value(int kind, std::uint64_t size) {
        return unlocked([&] { return Stage(shelf_.stage(Type::value(static_cast<Kind>(kind)), size)); });
    }

    std::vector<std::string> names(const std::string& prefix, std::size_t limit) const {
        return unlocked([&] {
            std::vector<std::string> result;
            if (limit == 0) return result;
            shelf_.for_each(prefix, [&](const BlobInfo& info) {
                result.push_back(info.name);
                return result.size() < limit;
            });
            return result;
        });
    }

    /// (name, kind, dtype, shape, bytes) of the first variables.
    py::list table(std::size_t limit) const {
        const auto infos = unlocked([&] {
            std::vector<BlobInfo> result;
            if (limit == 0) return result;
            shelf_.for_each({}, [&](const BlobInfo& info) {
                result.push_back(info);
                return result.size() < limit;
            });
            return result;
        });
        py::list rows;
        for (const BlobInfo& info : infos)
            rows.append(py::make_tuple(info.name, std::string(kind_name(info.type.kind)), info.type.dtype,
                                       py::tuple(py::cast(info.type.shape)), info.size));
        return rows;
    }

    /// All that the catalogue knows of the variables whose names start so, in order.
    py::list entries(const std::string& prefix) const {
        const auto infos = unlocked([&] { return shelf_.list(prefix); });
        py::list result;
        for (const BlobInfo& info : infos) {
            py::dict entry;
            entry["name"] = info.name;
            entry["type"] = info.type.describe();
            entry["size"] = info.size;
            entry["offset"] = info.inlined ? py::object(py::none()) : py::int_(info.offset);
            entry["extent"] = info.extent;
            entry["id"] = info.id;
            entry["sequence"] = info.sequence;
            entry["modified"] = std::chrono::duration<double>(info.modified.time_since_epoch()).count();
            entry["sealed"] = info.sealed;
            entry["checksum"] = info.checksum ? py::object(py::int_(*info.checksum)) : py::none();
            result.append(entry);
        }
        return result;
    }

    py::dict stat() const {
        const ShelfInfo info = unlocked([&] { return shelf_.stat(); });
        py::dict result;
        result["name"] = info.name;
        result["uuid"] = info.uuid;
        result["capacity"] = info.capacity;
        result["used"] = info.used;
        result["free"] = info.free;
        result["blobs"] = info.blobs;
        result["sequence"] = info.sequence;
        result["address"] = info.address;
        result["granularity"] = std::string(granularity_name(info.granularity));
        result["writable"] = info.writable;
        result["checksum"] = info.checksum;
        return result;
    }

private:
    // What was opened in the transaction that put it is the same behind its commit, which has another number.
    static bool same_version(const std::optional<BlobInfo>& now, std::uint64_t id, std::uint64_t sequence) {
        constexpr std::uint64_t open_transaction = std::uint64_t{1} << 63;
        return now && now->id == id &&
               (now->sequence == sequence || (sequence >= open_transaction && now->sequence < open_transaction));
    }

    Shelf shelf_;
    Granularity granularity_;
};

std::uintptr_t identity(Handle& h) { return reinterpret_cast<std::uintptr_t>(h.shelf().identity()); }

}  // namespace

void add_handle_types(py::module_& module) {
    using namespace py::literals;

    module.def(
        "checksum",
        [](py::handle object) {
            const Buffer buffer(object);
            return tree_checksum(buffer.bytes());
        },
        "data"_a, "CRC32C of a contiguous buffer.");

    py::class_<Stage>(module, "Stage", "Space for a value, to be filled and then put.")
        .def("memory", &Stage::memory, "Valid until it is put; the caller keeps the Stage.")
        .def("write", &Stage::write, "offset"_a, "data"_a, "Copies a contiguous buffer in, by the fastest way.");

    module.def("leave_arena", [](py::handle before) { restore_allocator(before.ptr()); }, "before"_a);

    py::class_<Batch>(module, "Batch", "Several changes that become durable together.")
        .def("put_array", &put_array<Batch>, "name"_a, "array"_a, "dtype"_a, "fortran"_a)
        .def("put_tensor", &put_tensor<Batch>, "name"_a, "data"_a, "dtype"_a, "itemsize"_a, "shape"_a, "strides"_a)
        .def("put_value", &put_value<Batch>, "name"_a, "data"_a, "kind"_a, "dtype"_a = "",
             "itemsize"_a = 1)
        .def("put_stage",
             [](Batch& b, const std::string& name, Stage& stage) {
                 unlocked([&] { b.put(name, stage.take()); });
             })
        .def("erase", [](Batch& b, const std::string& name) { b.erase(name); })
        .def("rename",
             [](Batch& b, const std::string& from, const std::string& to) { b.rename(from, to); })
        .def("commit", [](Batch& b) { unlocked([&] { b.commit(); }); })
        .def("__len__", &Batch::size);

    py::class_<Changes>(module, "Changes", "A transaction.")
        .def("add_name", [](Changes& c, const std::string& name) { unlocked([&] { (*c).add(name); }); })
        .def("add_block", &Changes::add_block, "block"_a, "offset"_a, "size"_a)
        .def("add_views", [](Changes& c) { unlocked([&] { (*c).add_views(); }); })
        .def("commit", [](Changes& c) { unlocked([&] { (*c).commit(); }); })
        .def("rollback", [](Changes& c) { unlocked([&] { (*c).rollback(); }); })
        .def_property_readonly("is_active", [](Changes& c) { return (*c).is_active(); });

    py::class_<Handle>(module, "Handle", "An open shelf of the library.")
        .def_static("open", &Handle::open, "path"_a, "name"_a, "writable"_a,
                    "address"_a = 0)
        .def_static("create", &Handle::create, "path"_a, "name"_a, "capacity"_a, "force"_a,
                    "checksum"_a, "address"_a = 0)
        .def_property_readonly("identity", &identity)
        .def_property_readonly("name", [](Handle& h) { return h.shelf().name(); })
        .def_property_readonly("path", [](Handle& h) { return h.shelf().path(); })
        .def_property_readonly("writable", [](Handle& h) { return h.shelf().writable(); })
        .def_property_readonly("is_open", [](Handle& h) { return h.shelf().is_open(); })
        .def("put_array",
             [](Handle& h, const std::string& name, py::handle array, std::string dtype, bool fortran) {
                 const Type type = contiguous_type(ArrayView(array.ptr()), dtype, fortran);
                 if (!adopt(h.shelf(), name, array.ptr(), type))
                     put_array(h.shelf(), name, array, std::move(dtype), fortran);
             })
        .def("put_tensor",
             [](Handle& h, const std::string& name, py::handle data, std::string dtype, std::uint32_t itemsize,
                std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
                 put_tensor(h.shelf(), name, data, std::move(dtype), itemsize, std::move(shape), std::move(strides));
             },
             "name"_a, "data"_a, "dtype"_a, "itemsize"_a, "shape"_a, "strides"_a)
        .def("put_value",
             [](Handle& h, const std::string& name, py::handle data, int kind, std::string dtype,
                std::uint32_t itemsize) {
                 put_value(h.shelf(), name, data, kind, std::move(dtype), itemsize);
             },
             "name"_a, "data"_a, "kind"_a, "dtype"_a = "", "itemsize"_a = 1)
        .def("put_stage",
             [](Handle& h, const std::string& name, Stage& stage) {
                 unlocked([&] { h.shelf().put(name, stage.take()); });
             })
        .def("enter_arena",
             [](Handle& h) { return py::reinterpret_steal<py::object>(enter_arena(h.shelf()).release()); },
             "What leave_arena() takes.")
        .def("append", &Handle::append, "name"_a, "data"_a, "id"_a = py::none(), "size"_a = py::none(),
             "Puts a contiguous buffer behind the end of a variable, if it has this id and size. Durable on return.")
        .def("stage_tensor", &Handle::stage_tensor, "dtype"_a, "itemsize"_a, "shape"_a, "strides"_a, "zero"_a)
        .def("stage",
             py::overload_cast<std::string, std::uint32_t, std::vector<std::int64_t>, bool, bool>(&Handle::stage),
             "dtype"_a, "itemsize"_a, "shape"_a, "fortran"_a, "zero"_a)
        .def("stage_value", &Handle::stage_value, "kind"_a, "size"_a)
        .def("get", &Handle::get, "Block of a variable; KeyError when there is none.")
        .def("replace",
             [](Handle& h, const std::string& name, Stage& stage, std::uint64_t id, std::uint64_t size) {
                 unlocked([&] { h.shelf().replace(name, stage.take(), id, size); });
             },
             "name"_a, "stage"_a, "id"_a, "size"_a)
        .def("is_current", &Handle::is_current)
        .def("is_version", &Handle::is_version, "name"_a, "id"_a, "sequence"_a)
        .def("is_exactly", &Handle::is_exactly, "name"_a, "id"_a, "sequence"_a)
        .def("copy", &Handle::copy, "old"_a, "new"_a, "replace"_a)
        .def("contains",
             [](Handle& h, const std::string& name) { return h.shelf().contains(name); })
        .def("erase",
             [](Handle& h, const std::string& name) { unlocked([&] { h.shelf().erase(name); }); })
        .def("rename",
             [](Handle& h, const std::string& from, const std::string& to, bool replace) {
                 unlocked([&] { h.shelf().rename(from, to, replace); });
             },
             "old"_a, "new"_a, "replace"_a)
        .def("seal",
             [](Handle& h, const std::string& name) { unlocked([&] { h.shelf().seal(name); }); })
        .def("batch", [](Handle& h) { return h.shelf().batch(); })
        .def("transaction",
             [](Handle& h) { return unlocked([&] { return std::make_unique<Changes>(h.shelf().transaction()); }); })
        .def("names", &Handle::names, "prefix"_a, "limit"_a)
        .def("table", &Handle::table, "limit"_a)
        .def("entries", &Handle::entries, "prefix"_a = "")
        .def("__len__", [](Handle& h) { return unlocked([&] { return h.shelf().size(); }); })
        .def("persist", [](Handle& h) { unlocked([&] { h.shelf().persist(); }); })
        .def("stat", &Handle::stat)
        .def("close", [](Handle& h) { unlocked([&] { h.shelf().close(); }); });
}

}  // namespace pymm::python
