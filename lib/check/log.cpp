// The redo log: every commit, and what stands where it ends.
#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "catalogue/catalogue.hpp"
#include "check/image.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

// The commit at `at` of the log, if it is whole and sound. `header` is what stands there, whatever it is.
bool read_commit(Image& image, std::uint64_t at, std::uint64_t sequence, CommitHeader& header,
                 std::vector<std::byte>& bytes) {
    const Superblock& root = *image.root;
    if (!image.read(root.log_offset + at, sizeof header, &header)) return false;
    if (header.magic != kCommitMagic || header.salt != root.log_salt || header.sequence != sequence ||
        header.size < sizeof header || header.size > root.log_size - at)
        return false;
    return copy_commit(image, root.log_offset + at, header.size, sequence, root.log_salt, bytes);
}

// A sound commit of this incarnation behind `at`: then what was expected there was acknowledged once.
bool find_later(Image& image, std::uint64_t at, std::uint64_t& where, std::uint64_t& sequence) {
    const Superblock& root = *image.root;
    constexpr std::uint64_t piece = 1 << 20;
    std::vector<std::byte> buffer(std::min(piece, root.log_size));
    std::vector<std::byte> bytes;
    // A forged log may reach far past the file.
    const std::uint64_t size = image.target.data.size();
    const std::uint64_t end = root.log_offset < size ? std::min(root.log_size, size - root.log_offset) : 0;
    for (std::uint64_t from = round_up(at, kLine); from + sizeof(CommitHeader) <= end; from += piece) {
        const std::uint64_t n = std::min(piece, end - from);
        if (!image.read(root.log_offset + from, n, buffer.data())) continue;
        for (std::uint64_t i = 0; i + sizeof(CommitHeader) <= n; i += kLine) {
            CommitHeader header;
            std::memcpy(&header, buffer.data() + i, sizeof header);
            if (header.magic != kCommitMagic || header.salt != root.log_salt || header.sequence <= image.sequence + 1)
                continue;
            CommitHeader again;
            if (!read_commit(image, from + i, header.sequence, again, bytes)) continue;
            where = from + i;
            sequence = header.sequence;
            return true;
        }
        image.progress(n);
    }
    return false;
}

}  // namespace

bool copy_commit(const Image& image, std::uint64_t offset, std::uint64_t size, std::uint64_t sequence,
                 std::uint64_t salt, std::vector<std::byte>& bytes) {
    const Media& data = image.target.data;
    if (offset > data.size() || size > data.size() - offset) return false;
    const std::byte* fault = nullptr;
    const char* problem = nullptr;
    std::size_t found = 0;
    if (!survives_bus_error(
            [&]() noexcept { problem = check_commit({data.data() + offset, size}, sequence, salt, found); }, fault) ||
        problem != nullptr || found != size)
        return false;
    bytes.resize(size);
    // The copy is what counts: a writer may be beside us.
    return image.read(offset, size, bytes.data()) && check_commit(bytes, sequence, salt, found) == nullptr;
}

void check_log(Image& image) {
    const Superblock& root = *image.root;
    const std::uint64_t limit =
        image.live ? Catalogue::live_limit(image.target.map, root.log_salt) : UINT64_MAX;
    const bool clean = (root.flags & kSuperblockClean) != 0;
    image.sequence = root.sequence;
    std::vector<std::byte> bytes;
    std::uint64_t commits = 0;
    const auto name = [](std::uint64_t sequence) { return fmt::format("log commit {}", sequence); };
    for (;;) {
        while (image.sequence < limit && image.log_used < root.log_size) {
            CommitHeader header;
            const std::uint64_t at = root.log_offset + image.log_used;
            if (!read_commit(image, image.log_used, image.sequence + 1, header, bytes)) break;
            ++image.sequence;
            ++commits;
            image.log_used = std::min(round_up(image.log_used + bytes.size(), kLine), root.log_size);
            // Looked through before it is applied: a malformed one is left out whole.
            if (const char* problem = for_each_record(bytes, image.capacity, false, [](const Record&) {})) {
                image.incomplete = image.log_gap = true;
                image.data_finding(Cure::catalogue, Severity::error, name(image.sequence), at, "well-formed records",
                                   problem);
                continue;
            }
            image.tail.apply(bytes, image.capacity, false, [&](const Record& record) {
                if (record.type == RecordType::put) {
                    if (record.new_name) ++image.new_names;
                    image.note_id(record.entry.fixed.id);
                } else if (record.type == RecordType::erase) {
                    --image.new_names;
                }
            });
        }
        image.progress(0);
        // As a reader does: what the writer says is durable is there, unless it speaks of the next log by now.
        if (image.live && limit != UINT64_MAX && image.sequence < limit &&
            Catalogue::live_limit(image.target.map, root.log_salt) != UINT64_MAX && image.target.lease->writer_alive()) {
            image.incomplete = image.log_gap = true;
            image.data_finding(Cure::catalogue, Severity::error, name(image.sequence + 1),
                               root.log_offset + image.log_used, fmt::format("commits up to {}", limit),
                               "damage; its writer has made them");
        }
        // As at opening: beside a writer the end is where it says; after a clean close nothing follows.
        if (image.live || clean) break;
        std::uint64_t where = 0, sequence = 0;
        const std::uint64_t expected = image.sequence + 1;
        if (!find_later(image, image.log_used, where, sequence)) break;
        image.incomplete = image.log_gap = true;
        image.data_finding(Cure::catalogue, Severity::error, name(expected), root.log_offset + image.log_used,
                           fmt::format("commit {}", expected),
                           fmt::format("damage up to commit {} at offset {}, which is sound", sequence,
                                       root.log_offset + where));
        // The numbers of names are known no more, the later commits still count.
        image.sequence = sequence - 1;
        image.log_used = where;
    }
    if (clean && commits != 0)
        image.data_finding(Cure::accounts, Severity::error, name(root.sequence + 1), root.log_offset,
                           "an empty log, as the shelf was closed cleanly", fmt::format("{} commits", commits));
    if (image.live || clean) return;
    CommitHeader header;
    if (image.log_used < root.log_size && image.read(root.log_offset + image.log_used, sizeof header, &header) &&
        header.magic == kCommitMagic && header.salt == root.log_salt && header.sequence == image.sequence + 1) {
        image.torn = true;
        image.data_finding(Cure::fold, Severity::note, name(image.sequence + 1), root.log_offset + image.log_used,
                           "a whole commit, or none", "one that a crash cut short; it was never acknowledged");
    }
    if (commits != 0)
        image.data_finding(Cure::fold, Severity::note, "log", root.log_offset, "a clean close",
                           fmt::format("{} commits of a session that ended without one; they are sound", commits));
}

}  // namespace pymm
