#include "format/type_codec.hpp"

#include <cstring>

#include "format/layout.hpp"
#include "format/names.hpp"

namespace pymm::format {

std::size_t encoded_type_size(const Type& type) noexcept {
    return sizeof(TypeHeader) + 16 * type.shape.size() + type.dtype.size();
}

void encode_type(const Type& type, std::byte* out) noexcept {
    const std::size_t n = type.shape.size();
    const TypeHeader header{static_cast<std::uint8_t>(type.kind), static_cast<std::uint8_t>(n),
                            static_cast<std::uint16_t>(type.dtype.size()), type.itemsize};
    std::memcpy(out, &header, sizeof header);
    out += sizeof header;
    if (n != 0) {
        std::memcpy(out, type.shape.data(), 8 * n);
        std::memcpy(out + 8 * n, type.strides.data(), 8 * n);
    }
    if (!type.dtype.empty()) std::memcpy(out + 16 * n, type.dtype.data(), type.dtype.size());
}

bool decode_type(std::span<const std::byte> bytes, Type& out) {
    if (bytes.size() < sizeof(TypeHeader)) return false;
    TypeHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    const std::size_t n = header.dimensions;
    if (n > Type::max_dimensions) return false;
    if (bytes.size() != sizeof header + 16 * n + header.dtype_size) return false;
    out.kind = static_cast<Kind>(header.kind);
    out.itemsize = header.itemsize;
    out.shape.resize(n);
    out.strides.resize(n);
    const std::byte* at = bytes.data() + sizeof header;
    if (n != 0) {
        std::memcpy(out.shape.data(), at, 8 * n);
        std::memcpy(out.strides.data(), at + 8 * n, 8 * n);
    }
    out.dtype.assign(reinterpret_cast<const char*>(at + 16 * n), header.dtype_size);
    return true;
}

const char* type_problem(const Type& type, std::uint64_t size) noexcept {
    if (kind_name(type.kind) == "unknown") return "unknown kind";
    if (type.shape.size() != type.strides.size()) return "shape and strides differ in length";
    if (type.shape.size() > Type::max_dimensions) return "more than 64 dimensions";
    if (type.dtype.size() > 0xffff - sizeof(TypeHeader) - 16 * type.shape.size())
        return "the dtype's description is too long";
    if (!is_utf8(type.dtype)) return "the dtype's description is not UTF-8";
    if (!has_elements(type.kind)) {
        if (!type.shape.empty()) return "a shape on a kind that has no elements";
        switch (type.kind) {
            case Kind::real: return size == 8 ? nullptr : "a real has 8 bytes";
            case Kind::complex: return size == 16 ? nullptr : "a complex has 16 bytes";
            case Kind::boolean: return size == 1 ? nullptr : "a boolean has 1 byte";
            case Kind::none: return size == 0 ? nullptr : "none has no bytes";
            case Kind::tree:
            case Kind::pickled: return size >= sizeof(TreeHeader) ? nullptr : "a tree has at least 48 bytes";
            case Kind::linked_list:
                return size >= sizeof(ListRoot) && size % 8 == 0 ? nullptr : "a linked list has at least 64 bytes, a multiple of 8";
            case Kind::integer: return size != 0 ? nullptr : "an integer has at least 1 byte";
            default: return nullptr;
        }
    }
    if (type.dtype.empty()) return "an array without a dtype";
    if (type.kind == Kind::scalar && !type.shape.empty()) return "a scalar with a shape";
    if (const auto most = type.max_rows()) {
        if (type.shape.empty()) return "an array to be appended to without a dimension";
        if (type.shape[0] > 0 && static_cast<std::uint64_t>(type.shape[0]) > *most) return "more rows than it may have";
    }
    // The furthest byte reached, counted without overflow; strides of our own arrays are never negative.
    std::uint64_t product = type.itemsize;
    std::uint64_t last = type.itemsize;
    bool empty = type.itemsize == 0;
    for (std::size_t d = 0; d < type.shape.size(); ++d) {
        if (type.shape[d] < 0) return "a negative dimension";
        if (type.strides[d] < 0) return "a negative stride";
        if (type.shape[d] == 0) empty = true;
    }
    if (empty) return size == 0 ? nullptr : "an empty array with bytes";
    for (std::size_t d = 0; d < type.shape.size(); ++d) {
        const auto extent = static_cast<std::uint64_t>(type.shape[d]);
        std::uint64_t reach;
        if (__builtin_mul_overflow(product, extent, &product) ||
            __builtin_mul_overflow(extent - 1, static_cast<std::uint64_t>(type.strides[d]), &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return "shape times itemsize overflows";
    }
    if (product != size) return "shape times itemsize is not the size";
    if (last > size) return "strides reach outside the data";
    return nullptr;
}

}  // namespace pymm::format
