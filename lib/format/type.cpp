// The public Type: constructors and questions.
#include <pymm/array.hpp>
#include <pymm/type.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "format/type_codec.hpp"

namespace pymm {

namespace {
constexpr std::string_view kGrows = "grows";
}

std::string_view kind_name(Kind kind) noexcept {
    static constexpr std::string_view names[] = {"raw",     "ndarray", "string",  "bytes", "integer",
                                                 "real",    "complex", "boolean", "none",  "scalar",
                                                 "tree",    "tensor",  "pickled", "linked_list"};
    const auto i = static_cast<std::size_t>(kind);
    return i < std::size(names) ? names[i] : "unknown";
}

Type Type::value(Kind kind) {
    Type type;
    type.kind = kind;
    return type;
}

Type Type::array(std::string dtype, std::uint32_t itemsize, std::vector<std::int64_t> shape,
                 bool fortran) {
    Type type;
    type.kind = Kind::ndarray;
    type.dtype = std::move(dtype);
    type.itemsize = itemsize;
    type.shape = std::move(shape);
    if (type.shape.size() > max_dimensions)
        throw InvalidArgumentError(fmt::format("array type: {} dimensions; at most {} are possible",
                                               type.shape.size(), max_dimensions));
    (void)type.nbytes();  // throws on negative dimensions and overflow
    type.strides.resize(type.shape.size());
    std::int64_t stride = itemsize;
    for (std::size_t k = 0; k < type.shape.size(); ++k) {
        const std::size_t d = fortran ? k : type.shape.size() - 1 - k;
        type.strides[d] = stride;
        // As NumPy: a dimension of 0 does not make the strides of the others 0. Cannot overflow where
        // nbytes() did not, except through such a dimension; then no element exists.
        std::int64_t next;
        if (__builtin_mul_overflow(stride, std::max<std::int64_t>(type.shape[d], 1), &next)) next = 0;
        stride = next;
    }
    return type;
}

Type Type::tensor(std::string dtype, std::uint32_t itemsize, std::vector<std::int64_t> shape,
                  std::vector<std::int64_t> strides) {
    // For what it checks.
    Type type = array(std::move(dtype), itemsize, std::move(shape));
    type.kind = Kind::tensor;
    type.strides = std::move(strides);
    return type;
}

namespace {

// Where the text behind the element type of an array that grows begins, its space included; npos where there is none. The texts
// of structured types may have spaces, too, but end with a bracket.
std::size_t growth_at(const Type& type) noexcept {
    if (type.kind != Kind::ndarray) return std::string::npos;
    const std::size_t at = type.dtype.rfind(' ');
    if (at == std::string::npos) return at;
    std::string_view text = std::string_view(type.dtype).substr(at + 1);
    if (!text.starts_with(kGrows)) return std::string::npos;
    text.remove_prefix(kGrows.size());
    if (text.empty()) return at;
    if (!text.starts_with("<=") || text.size() < 3 || text.size() > 2 + 18) return std::string::npos;
    text.remove_prefix(2);
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) ? at : std::string::npos;
}

}  // namespace

std::string_view Type::element() const noexcept {
    const std::string_view all = dtype;
    return all.substr(0, kind == Kind::tensor ? all.find(' ') : growth_at(*this));
}

std::optional<std::uint64_t> Type::max_rows() const noexcept {
    const std::size_t at = growth_at(*this);
    if (at == std::string::npos) return {};
    const std::string_view digits = std::string_view(dtype).substr(std::min(at + 1 + kGrows.size() + 2, dtype.size()));
    if (digits.empty()) return UINT64_MAX;
    std::uint64_t most = 0;
    for (const char c : digits) most = most * 10 + static_cast<std::uint64_t>(c - '0');  // of 18 digits at most
    return most;
}

std::uint64_t Type::nbytes() const {
    std::uint64_t product = itemsize;
    bool empty = itemsize == 0;
    bool overflow = false;
    for (const std::int64_t extent : shape) {
        if (extent < 0)
            throw InvalidArgumentError(fmt::format("array type: negative dimension in shape ({})",
                                                   fmt::join(shape, ", ")));
        if (extent == 0) empty = true;
        else overflow |= __builtin_mul_overflow(product, static_cast<std::uint64_t>(extent), &product);
    }
    if (empty) return 0;
    if (overflow || product > static_cast<std::uint64_t>(INT64_MAX))
        throw InvalidArgumentError(fmt::format("array type: shape ({}) of {}-byte elements overflows",
                                               fmt::join(shape, ", "), itemsize));
    return product;
}

namespace {

bool contiguous(const Type& type, bool fortran) {
    std::int64_t expected = type.itemsize;
    for (const std::int64_t extent : type.shape)
        if (extent == 0) return true;
    for (std::size_t k = 0; k < type.shape.size(); ++k) {
        const std::size_t d = fortran ? k : type.shape.size() - 1 - k;
        if (type.shape[d] != 1 && type.strides[d] != expected) return false;
        if (__builtin_mul_overflow(expected, type.shape[d], &expected)) return false;
    }
    return true;
}

}  // namespace

bool Type::c_contiguous() const { return contiguous(*this, false); }
bool Type::f_contiguous() const { return contiguous(*this, true); }

std::string Type::describe() const {
    switch (kind) {
        case Kind::ndarray: {
            std::string text = fmt::format("{} ({}{})", element(), fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
            if (const auto most = max_rows())
                text += *most == UINT64_MAX ? ", appendable" : fmt::format(", appendable up to {} rows", *most);
            return text;
        }
        case Kind::tensor:
            return fmt::format("tensor {} ({}{})", dtype, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
        case Kind::scalar: return dtype;
        default: return std::string(kind_name(kind));
    }
}

namespace detail {

bool dtype_matches(std::string_view dtype, char kind, std::size_t itemsize) noexcept {
    if (kind == 'V') return true;
    if (dtype.size() < 3) return false;
    const char order = dtype[0];
    if (order != '<' && order != '|' && !(order == '>' && itemsize == 1)) return false;
    if (dtype[1] != kind) return false;
    // "<f8"; other texts behind the number (datetime units) are no plain numbers.
    return dtype.substr(2) == std::to_string(itemsize);
}

void check_bounds(const Type& type, const void* data, std::size_t size, std::size_t alignment) {
    const char* problem = format::type_problem(type, size);
    if (problem == nullptr && size != 0) {
        std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(data);
        for (const std::int64_t stride : type.strides) bits |= static_cast<std::uintptr_t>(stride);
        if (bits % alignment != 0) problem = "elements are not aligned for this type";
    }
    if (problem != nullptr) throw InvalidArgumentError(fmt::format("typed access: {}", problem));
}

}  // namespace detail
}  // namespace pymm
