// Parser of the few Python literals that a .npy header is made of: strings, integers, True, False,
// None, tuples, lists and dicts. Input is hostile until proven otherwise: depth and numbers are
// bounded, nothing is evaluated.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace pymmctl {

struct Literal {
    enum class Is { text, integer, boolean, none, tuple, list, dict };
    Is is = Is::none;
    std::string text;            ///< of a string, unescaped, UTF-8
    std::int64_t number = 0;     ///< of an integer or boolean
    std::vector<Literal> items;  ///< of a tuple or list; of a dict: key, value, key, value ...
    std::string_view source;     ///< where it stands in what was parsed
};

class LiteralError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The one literal in `text`, white space around it allowed. `text` is UTF-8 and outlives the result
/// where `source` is used. Throws LiteralError.
Literal parse_literal(std::string_view text);

/// Appends the UTF-8 form of a code point.
void append_utf8(std::string& out, std::uint32_t code_point);

}  // namespace pymmctl
