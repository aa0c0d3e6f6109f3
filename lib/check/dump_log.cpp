// The log of a dump: its commits and their records, and sound commits behind the place where replay stops.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "catalogue/commit.hpp"
#include "check/dump_items.hpp"

namespace pymm {

using namespace format;

namespace {

// No writer makes such commits, and memory is ours to keep.
constexpr std::uint64_t kMostShown = 256u << 20;

class LogDump {
public:
    LogDump(const Superblock& sb, const DumpFile& data, DumpSink& sink) : sb_(sb), data_(data), sink_(sink) {}

    void run() {
        DumpMaker made("log", 0, sb_.log_offset, sb_.log_size);
        made.hex("salt", sb_.log_salt).number("begins_with", sb_.sequence + 1);
        if (!data_.holds(sb_.log_offset, sb_.log_size))
            made.problem(fmt::format("it reaches past the end of the file, which has {} bytes", data_.size()));
        sink_.parent(made.item);
        std::uint64_t at = 0;
        std::uint64_t expected = sb_.sequence + 1;
        std::string why;
        while (read_commit(at, expected, why)) {
            show(at, {});
            at = std::min(round_up(at + bytes_.size(), kLine), sb_.log_size);
            ++expected;
        }
        sink_.part(DumpMaker("end of log", 1, sb_.log_offset + at, 0)
                       .number("next", expected).number("left", sb_.log_size - at).text("reason", why).item);
        if ((sb_.flags & kSuperblockClean) == 0) search(at, expected);
    }

private:
    /// Fills bytes_ with the sound commit there; else `why` says why there is none.
    bool read_commit(std::uint64_t at, std::uint64_t sequence, std::string& why) {
        CommitHeader header;
        if (sb_.log_size < sizeof header || at > sb_.log_size - sizeof header) {
            why = "no room for a commit";
            return false;
        }
        if (why = data_.read(sb_.log_offset + at, std::as_writable_bytes(std::span(&header, 1))); !why.empty())
            return false;
        std::size_t size = 0;
        // First of the header alone: a size out of range is said, a size in range means to read on.
        if (header.magic != kCommitMagic || header.salt != sb_.log_salt || header.sequence != sequence ||
            header.size < sizeof header || header.size % 8 != 0 || header.size > sb_.log_size - at) {
            why = check_commit(std::as_bytes(std::span(&header, 1)), sequence, sb_.log_salt, size);
            return false;
        }
        if (header.size > kMostShown) {
            why = fmt::format("a commit of {} bytes, too large to be shown", header.size);
            return false;
        }
        bytes_.resize(header.size);
        if (why = data_.read(sb_.log_offset + at, bytes_); !why.empty()) return false;
        if (const char* problem = check_commit(bytes_, sequence, sb_.log_salt, size)) {
            why = problem;
            return false;
        }
        return true;
    }

    void show(std::uint64_t at, std::string problem) {
        CommitHeader header;
        std::memcpy(&header, bytes_.data(), sizeof header);
        const std::uint64_t begin = sb_.log_offset + at;
        sink_.parent(DumpMaker("commit", 1, begin, header.size)
                         .number("sequence", header.sequence).time("time_ns", header.time_ns)
                         .number("records", header.records).hex("crc", header.crc).problem(std::move(problem)).item);
        std::uint64_t place = begin + sizeof header;
        const char* malformed = for_each_record(bytes_, data_.size(), false, [&](const Record& record) {
            switch (record.type) {
                case RecordType::put:
                case RecordType::erase: {
                    const std::uint64_t size = sizeof(RecordHeader) + record.encoded.size();
                    DumpMaker made(record.type == RecordType::put ? "put" : "erase", 2, place, size);
                    made.entry(record.entry);
                    if (record.new_name) made.text("new_name", "yes");
                    sink_.part(made.item, record.entry.name);
                    place += size;
                    break;
                }
                case RecordType::alloc:
                case RecordType::free: {
                    constexpr std::uint64_t size = sizeof(RecordHeader) + sizeof(Extent);
                    sink_.part(DumpMaker(record.type == RecordType::alloc ? "alloc" : "free", 2, place, size)
                                   .number("offset", record.extent.offset).number("size", record.extent.size).item);
                    place += size;
                    break;
                }
            }
        });
        if (malformed != nullptr) sink_.part(DumpMaker("record", 2, place, 0).problem(malformed).item);
    }

    /// Sound commits of this incarnation behind the end: then what ended the log is no torn tail.
    void search(std::uint64_t from, std::uint64_t expected) {
        constexpr std::uint64_t piece = 1 << 20;
        std::vector<std::byte> buffer(piece);
        const std::uint64_t end = data_.holds(sb_.log_offset, 0)
                                      ? std::min(sb_.log_size, data_.size() - sb_.log_offset) : 0;
        // Positions are multiples of a cache line from the log's start, so none straddles two pieces.
        for (std::uint64_t at = from / kLine * kLine; at < end; at += piece) {
            const std::span<std::byte> part(buffer.data(), std::min(piece, end - at));
            if (!data_.read(sb_.log_offset + at, part).empty()) continue;
            for (std::uint64_t i = 0; i + sizeof(CommitHeader) <= part.size(); i += kLine) {
                CommitHeader header;
                std::memcpy(&header, part.data() + i, sizeof header);
                std::string why;
                if (header.magic != kCommitMagic || header.salt != sb_.log_salt || header.sequence <= expected) continue;
                if (!read_commit(at + i, header.sequence, why)) continue;
                show(at + i, fmt::format("sound, but behind the end of the log: commit {} is damaged", expected));
            }
        }
    }

    const Superblock& sb_;
    const DumpFile& data_;
    DumpSink& sink_;
    std::vector<std::byte> bytes_;
};

}  // namespace

void dump_log(const Superblock& sb, const DumpFile& data, DumpSink& sink) { LogDump(sb, data, sink).run(); }

}  // namespace pymm
