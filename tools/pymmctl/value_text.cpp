// Values as text: what `cat` prints for numbers.
#include <algorithm>
#include <bit>
#include <charconv>
#include <complex>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "text.hpp"
#include "tree_text.hpp"

namespace pymmctl {
namespace {

static_assert(std::endian::native == std::endian::little, "values are read as they lie on media");

/// Shortest text that reads back the same, told from an integer as Python does it.
template <class Real>
std::string real_text(Real value) {
    std::string text = fmt::format("{}", value);
    if (text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
    return text;
}

template <class Real>
std::string complex_text(const std::complex<Real>& value) {
    return fmt::format("({}{:+}j)", value.real(), value.imag());
}

/// Two's complement of any length, least significant byte first.
std::string integer_text(std::span<const std::byte> bytes) {
    std::vector<std::uint32_t> words((bytes.size() + 3) / 4);
    const bool negative = !bytes.empty() && (bytes.back() & std::byte{0x80}) != std::byte{0};
    if (negative) std::fill(words.begin(), words.end(), ~0u);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    if (negative) {
        std::uint64_t carry = 1;
        for (auto& word : words) {
            carry += static_cast<std::uint32_t>(~word);
            word = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
    }
    const auto trim = [&words] {
        while (!words.empty() && words.back() == 0) words.pop_back();
    };
    trim();
    if (words.empty()) return "0";

    std::string digits;
    // Decimal conversion takes quadratic time: beyond some 4900 digits hexadecimal has to do.
    if (words.size() > 512) {
        digits = fmt::format("{:x}", words.back());
        for (std::size_t i = words.size() - 1; i-- > 0;) digits += fmt::format("{:08x}", words[i]);
        digits.insert(0, "0x");
    } else {
        std::vector<std::uint32_t> groups;  // base 10^9, least significant first
        while (!words.empty()) {
            std::uint64_t rest = 0;
            for (std::size_t i = words.size(); i-- > 0;) {
                rest = rest << 32 | words[i];
                words[i] = static_cast<std::uint32_t>(rest / 1'000'000'000);
                rest %= 1'000'000'000;
            }
            groups.push_back(static_cast<std::uint32_t>(rest));
            trim();
        }
        digits = fmt::format("{}", groups.back());
        for (std::size_t i = groups.size() - 1; i-- > 0;)
            digits += fmt::format("{:09}", groups[i]);
    }
    return negative ? "-" + digits : digits;
}

template <class T>
T load(std::span<const std::byte> bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// One element of a simple dtype; false where there is no obvious text.
bool scalar_text(const pymm::Type& type, std::span<const std::byte> bytes, std::string& text) {
    const std::string& dtype = type.dtype;
    if (dtype.size() < 3 || bytes.size() != type.itemsize || bytes.empty()) return false;
    std::size_t size = 0;
    const auto parsed = std::from_chars(dtype.data() + 2, dtype.data() + dtype.size(), size);
    if (parsed.ec != std::errc() || parsed.ptr != dtype.data() + dtype.size() ||
        size != bytes.size())
        return false;

    std::vector<std::byte> value(bytes.begin(), bytes.end());
    const char kind = dtype[1];
    if (dtype[0] == '>') {
        const auto half = static_cast<std::ptrdiff_t>(kind == 'c' ? size / 2 : size);
        for (auto at = value.begin(); at != value.end(); at += half) std::reverse(at, at + half);
    }
    switch (kind) {
        case 'b': text = value[0] == std::byte{0} ? "False" : "True"; return true;
        case 'i': text = integer_text(value); return true;
        case 'u':
            value.push_back(std::byte{0});  // a sign that says: positive
            text = integer_text(value);
            return true;
        case 'f':
            if (size == sizeof(float)) text = real_text(load<float>(value));
            else if (size == sizeof(double)) text = real_text(load<double>(value));
            else return false;
            return true;
        case 'c':
            if (size == 2 * sizeof(float)) text = complex_text(load<std::complex<float>>(value));
            else if (size == 2 * sizeof(double))
                text = complex_text(load<std::complex<double>>(value));
            else return false;
            return true;
        default: return false;
    }
}

}  // namespace

bool value_text(const pymm::Type& type, std::span<const std::byte> bytes, std::string& text) {
    switch (type.kind) {
        case pymm::Kind::integer: text = integer_text(bytes); return true;
        case pymm::Kind::real:
            if (bytes.size() != sizeof(double)) return false;
            text = real_text(load<double>(bytes));
            return true;
        case pymm::Kind::complex:
            if (bytes.size() != 2 * sizeof(double)) return false;
            text = complex_text(load<std::complex<double>>(bytes));
            return true;
        case pymm::Kind::boolean:
            if (bytes.size() != 1) return false;
            text = bytes[0] == std::byte{0} ? "False" : "True";
            return true;
        case pymm::Kind::none: text = "None"; return true;
        case pymm::Kind::tree: text = tree_text(bytes); return true;
        case pymm::Kind::pickled: text = fmt::format("<pickled Python object, {} bytes>", bytes.size()); return true;
        case pymm::Kind::linked_list: text = list_text(bytes); return true;
        case pymm::Kind::scalar: return scalar_text(type, bytes, text);
        case pymm::Kind::raw:
        case pymm::Kind::ndarray:
        case pymm::Kind::tensor:
        case pymm::Kind::string:
        case pymm::Kind::bytes: return false;
    }
    return false;
}

}  // namespace pymmctl
