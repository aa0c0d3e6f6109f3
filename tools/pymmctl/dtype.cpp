#include "dtype.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

namespace pymmctl {
namespace {

static_assert(std::endian::native == std::endian::little, "'=' is written as '<'");

struct Alias {
    std::string_view name, typestr;
};
constexpr std::array aliases{
    Alias{"bool", "|b1"},      Alias{"int8", "|i1"},       Alias{"int16", "<i2"},
    Alias{"int32", "<i4"},     Alias{"int64", "<i8"},      Alias{"int", "<i8"},
    Alias{"uint8", "|u1"},     Alias{"uint16", "<u2"},     Alias{"uint32", "<u4"},
    Alias{"uint64", "<u8"},    Alias{"float16", "<f2"},    Alias{"float32", "<f4"},
    Alias{"float64", "<f8"},   Alias{"float", "<f8"},      Alias{"complex64", "<c8"},
    Alias{"complex128", "<c16"}, Alias{"complex", "<c16"}, Alias{"?", "|b1"},
};

[[noreturn]] void unknown(std::string_view text) {
    throw DtypeError("'" + std::string(text) + "' is no dtype: try float64, <i4, S8, M8[us] ...");
}

std::uint32_t narrow(std::uint64_t size) {
    if (size > std::numeric_limits<std::uint32_t>::max())
        throw DtypeError("an element of " + std::to_string(size) + " bytes is too large");
    return static_cast<std::uint32_t>(size);
}

/// "", "[us]", "[25s]", "[7D/3]"
bool is_time_unit(std::string_view unit) {
    if (unit.empty()) return true;
    if (unit.size() < 3 || unit.front() != '[' || unit.back() != ']') return false;
    unit = unit.substr(1, unit.size() - 2);
    const auto digits = [&unit] {
        const std::size_t end = std::min(unit.find_first_not_of("0123456789"), unit.size());
        unit.remove_prefix(end);
        return end > 0;
    };
    digits();
    const std::size_t end = std::min(unit.find('/'), unit.size());
    constexpr std::array<std::string_view, 14> names{"Y",  "M",  "W",  "D",  "h",  "m",  "s",
                                                     "ms", "us", "ns", "ps", "fs", "as", "generic"};
    if (std::find(names.begin(), names.end(), unit.substr(0, end)) == names.end()) return false;
    unit.remove_prefix(end);
    if (unit.empty()) return true;
    unit.remove_prefix(1);
    return digits() && unit.empty();
}

bool is_size_of(char kind, std::uint64_t size) {
    switch (kind) {
        case 'b': return size == 1;
        case 'i':
        case 'u': return size == 1 || size == 2 || size == 4 || size == 8;
        case 'f': return size == 2 || size == 4 || size == 8 || size == 12 || size == 16;
        case 'c': return size == 8 || size == 16 || size == 24 || size == 32;
        case 'm':
        case 'M': return size == 8;
        default: return true;  // S, U, V: any
    }
}

Dtype parse_typestr(std::string_view text) {
    for (const Alias& alias : aliases)
        if (text == alias.name) return parse_typestr(alias.typestr);

    std::string_view rest = text;
    char order = '=';
    if (!rest.empty() && std::string_view("<>|=").find(rest.front()) != std::string_view::npos) {
        order = rest.front();
        rest.remove_prefix(1);
    }
    if (rest.empty()) unknown(text);
    const char kind = rest.front() == 'a' ? 'S' : rest.front();
    rest.remove_prefix(1);
    if (kind == 'O')
        throw DtypeError("dtype '" + std::string(text) +
                             "' holds Python objects, which are pointers: no shelf can keep them; "
                             "convert the array to a plain dtype",
                         true);
    if (std::string_view("biufcmMSUV").find(kind) == std::string_view::npos) unknown(text);

    std::uint64_t count = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    if (error != std::errc()) unknown(text);
    const std::string_view unit = rest.substr(static_cast<std::size_t>(end - rest.data()));
    const bool time = kind == 'm' || kind == 'M';
    if (!is_size_of(kind, count) || (time ? !is_time_unit(unit) : !unit.empty())) unknown(text);

    if (count > std::numeric_limits<std::uint32_t>::max()) narrow(count);
    const std::uint32_t itemsize = narrow(kind == 'U' ? count * 4 : count);
    // As NumPy itself spells it: '|' where the byte order means nothing.
    if (kind == 'S' || kind == 'V' || (itemsize == 1 && kind != 'U')) order = '|';
    else if (order != '>') order = '<';
    Dtype dtype;
    dtype.text = order;
    dtype.text += kind;
    dtype.text += std::to_string(count);
    dtype.text += unit;
    dtype.itemsize = itemsize;
    return dtype;
}

std::uint64_t elements_of(const Literal& shape) {
    const auto dimension = [](const Literal& item) {
        if (item.is != Literal::Is::integer || item.number < 0)
            throw DtypeError("a field's shape is no tuple of sizes");
        return static_cast<std::uint64_t>(item.number);
    };
    if (shape.is == Literal::Is::integer) return dimension(shape);
    if (shape.is != Literal::Is::tuple) throw DtypeError("a field's shape is no tuple");
    std::uint64_t elements = 1;
    for (const Literal& item : shape.items)
        if (__builtin_mul_overflow(elements, dimension(item), &elements))
            throw DtypeError("a field's shape is too large");
    return elements;
}

/// Bytes of one element. Padding is a field too (name '', dtype '|V4'), so sizes simply add up.
std::uint64_t size_of(const Literal& descr);

std::uint64_t size_of_subarray(const Literal& base, const Literal& shape) {
    std::uint64_t size = 0;
    if (__builtin_mul_overflow(size_of(base), elements_of(shape), &size))
        throw DtypeError("a field is too large");
    return narrow(size);
}

std::uint64_t size_of_fields(const Literal& fields) {
    std::uint64_t size = 0;
    std::set<std::string_view> names;
    for (const Literal& field : fields.items) {
        if (field.is != Literal::Is::tuple || field.items.size() < 2 || field.items.size() > 3)
            throw DtypeError("a field is no tuple of name, dtype and perhaps shape");
        const Literal* name = &field.items[0];
        if (name->is == Literal::Is::tuple && name->items.size() == 2 &&
            name->items[0].is == Literal::Is::text)
            name = &name->items[1];  // (title, name)
        if (name->is != Literal::Is::text) throw DtypeError("a field's name is no string");
        if (!name->text.empty() && !names.insert(name->text).second)
            throw DtypeError("two fields are called '" + name->text + "'");
        size += field.items.size() == 3 ? size_of_subarray(field.items[1], field.items[2])
                                        : size_of(field.items[1]);
        narrow(size);
    }
    return size;
}

std::uint64_t size_of(const Literal& descr) {
    switch (descr.is) {
        case Literal::Is::text: return parse_typestr(descr.text).itemsize;
        case Literal::Is::list: return size_of_fields(descr);
        case Literal::Is::tuple:
            if (descr.items.size() == 2) return size_of_subarray(descr.items[0], descr.items[1]);
            [[fallthrough]];
        default: throw DtypeError("neither a string nor a list of fields");
    }
}

}  // namespace

Dtype parse_dtype(std::string_view text) {
    if (!text.starts_with('[')) return parse_typestr(text);
    try {
        return parse_descr(parse_literal(text));
    } catch (const LiteralError& error) {
        throw DtypeError("'" + std::string(text) + "' is no dtype: " + error.what());
    }
}

Dtype parse_descr(const Literal& descr) {
    if (descr.is == Literal::Is::text) return parse_typestr(descr.text);
    if (descr.is != Literal::Is::list)  // a subarray dtype would change the shape of the array
        throw DtypeError("neither a string nor a list of fields");
    return {std::string(descr.source), narrow(size_of(descr))};
}

}  // namespace pymmctl
