#include "format/journal.hpp"

#include <cstring>

#include "format/crc32c.hpp"
#include "media/guarded_read.hpp"

namespace pymm::format {

std::uint64_t journal_data_start(std::size_t ranges) noexcept {
    return round_up(sizeof(JournalHeader) + ranges * sizeof(JournalRange), kLine);
}

std::uint64_t lay_out_journal(std::vector<JournalRange>& ranges) noexcept {
    std::uint64_t at = journal_data_start(ranges.size());
    for (JournalRange& range : ranges) {
        range.data = at;
        at += round_up(range.size, kLine);
    }
    return at;
}

std::vector<std::byte> encode_journal_start(const std::vector<JournalRange>& ranges, std::uint64_t size,
                                            std::uint32_t crc) {
    JournalHeader header{};
    header.magic = kJournalMagic;
    header.version = kJournalVersion;
    header.ranges = static_cast<std::uint32_t>(ranges.size());
    header.size = size;
    header.crc = crc;
    std::vector<std::byte> bytes(journal_data_start(ranges.size()));
    std::memcpy(bytes.data(), &header, sizeof header);
    if (!ranges.empty()) std::memcpy(bytes.data() + sizeof header, ranges.data(), ranges.size() * sizeof(JournalRange));
    return bytes;
}

const char* read_journal(const Media& data, std::uint64_t offset, std::uint64_t size, std::vector<JournalRange>& ranges) {
    constexpr const char* what = "journal of a transaction";
    JournalHeader header;
    if (size < sizeof header) return "cut short";
    guarded_copy(&header, data, offset, sizeof header, what);
    if (header.magic != kJournalMagic) return "no magic";
    if (header.version != kJournalVersion) return "an unknown version";
    if (header.size != size) return "another size than its blob";
    if (header.ranges > size / sizeof(JournalRange)) return "number of ranges out of range";
    const std::uint64_t start = journal_data_start(header.ranges);
    if (start > size) return "number of ranges out of range";

    std::vector<std::byte> head(start);
    guarded_copy(head.data(), data, offset, start, what);
    JournalHeader unsummed = header;  // as it was looked at, though it may change meanwhile
    unsummed.crc = 0;
    std::memcpy(head.data(), &unsummed, sizeof unsummed);
    std::uint32_t crc = crc32c(head.data(), head.size());
    const std::byte* rest = data.data() + offset + start;
    guarded_read(data, offset + start, size - start, what, [&]() noexcept { crc = crc32c(rest, size - start, crc); });
    if (crc != header.crc) return "wrong checksum";

    ranges.resize(header.ranges);
    if (!ranges.empty()) std::memcpy(ranges.data(), head.data() + sizeof header, ranges.size() * sizeof(JournalRange));
    for (const JournalRange& r : ranges) {
        if (r.size == 0 || r.offset < kDataStart || r.offset > data.size() || r.size > data.size() - r.offset)
            return "a range outside the data area";
        if (r.data < start || r.data > size || r.size > size - r.data) return "a copy outside the journal";
    }
    return nullptr;
}

}  // namespace pymm::format
