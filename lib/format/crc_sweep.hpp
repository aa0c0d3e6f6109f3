// Verifies the checksums of many ranges in one pass over the bytes, however the ranges overlap.
//
// Whoever looks for structures in bytes that he does not trust meets magics with forged lengths. Summing each range by
// itself costs the number of magics times the length that they claim. Here each byte is summed once: CRC32C is linear,
// so the checksum of a range follows from the running sums at its two ends, in a time that grows with the logarithm of
// its length. Nothing is guessed and nothing is skipped: what is sound is found, whatever surrounds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>

namespace pymm {

/// Not thread-safe.
class CrcSweep {
public:
    /// A range whose checksum turned out right. Ranges come in the order of their ends.
    struct Sound {
        std::uint64_t begin;
        std::uint64_t size;
        std::uint64_t tag;
    };
    using Visit = std::function<void(const Sound&)>;

    explicit CrcSweep(Visit visit) : visit_(std::move(visit)) {}

    /// The bytes [offset, offset + size) come next: in the order of their offsets. What comes between them and the ones
    /// before cannot be read or is not there: ranges that reach into it are given up. `bytes` must stay until all of
    /// them were passed.
    void piece(std::uint64_t offset, const std::byte* bytes, std::uint64_t size);
    /// Passes the bytes up to `offset`, which is in the piece or its end. Calls visit.
    void pass(std::uint64_t offset);
    /// At the place that was passed to a structure of `size` bytes begins, whose checksum is to be `crc`. `head` is how its
    /// first `head_size` bytes are, `summed` how they count in its checksum (with the field of the checksum as 0, for
    /// instance). At least head_size of its bytes exist, perhaps beyond the piece.
    void expect(std::uint64_t size, std::uint32_t crc, const void* head, const void* summed, std::uint64_t head_size,
                std::uint64_t tag);

    /// Ranges given up because too many were open at once. Only forged ones come to so many: sound ones overlap
    /// hardly ever. The longest go first, so that what is near its end stays.
    std::uint64_t given_up() const noexcept { return given_up_; }
    /// Bytes summed so far.
    std::uint64_t summed() const noexcept { return summed_; }

private:
    struct Open {
        std::uint64_t begin;
        std::uint64_t size;
        std::uint64_t tag;
        std::uint64_t from;   // where the head ends
        std::uint32_t state;  // of its own sum there, less the running one
        std::uint32_t crc;
    };
    void run_to(std::uint64_t offset);
    std::uint32_t add(const void* bytes, std::uint64_t size, std::uint32_t state);

    Visit visit_;
    const std::byte* bytes_ = nullptr;
    std::uint64_t start_ = 0, end_ = 0;  // of the piece
    std::uint64_t at_ = 0;               // passed to
    std::uint32_t sum_ = 0;              // running; means nothing while no range is open
    std::multimap<std::uint64_t, Open> open_;  // by end
    std::uint64_t given_up_ = 0;
    std::uint64_t summed_ = 0;
};

}  // namespace pymm
