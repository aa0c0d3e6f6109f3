#include "strided.hpp"

#include <algorithm>

namespace pymm::python {

namespace {

// A separate flush costs a fence (0.2 us), or a system call and a wait for the device (100 us and
// more); flushing clean bytes costs some 60 ps each, or nothing but the walk over clean pages.
constexpr std::uint64_t kGap = 4 << 10;
constexpr std::uint64_t kPagedGap = 1 << 20;
// Beyond so many runs the bounding range is flushed whatever the gaps are.
constexpr std::uint64_t kMaxRuns = 16 << 10;
constexpr std::uint64_t kPagedMaxRuns = 64;

}  // namespace

Runs coalesce(std::int64_t offset, int dimensions, const std::ptrdiff_t* shape,
              const std::ptrdiff_t* strides, std::size_t itemsize, bool paged) noexcept {
    Runs runs;
    runs.offset = offset;
    if (itemsize == 0 || dimensions > Runs::max_dimensions) {
        // More dimensions than any NumPy has: an impossible run makes the caller take everything.
        if (itemsize != 0) runs.offset = -1, runs.length = 1;
        return runs;
    }
    int outer = 0;
    for (int d = 0; d < dimensions; ++d) {
        if (shape[d] == 0) return runs;
        if (shape[d] == 1 || strides[d] == 0) continue;
        std::int64_t stride = strides[d];
        if (stride < 0) {
            runs.offset += stride * (shape[d] - 1);
            stride = -stride;
        }
        runs.count[outer] = shape[d];
        runs.stride[outer] = stride;
        ++outer;
    }
    // Largest stride first, by insertion: arrays have few dimensions.
    for (int i = 1; i < outer; ++i)
        for (int k = i; k > 0 && runs.stride[k] > runs.stride[k - 1]; --k) {
            std::swap(runs.stride[k], runs.stride[k - 1]);
            std::swap(runs.count[k], runs.count[k - 1]);
        }
    runs.length = itemsize;
    runs.dimensions = outer;
    const std::uint64_t gap = paged ? kPagedGap : kGap;
    const std::uint64_t most = paged ? kPagedMaxRuns : kMaxRuns;
    while (runs.dimensions > 0) {
        const int last = runs.dimensions - 1;
        const auto stride = static_cast<std::uint64_t>(runs.stride[last]);
        if (stride > runs.length && stride - runs.length > gap && runs.runs() <= most) break;
        std::uint64_t reach;
        if (__builtin_mul_overflow(stride, static_cast<std::uint64_t>(runs.count[last] - 1), &reach)) {
            runs.offset = -1;
            break;
        }
        runs.length += reach;
        --runs.dimensions;
    }
    return runs;
}

}  // namespace pymm::python
