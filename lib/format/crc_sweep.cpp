#include "format/crc_sweep.hpp"

#include <array>
#include <cassert>
#include <iterator>

#include "format/crc32c.hpp"

namespace pymm {

namespace {

// Memory for forged ranges ends here.
constexpr std::size_t kMostOpen = 1 << 16;

// Residues modulo the Castagnoli polynomial, reflected: bit 31 is the coefficient of 1.
constexpr std::uint32_t kPolynomial = 0x82f63b78;

constexpr std::uint32_t product(std::uint32_t a, std::uint32_t b) {
    std::uint32_t sum = 0;
    for (std::uint32_t bit = std::uint32_t{1} << 31; bit != 0; bit >>= 1) {
        if ((a & bit) != 0) sum ^= b;
        b = (b >> 1) ^ ((b & 1) != 0 ? kPolynomial : 0);
    }
    return sum;
}

// x^(8 * 2^i): what 2^i further bytes of 0 do to a state.
constexpr std::array<std::uint32_t, 64> byte_powers() {
    std::array<std::uint32_t, 64> powers{};
    std::uint32_t p = std::uint32_t{1} << 30;  // x
    for (int i = 0; i < 3; ++i) p = product(p, p);
    for (std::uint32_t& power : powers) {
        power = p;
        p = product(p, p);
    }
    return powers;
}

constexpr std::array<std::uint32_t, 64> kPowers = byte_powers();

// The state after `size` bytes of 0.
std::uint32_t shifted(std::uint32_t state, std::uint64_t size) {
    for (std::size_t i = 0; size != 0; ++i, size >>= 1)
        if ((size & 1) != 0) state = product(kPowers[i], state);
    return state;
}

}  // namespace

// crc32c() inverts before and after; here are the states between.
std::uint32_t CrcSweep::add(const void* bytes, std::uint64_t size, std::uint32_t state) {
    summed_ += size;
    return ~crc32c(bytes, size, ~state);
}

void CrcSweep::piece(std::uint64_t offset, const std::byte* bytes, std::uint64_t size) {
    if (at_ != end_) pass(end_);
    if (offset != end_) open_.clear();
    bytes_ = bytes;
    start_ = at_ = offset;
    end_ = offset + size;
}

void CrcSweep::run_to(std::uint64_t offset) {
    // While nothing is open any state will do to start from.
    if (!open_.empty()) sum_ = add(bytes_ + (at_ - start_), offset - at_, sum_);
    at_ = offset;
}

void CrcSweep::pass(std::uint64_t offset) {
    assert(offset >= at_ && offset <= end_);
    while (!open_.empty() && open_.begin()->first <= offset) {
        run_to(open_.begin()->first);
        const Open o = open_.begin()->second;
        open_.erase(open_.begin());
        // Both sums go through the same bytes from `from` on, so their difference goes through zeros.
        if (~(shifted(o.state, at_ - o.from) ^ sum_) == o.crc) visit_({o.begin, o.size, o.tag});
    }
    run_to(offset);
}

void CrcSweep::expect(std::uint64_t size, std::uint32_t crc, const void* head, const void* summed,
                      std::uint64_t head_size, std::uint64_t tag) {
    assert(size >= head_size);
    const std::uint32_t own = add(summed, head_size, ~std::uint32_t{0});
    const Open o{at_, size, tag, at_ + head_size, own ^ add(head, head_size, sum_), crc};
    open_.emplace(at_ + size, o);
    if (open_.size() <= kMostOpen) return;
    open_.erase(std::prev(open_.end()));
    ++given_up_;
}

}  // namespace pymm
