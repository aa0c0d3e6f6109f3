#include "npy.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "dtype.hpp"
#include "failure.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

// NumPy itself reads at most 10,000 bytes unless told otherwise; wide structured types need more.
constexpr std::size_t max_header = 1 << 20;
constexpr std::size_t header_alignment = 64;

[[noreturn]] void corrupt(const Input& input, const std::string& what) {
    throw Failure(Exit::corrupt, input.name() + ": damaged .npy header: " + what +
                                     ": write the file again, or put it with --format raw");
}

void read_exactly(Input& input, std::span<std::byte> bytes) {
    if (input.read(bytes) != bytes.size()) corrupt(input, "the file ends inside it");
}

std::string latin1_to_utf8(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) append_utf8(out, static_cast<unsigned char>(c));
    return out;
}

std::string read_header_text(Input& input) {
    std::array<std::byte, 8> start{};
    read_exactly(input, start);
    if (!std::equal(npy_magic.begin(), npy_magic.end(), start.begin()))
        corrupt(input, "it does not start with \\x93NUMPY");
    const auto major = static_cast<unsigned>(start[6]), minor = static_cast<unsigned>(start[7]);
    if (major < 1 || major > 3 || minor != 0)
        throw Failure(Exit::version,
                      fmt::format("{}: .npy format {}.{} is not known to this version: save the "
                                  "array with format 3.0 or older",
                                  input.name(), major, minor));

    std::array<std::byte, 4> length{};
    read_exactly(input, std::span(length).first(major == 1 ? 2 : 4));
    std::size_t size = 0;
    for (std::size_t i = 0; i < length.size(); ++i)
        size |= static_cast<std::size_t>(length[i]) << (8 * i);
    if (size > max_header) corrupt(input, fmt::format("it claims {} bytes", size));

    std::string text(size, '\0');
    read_exactly(input, std::as_writable_bytes(std::span(text)));
    if (major < 3) return latin1_to_utf8(text);
    if (!is_utf8(std::as_bytes(std::span(text)))) corrupt(input, "it is not UTF-8");
    return text;
}

struct Header {
    const Literal* descr = nullptr;
    const Literal* fortran = nullptr;
    const Literal* shape = nullptr;
};

/// Exactly the three keys, as numpy.lib.format wants it.
Header take_apart(const Input& input, const Literal& dict) {
    if (dict.is != Literal::Is::dict) corrupt(input, "it is no dict");
    Header header;
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
        const Literal& key = dict.items[i];
        const Literal** slot = key.is != Literal::Is::text     ? nullptr
                               : key.text == "descr"           ? &header.descr
                               : key.text == "fortran_order"   ? &header.fortran
                               : key.text == "shape"           ? &header.shape
                                                               : nullptr;
        if (slot == nullptr || *slot != nullptr)
            corrupt(input, "the key " + std::string(key.source) + " is unknown or repeated");
        *slot = &dict.items[i + 1];
    }
    if (!header.descr || !header.fortran || !header.shape)
        corrupt(input, "descr, fortran_order or shape is missing");
    return header;
}

}  // namespace

bool looks_like_npy(Input& input) {
    const auto start = input.peek(npy_magic.size());
    return std::equal(start.begin(), start.end(), npy_magic.begin(), npy_magic.end());
}

pymm::Type read_npy_header(Input& input) {
    const std::string text = read_header_text(input);
    try {
        const Literal dict = parse_literal(text);
        const Header header = take_apart(input, dict);
        if (header.fortran->is != Literal::Is::boolean)
            corrupt(input, "fortran_order is neither True nor False");
        if (header.shape->is != Literal::Is::tuple) corrupt(input, "shape is no tuple");
        std::vector<std::int64_t> shape;
        for (const Literal& item : header.shape->items) {
            if (item.is != Literal::Is::integer || item.number < 0)
                corrupt(input, "shape is no tuple of sizes");
            shape.push_back(item.number);
        }
        Dtype dtype = parse_descr(*header.descr);
        return pymm::Type::array(std::move(dtype.text), dtype.itemsize, std::move(shape),
                                 header.fortran->number != 0);
    } catch (const LiteralError& error) {
        corrupt(input, error.what());
    } catch (const DtypeError& error) {
        if (!error.unsupported()) corrupt(input, error.what());
        throw Failure(Exit::usage, input.name() + ": " + error.what());
    } catch (const pymm::InvalidArgumentError& error) {
        corrupt(input, error.what());
    }
}

std::string npy_header(const pymm::Type& type, const std::string& where) {
    if (!pymm::has_elements(type.kind))
        throw Failure(Exit::usage, where + ": is not an array but " +
                                       std::string(pymm::kind_name(type.kind)) +
                                       ": use --format raw or --format text");
    const bool c_order = type.c_contiguous();
    if (!c_order && !type.f_contiguous())
        throw Failure(Exit::usage, where + ": the array is not contiguous: copy it in Python first");
    const std::string dtype(type.element());
    if (type.kind == pymm::Kind::tensor && dtype.find_first_of("<>|=") != 0)
        throw Failure(Exit::usage, where + ": elements of PyTorch's '" + dtype +
                                       "', which .npy files cannot hold: use --format raw");
    try {
        // The literal goes into a file that others will parse: it comes from media, so look at it.
        if (parse_dtype(dtype).itemsize != type.itemsize)
            throw DtypeError("its size does not fit the itemsize");
    } catch (const DtypeError& error) {
        throw Failure(Exit::corrupt, where + ": dtype '" + dtype + "': " + error.what());
    }

    const std::string descr = dtype.starts_with('[') ? dtype : fmt::format("'{}'", dtype);
    const std::string shape = type.shape.size() == 1
                                  ? fmt::format("({},)", type.shape[0])
                                  : fmt::format("({})", fmt::join(type.shape, ", "));
    std::string dict = fmt::format("{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}", descr,
                                   c_order ? "False" : "True", shape);
    const bool ascii = std::all_of(dict.begin(), dict.end(),
                                   [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    // The oldest version that can say it, as NumPy chooses.
    int version = 1;
    if (!ascii) version = 3;
    else if (dict.size() + header_alignment > std::numeric_limits<std::uint16_t>::max()) version = 2;

    const std::size_t prefix = npy_magic.size() + 2 + (version == 1 ? 2 : 4);
    const std::size_t size = prefix + dict.size() + 1;
    dict.append((header_alignment - size % header_alignment) % header_alignment, ' ');
    dict += '\n';

    std::string header;
    for (const std::byte byte : npy_magic) header += static_cast<char>(byte);
    header += static_cast<char>(version);
    header += '\0';
    for (std::size_t i = 0; i < (version == 1 ? 2u : 4u); ++i)
        header += static_cast<char>(dict.size() >> (8 * i) & 0xff);
    return header + dict;
}

}  // namespace pymmctl
