// Which byte ranges a strided array covers, joined into few runs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace pymm::python {

/// Equal runs of `length` bytes at the points of a grid.
struct Runs {
    static constexpr int max_dimensions = 64;

    std::int64_t offset = 0;    ///< of the first run
    std::uint64_t length = 0;   ///< of each run; 0: nothing at all
    int dimensions = 0;         ///< of the grid
    std::array<std::int64_t, max_dimensions> count;
    std::array<std::int64_t, max_dimensions> stride;  ///< all positive

    std::uint64_t runs() const noexcept {
        std::uint64_t product = 1;
        for (int d = 0; d < dimensions; ++d)
            if (__builtin_mul_overflow(product, static_cast<std::uint64_t>(count[d]), &product))
                return std::numeric_limits<std::uint64_t>::max();
        return product;
    }

    /// Bytes of all runs together; saturates.
    std::uint64_t total() const noexcept {
        std::uint64_t bytes;
        return __builtin_mul_overflow(length, runs(), &bytes)
                   ? std::numeric_limits<std::uint64_t>::max()
                   : bytes;
    }

    bool inside(std::uint64_t size) const noexcept {
        if (offset < 0) return false;
        std::uint64_t end;
        if (__builtin_add_overflow(static_cast<std::uint64_t>(offset), length, &end)) return false;
        for (int d = 0; d < dimensions; ++d) {
            std::uint64_t reach;
            if (__builtin_mul_overflow(static_cast<std::uint64_t>(count[d] - 1),
                                       static_cast<std::uint64_t>(stride[d]), &reach) ||
                __builtin_add_overflow(end, reach, &end))
                return false;
        }
        return end <= size;
    }

    template <class F>
    void for_each(F&& visit) const {
        if (length == 0) return;
        std::array<std::int64_t, max_dimensions> index{};
        auto at = static_cast<std::uint64_t>(offset);
        while (true) {
            visit(at, length);
            int d = dimensions - 1;
            for (; d >= 0; --d) {
                at += static_cast<std::uint64_t>(stride[d]);
                if (++index[d] < count[d]) break;
                at -= static_cast<std::uint64_t>(count[d] * stride[d]);
                index[d] = 0;
            }
            if (d < 0) return;
        }
    }
};

/// `offset` is that of element (0, 0, ...). `paged`: the media syncs pages by system calls, so
/// that one long range is cheaper than many short ones.
Runs coalesce(std::int64_t offset, int dimensions, const std::ptrdiff_t* shape,
              const std::ptrdiff_t* strides, std::size_t itemsize, bool paged) noexcept;

}  // namespace pymm::python
