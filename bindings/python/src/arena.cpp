#include "arena.hpp"

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "array.hpp"
#include "numpy_allocator.hpp"

namespace py = pybind11;

namespace pymm::python {

namespace {

// From a page on, a blob owns its pages; what is smaller has its header in front and is cheap to copy.
constexpr std::size_t kLeast = 4096;

// What NumPy has from arenas. An adopted array's extent may be erased and staged again before NumPy frees the array:
// then there are two at one address, and the last free is that of both.
struct Piece {
    Staged staged;              // empty once it was put
    View pin;                   // of the variable that it became
    const void* shelf = nullptr;
    std::size_t size = 0;
    unsigned frees = 0;         // that are to come
};

std::mutex& lock() {
    static std::mutex* const one = new std::mutex;  // destructors of statics may still free arrays
    return *one;
}

std::map<const void*, Piece>& pieces() {
    static auto* const all = new std::map<const void*, Piece>;
    return *all;
}

class Arena final : public DataAllocator {
public:
    explicit Arena(Shelf shelf) : shelf_(std::move(shelf)) {}

    void* allocate(std::size_t size, bool zero) noexcept override {
        // Finding out that a shelf is full costs it an attempt to make room.
        if (size >= too_much_) return nullptr;
        try {
            Staged staged = shelf_.stage(Type::raw(), size);
            void* const memory = staged.memory().data();
            if (zero) std::memset(memory, 0, size);
            const std::lock_guard guard(lock());
            Piece& piece = pieces()[memory];
            piece.staged = std::move(staged);
            piece.shelf = shelf_.identity();
            piece.size = size;
            ++piece.frees;
            return memory;
        } catch (const std::exception&) {
            // Full, closed, read-only by now: an array can be made elsewhere, and assigning it says what is wrong.
            too_much_ = size;
            return nullptr;
        }
    }
    bool owns(const void* memory) const noexcept override {
        const std::lock_guard guard(lock());
        return pieces().contains(memory);
    }
    std::size_t size_of(const void* memory) const noexcept override {
        const std::lock_guard guard(lock());
        return pieces().at(memory).size;
    }
    void release(void* memory) noexcept override {
        too_much_ = SIZE_MAX;
        Piece dropped;  // outside the lock: giving space back takes the shelf's
        const std::lock_guard guard(lock());
        const auto it = pieces().find(memory);
        if (--it->second.frees != 0) return;
        dropped = std::move(it->second);
        pieces().erase(it);
    }
    bool otherwise_before() const noexcept override { return true; }

private:
    Shelf shelf_;
    std::atomic<std::size_t> too_much_ = SIZE_MAX;
};

thread_local PyObject* temporary = nullptr;

// The evaluation stack's reference is the only one, and no weak one can make another.
bool nobody_else_has(PyObject* object) noexcept {
#if PY_VERSION_HEX >= 0x030E0000
    if (PyUnstable_Object_IsUniqueReferencedTemporary(object) == 0) return false;
#else
    if (Py_REFCNT(object) != 1) return false;
#endif
    const Py_ssize_t offset = Py_TYPE(object)->tp_weaklistoffset;
    return offset > 0 && *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + offset) == nullptr;
}

}  // namespace

Ref enter_arena(Shelf& shelf) {
    // A child must not find the lock held by a thread that it does not have.
    static const int forks = ::pthread_atfork([] { lock().lock(); }, [] { lock().unlock(); }, [] { lock().unlock(); });
    if (forks != 0) throw std::bad_alloc();
    return install_allocator(std::make_unique<Arena>(shelf), "pymm_arena", kLeast);
}

Assigned::Assigned(PyObject* object) noexcept
    : outer_(std::exchange(temporary, nobody_else_has(object) ? object : nullptr)) {}

Assigned::~Assigned() { temporary = outer_; }

bool adopt(Shelf& shelf, const std::string& name, PyObject* array, const Type& type) {
    if (array != temporary || !is_plain_array(array)) return false;
    const ArrayView view(array);
    if (!view) throw py::error_already_set();
    const std::uint64_t size = type.nbytes();
    Piece* piece = nullptr;
    Staged staged;
    {
        const std::lock_guard guard(lock());
        const auto it = pieces().find(view->data);
        if (it == pieces().end() || it->second.shelf != shelf.identity() || it->second.frees != 1 || size < kLeast ||
            size > it->second.size)
            return false;
        piece = &it->second;  // stays there until NumPy frees the array, which is alive
        staged = std::move(piece->staged);
    }
    // Whoever found the array all the same, as in a traceback, must not store to what is the variable's now.
    py::handle(array).attr("setflags")(py::arg("write") = false);
    const py::gil_scoped_release release;
    if (!staged.resize(type, size)) {
        const std::lock_guard guard(lock());
        piece->staged = std::move(staged);
        return false;
    }
    shelf.put(name, std::move(staged));
    try {
        View pin = shelf.get(name, Access::read);
        if (pin.bytes().data() == view->data) {
            const std::lock_guard guard(lock());
            piece->pin = std::move(pin);
        }
    } catch (const Error&) {
        // Another thread erased it, or closed the shelf.
    }
    return true;
}

}  // namespace pymm::python
