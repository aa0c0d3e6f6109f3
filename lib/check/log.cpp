// The redo log: every commit, and what stands where it ends.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "catalogue/catalogue.hpp"
#include "catalogue/commit_sweep.hpp"
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

// Sound commits of this incarnation above commit `after`, behind what was read of the log, by offset.
std::vector<SweptCommit> find_later(Image& image, std::uint64_t after) {
    const Superblock& root = *image.root;
    std::vector<SweptCommit> found;
    const auto read = [&](std::uint64_t offset, std::uint64_t size, std::byte* out) {
        image.progress(size);
        return image.read(offset, size, out);
    };
    const std::uint64_t given_up =
        find_commits(image.target.data, root.log_offset + image.log_used, root.log_offset + root.log_size, root.log_salt,
                     after, read, [&](const SweptCommit& c) {
                         found.push_back(c);
                         return true;
                     });
    if (given_up != 0)
        image.data_finding(Cure::none, Severity::note, "log", root.log_offset + image.log_used, "commits side by side",
                           fmt::format("so many that claim the same bytes that {} were not looked at", given_up));
    std::sort(found.begin(), found.end(), [](const SweptCommit& a, const SweptCommit& b) { return a.offset < b.offset; });
    return found;
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
    // bytes: the next commit, which stands where log_used says.
    const auto take = [&] {
        const std::uint64_t at = root.log_offset + image.log_used;
        ++image.sequence;
        ++commits;
        image.log_used = std::min(round_up(image.log_used + bytes.size(), kLine), root.log_size);
        // Looked through before it is applied: a malformed one is left out whole.
        if (const char* problem = for_each_record(bytes, image.capacity, false, [](const Record&) {})) {
            image.incomplete = image.log_gap = true;
            image.data_finding(Cure::catalogue, Severity::error, name(image.sequence), at, "well-formed records", problem);
            return;
        }
        image.tail.apply(bytes, image.capacity, false, [&](const Record& record) {
            if (record.type == RecordType::put) {
                if (record.new_name) ++image.new_names;
                image.note_id(record.entry.fixed.id);
            } else if (record.type == RecordType::erase) {
                --image.new_names;
            }
        });
    };
    while (image.sequence < limit && image.log_used < root.log_size) {
        CommitHeader header;
        if (!read_commit(image, image.log_used, image.sequence + 1, header, bytes)) break;
        take();
    }
    image.progress(0);
    // As a reader does: what the writer says is durable is there, unless it speaks of the next log by now.
    if (image.live && limit != UINT64_MAX && image.sequence < limit &&
        Catalogue::live_limit(image.target.map, root.log_salt) != UINT64_MAX && image.target.lease->writer_alive()) {
        image.incomplete = image.log_gap = true;
        image.data_finding(Cure::catalogue, Severity::error, name(image.sequence + 1), root.log_offset + image.log_used,
                           fmt::format("commits up to {}", limit), "damage; its writer has made them");
    }
    // As at opening: beside a writer the end is where it says; after a clean close nothing follows.
    if (!image.live && !clean) {
        // All of them are looked for at once: one search for each gap would sum the same forged commits again and again.
        for (const SweptCommit& c : find_later(image, image.sequence)) {
            if (c.offset < root.log_offset + image.log_used || c.sequence <= image.sequence) continue;
            const std::uint64_t where = c.offset - root.log_offset;
            const std::uint64_t expected = image.sequence + 1;
            // The next one counts only where it belongs.
            if (c.sequence == expected && where != image.log_used) continue;
            if (!copy_commit(image, c.offset, c.size, c.sequence, root.log_salt, bytes)) continue;
            if (c.sequence != expected) {
                // What was expected there was acknowledged once.
                image.incomplete = image.log_gap = true;
                image.data_finding(Cure::catalogue, Severity::error, name(expected), root.log_offset + image.log_used,
                                   fmt::format("commit {}", expected),
                                   fmt::format("damage up to commit {} at offset {}, which is sound", c.sequence, c.offset));
                // The numbers of names are known no more, the later commits still count.
                image.sequence = c.sequence - 1;
                image.log_used = where;
            }
            take();
        }
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
