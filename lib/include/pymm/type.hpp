// What a blob is: its kind, element type, shape and strides.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pymm {

/// Kind of a blob. The numbers are on media (docs/FORMAT.md, "Type descriptor") and never reused.
enum class Kind : std::uint8_t {
    raw = 0,      ///< bytes without meaning to us
    ndarray = 1,  ///< strided array of `dtype` elements
    string = 2,   ///< UTF-8 text (lone surrogates encoded as in "surrogatepass")
    bytes = 3,    ///< immutable byte string
    integer = 4,  ///< signed integer of any size, two's complement, little-endian
    real = 5,     ///< IEEE 754 binary64, little-endian
    complex = 6,  ///< two binary64: real, imaginary
    boolean = 7,  ///< one byte, 0 or 1
    none = 8,     ///< no value; zero bytes
    scalar = 9,   ///< one element of `dtype` (a NumPy scalar)
    tree = 10,    ///< lists, tuples and dicts with all that is in them: <pymm/tree.hpp>
    tensor = 11,  ///< as ndarray; PyTorch made it, and gets it back as a tensor
    pickled = 12,  ///< a Python object, pickled by its owner's leave; a tree with the pickle and its buffers
    linked_list = 13,  ///< a list that grows and changes: <pymm/list.hpp>
};

/// Strided arrays. These and `raw` are handed out as writable memory, no other kind is.
constexpr bool is_array(Kind kind) noexcept { return kind == Kind::ndarray || kind == Kind::tensor; }
/// What Shelf::append() takes.
constexpr bool can_grow(Kind kind) noexcept { return is_array(kind) || kind == Kind::raw || kind == Kind::linked_list; }
/// Kinds with a `dtype`: arrays and scalars.
constexpr bool has_elements(Kind kind) noexcept { return is_array(kind) || kind == Kind::scalar; }

/// Name of a kind as tools print it ("ndarray", "string" ...); "unknown" for other numbers.
std::string_view kind_name(Kind kind) noexcept;

/// Type descriptor of a blob. Plain data: copy it freely.
///
/// `dtype` is NumPy's array-protocol type string ("<f8", "|S5", "<M8[us]"; NumPy manual, "The array
/// interface protocol") or, for structured types, the `descr` literal of the .npy format (NEP 1).
/// Of a tensor it is NumPy's type string too, or PyTorch's name where NumPy has none ("bfloat16"); behind
/// it may stand " requires_grad". Behind that of an ndarray that is made to be appended to stands " grows", or, where it may
/// have 100 rows at most, " grows<=100".
/// `shape` counts elements, `strides` bytes; both have the same length, the number of dimensions.
struct Type {
    Kind kind = Kind::raw;
    std::string dtype;
    std::uint32_t itemsize = 1;  ///< bytes per element; 0 is legal for "|S0", "|V0"
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;

    static constexpr std::size_t max_dimensions = 64;

    /// Untyped bytes.
    static Type raw() { return {}; }
    /// A value kind without elements (string, bytes, integer, real, complex, boolean, none, tree).
    static Type value(Kind kind);
    /// A contiguous array in C (last index fastest) or Fortran (first index fastest) order.
    /// Throws InvalidArgumentError when the byte size overflows or there are too many dimensions.
    static Type array(std::string dtype, std::uint32_t itemsize, std::vector<std::int64_t> shape,
                      bool fortran = false);

    /// A tensor, its strides in bytes. Unlike arrays' they are the caller's: PyTorch has more than two orders.
    static Type tensor(std::string dtype, std::uint32_t itemsize, std::vector<std::int64_t> shape,
                       std::vector<std::int64_t> strides);

    /// `dtype` without what may stand behind it; valid as long as `dtype`.
    std::string_view element() const noexcept;
    /// Of an ndarray that is made to be appended to, how many rows it may have: UINT64_MAX for any number. Of all else
    /// nothing.
    std::optional<std::uint64_t> max_rows() const noexcept;
    /// Bytes of a contiguous array of this shape: product(shape) * itemsize. Throws on overflow.
    std::uint64_t nbytes() const;
    bool c_contiguous() const;
    bool f_contiguous() const;
    /// "float64 (1000, 1000)"-like text for people; dtype strings are printed as they are.
    std::string describe() const;

    bool operator==(const Type&) const = default;
};

}  // namespace pymm
