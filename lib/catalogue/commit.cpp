#include "catalogue/commit.hpp"

#include <fmt/format.h>

#include <cstring>

#include <pymm/error.hpp>

#include "format/crc32c.hpp"

namespace pymm {

using namespace format;

void CommitBuilder::clear() {
    buffer_.resize(sizeof(CommitHeader));
    records_ = 0;
    puts_ = false;
}

std::byte* CommitBuilder::record(RecordType type, std::uint16_t flags, std::size_t body) {
    const RecordHeader header{static_cast<std::uint16_t>(type), flags,
                              static_cast<std::uint32_t>(sizeof(RecordHeader) + body)};
    const std::size_t at = buffer_.size();
    if (header.size > limit_ - at)
        throw InvalidArgumentError(fmt::format("a commit of more than {} records: its catalogue entries come to more than "
                                               "{} bytes; make smaller batches", records_, limit_));
    buffer_.resize(at + header.size);
    std::memcpy(buffer_.data() + at, &header, sizeof header);
    ++records_;
    return buffer_.data() + at + sizeof header;
}

void CommitBuilder::put(const Entry& fixed, std::string_view name, Bytes type, Bytes value,
                        bool new_name) {
    std::byte* body = record(RecordType::put, new_name ? kRecordNewName : 0,
                             encoded_entry_size(name.size(), type.size(), value.size()));
    encode_entry(fixed, name, type, value, body);
    puts_ = true;
}

void CommitBuilder::erase(std::string_view name) {
    Entry entry{};
    entry.flags = kEntryTombstone;
    std::byte* body = record(RecordType::erase, 0, encoded_entry_size(name.size(), 0, 0));
    encode_entry(entry, name, {}, {}, body);
}

void CommitBuilder::extent_record(RecordType type, Extent extent) {
    std::memcpy(record(type, 0, sizeof extent), &extent, sizeof extent);
}

Bytes CommitBuilder::finish(std::uint64_t sequence, std::uint64_t salt, std::uint64_t time_ns) {
    CommitHeader header{kCommitMagic, static_cast<std::uint32_t>(buffer_.size()), sequence, salt, time_ns,
                        records_, 0};
    std::memcpy(buffer_.data(), &header, sizeof header);
    header.crc = crc32c(buffer_.data(), buffer_.size());
    std::memcpy(buffer_.data(), &header, sizeof header);
    return buffer_;
}

const char* check_commit(Bytes log, std::uint64_t sequence, std::uint64_t salt,
                         std::size_t& size) noexcept {
    if (log.size() < sizeof(CommitHeader)) return "no room for a commit";
    CommitHeader header;
    std::memcpy(&header, log.data(), sizeof header);
    if (header.magic != kCommitMagic) return "no commit";
    if (header.salt != salt) return "a commit of another incarnation of the log";
    if (header.sequence != sequence) return "a commit out of sequence";
    if (header.size < sizeof header || header.size % 8 != 0 || header.size > log.size())
        return "size out of range";
    const std::uint32_t stored = header.crc;
    header.crc = 0;
    const std::uint32_t crc = crc32c(log.data() + sizeof header, header.size - sizeof header,
                                     crc32c(&header, sizeof header));
    if (crc != stored) return "wrong checksum";
    size = header.size;
    return nullptr;
}

const char* for_each_record(Bytes commit, std::uint64_t capacity, bool trusted,
                            const std::function<void(const Record&)>& visit) {
    CommitHeader header;
    std::memcpy(&header, commit.data(), sizeof header);
    std::size_t at = sizeof header;
    std::uint32_t count = 0;
    while (at < commit.size()) {
        RecordHeader r;
        if (commit.size() - at < sizeof r) return "record: cut short";
        std::memcpy(&r, commit.data() + at, sizeof r);
        if (r.size < sizeof r || r.size % 8 != 0 || r.size > commit.size() - at)
            return "record: size out of range";
        const Bytes body = commit.subspan(at + sizeof r, r.size - sizeof r);
        Record record{};
        record.type = static_cast<RecordType>(r.type);
        record.new_name = (r.flags & kRecordNewName) != 0;
        switch (record.type) {
            case RecordType::put:
            case RecordType::erase: {
                std::size_t used = 0;
                if (const char* problem = decode_entry(body, record.entry, used)) return problem;
                if (used != body.size()) return "record: entry of another size";
                if (record.entry.tombstone() != (record.type == RecordType::erase))
                    return "record: type and entry disagree";
                if (!trusted)
                    if (const char* problem = entry_problem(record.entry, capacity)) return problem;
                record.encoded = body;
                break;
            }
            case RecordType::alloc:
            case RecordType::free:
                if (body.size() != sizeof(Extent)) return "record: extent of another size";
                std::memcpy(&record.extent, body.data(), sizeof(Extent));
                if (record.extent.offset % kLine != 0 || record.extent.size % kLine != 0 ||
                    record.extent.size == 0 || record.extent.offset < kDataStart ||
                    record.extent.offset > capacity ||
                    record.extent.size > capacity - record.extent.offset)
                    return "record: extent outside the data area";
                break;
            default: return "record: unknown type";
        }
        visit(record);
        at += r.size;
        ++count;
    }
    return count == header.records ? nullptr : "commit: another number of records";
}

std::uint64_t commit_time(Bytes commit) noexcept {
    CommitHeader header;
    std::memcpy(&header, commit.data(), sizeof header);
    return header.time_ns;
}

}  // namespace pymm
