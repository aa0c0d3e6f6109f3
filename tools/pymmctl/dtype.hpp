// Element types as NumPy writes them: array-protocol type strings ("<f8") and, for structured types,
// `descr` literals ("[('x', '<i4'), ('y', '<f8', (3,))]").
//
// Sources: NumPy manual, "The array interface protocol" (typestr, descr); numpy.lib.format,
// descr_to_dtype (padding, titles, subarrays).
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "literal.hpp"

namespace pymmctl {

struct Dtype {
    std::string text;  ///< as kept in pymm::Type::dtype
    std::uint32_t itemsize = 0;
};

class DtypeError : public std::runtime_error {
public:
    /// `unsupported`: a right dtype that a shelf cannot hold (Python objects).
    explicit DtypeError(const std::string& message, bool unsupported = false)
        : std::runtime_error(message), unsupported_(unsupported) {}
    bool unsupported() const noexcept { return unsupported_; }

private:
    bool unsupported_;
};

/// What a person types or a shelf holds: "float64", "f8", ">i4", "<M8[us]", "[('x', '<i4')]".
Dtype parse_dtype(std::string_view text);

/// The value of 'descr' in a .npy header: a string, or a list of fields (kept as it is written).
Dtype parse_descr(const Literal& descr);

}  // namespace pymmctl
