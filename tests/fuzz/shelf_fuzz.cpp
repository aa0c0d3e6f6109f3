// libFuzzer target: a shelf image, sparsely encoded (specimen/sparse.hpp), goes through all that users do to a shelf.
// Mutations are made on the decoded image, in the fields of its structures, and the checksums made right again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>

#include "fuzz/mutate.hpp"
#include "specimen/exercise.hpp"
#include "specimen/sparse.hpp"

using namespace pymm::test;

namespace {

std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const std::byte*>(data), size};
}

std::size_t put(const ShelfImage& image, std::uint8_t* out, std::size_t limit) {
    const std::vector<std::byte> encoded = encode_sparse(image);
    // Cut short where there is no room for all of it: that, too, means an image.
    const std::size_t size = std::min(encoded.size(), limit);
    std::memcpy(out, encoded.data(), size);
    return size;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static ShelfImage image;
    decode_sparse(bytes_of(data, size), image);
    // Half of the work on each half of the inputs: twice as many of them.
    (void)exercise(image, (size / 16) % 2 != 0 ? Exercise::repair_only : Exercise::write_only);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned int seed) {
    static ShelfImage image;
    std::minstd_rand random(seed);
    decode_sparse(bytes_of(data, size), image);
    mutate(image, random);
    return put(image, data, max_size);
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1, const std::uint8_t* data2,
                                                 std::size_t size2, std::uint8_t* out, std::size_t max_out, unsigned int seed) {
    static ShelfImage image, other;
    std::minstd_rand random(seed);
    decode_sparse(bytes_of(data1, size1), image);
    decode_sparse(bytes_of(data2, size2), other);
    cross(image, other, random);
    return put(image, out, max_out);
}
