#include "catalogue/commit_sweep.hpp"

#include <cstring>
#include <vector>

namespace pymm {

using namespace format;

namespace {

constexpr std::uint64_t kPiece = 64 << 10;

}  // namespace

bool expect_commit(CrcSweep& sweep, const CommitHeader& header, std::uint64_t end, std::uint64_t tag) {
    if (header.magic != kCommitMagic || header.sequence >= kSequenceLimit || header.size < sizeof header ||
        header.size % 8 != 0 || header.size > end)
        return false;
    CommitHeader clean = header;
    clean.crc = 0;
    sweep.expect(header.size, header.crc, &header, &clean, sizeof header, tag);
    return true;
}

std::uint64_t find_commits(const Media& data, std::uint64_t from, std::uint64_t to, std::uint64_t salt,
                           std::uint64_t after, const SweepRead& read,
                           const std::function<bool(const SweptCommit&)>& visit) {
    bool more = true;
    CrcSweep sweep([&](const CrcSweep::Sound& s) { more = more && visit({s.begin, s.size, s.tag}); });
    std::vector<std::byte> buffer;
    for_each_stored(data, from, to, kPiece, [&](std::uint64_t at, std::uint64_t size) {
        buffer.resize(size);
        if (!read(at, size, buffer.data())) return true;
        sweep.piece(at, buffer.data(), size);
        for (std::uint64_t i = 0; more && i + sizeof(CommitHeader) <= size; i += kLine) {
            CommitHeader header;
            std::memcpy(&header, buffer.data() + i, sizeof header);
            if (header.magic != kCommitMagic || header.salt != salt || header.sequence <= after) continue;
            sweep.pass(at + i);
            if (more) expect_commit(sweep, header, to - at - i, header.sequence);
        }
        if (more) sweep.pass(at + size);
        return more;
    });
    return sweep.given_up();
}

}  // namespace pymm
