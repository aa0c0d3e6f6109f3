// Array<T>: zero-copy, strided, typed access to an array blob (in the spirit of std::mdspan).
#pragma once

#include <array>
#include <bit>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include <pymm/error.hpp>
#include <pymm/type.hpp>

namespace pymm {

namespace detail {
/// True when elements of NumPy typestr `dtype` can be read as this C++ type on this machine.
bool dtype_matches(std::string_view dtype, char kind, std::size_t itemsize) noexcept;
/// Throws InvalidArgumentError unless shape and strides stay inside `size` bytes, and strides and data
/// keep elements aligned.
void check_bounds(const Type& type, const void* data, std::size_t size, std::size_t alignment);

template <class T>
struct is_complex : std::false_type {};
template <class T>
struct is_complex<std::complex<T>> : std::true_type {};

template <class T>
constexpr char kind_of() {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_same_v<U, bool>) return 'b';
    else if constexpr (std::is_floating_point_v<U>) return 'f';
    else if constexpr (is_complex<U>::value) return 'c';
    else if constexpr (std::is_integral_v<U>) return std::is_signed_v<U> ? 'i' : 'u';
    else return 'V';  // a trivially copyable struct: only its size is compared
}
}  // namespace detail

/// Non-owning; valid while the View it came from lives. T may be const.
template <class T>
class Array {
    static_assert(std::is_trivially_copyable_v<T>);
    using Byte = std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;

public:
    Array(const Type& type, Byte* data, std::size_t size) : type_(&type), data_(data) {
        if (!has_elements(type.kind))
            throw InvalidArgumentError("typed access: the blob is no array but " +
                                       std::string(kind_name(type.kind)) + "; use bytes()");
        if (!detail::dtype_matches(type.element(), detail::kind_of<T>(), sizeof(T)) ||
            type.itemsize != sizeof(T))
            throw InvalidArgumentError("typed access: elements are " + type.dtype + " of " +
                                       std::to_string(type.itemsize) +
                                       " bytes, not what was asked for");
        detail::check_bounds(type, data, size, alignof(T));
    }

    std::size_t dimensions() const noexcept { return type_->shape.size(); }
    std::span<const std::int64_t> shape() const noexcept { return type_->shape; }
    std::span<const std::int64_t> strides() const noexcept { return type_->strides; }  ///< in bytes
    std::uint64_t size() const { return type_->itemsize ? type_->nbytes() / type_->itemsize : 0; }
    T* data() const noexcept { return reinterpret_cast<T*>(data_); }

    /// All elements in memory order. Throws InvalidArgumentError for arrays that are not contiguous.
    std::span<T> elements() const {
        if (!type_->c_contiguous() && !type_->f_contiguous())
            throw InvalidArgumentError("elements(): the array is not contiguous; use operator()");
        return {data(), static_cast<std::size_t>(size())};
    }

    /// Element at the given indices, unchecked; as many indices as dimensions.
    template <class... I>
    T& operator()(I... index) const noexcept {
        const std::array<std::int64_t, sizeof...(I)> i{static_cast<std::int64_t>(index)...};
        std::int64_t at = 0;
        for (std::size_t d = 0; d < i.size(); ++d) at += i[d] * type_->strides[d];
        return *reinterpret_cast<T*>(data_ + at);
    }

private:
    const Type* type_;
    Byte* data_;
};

}  // namespace pymm
