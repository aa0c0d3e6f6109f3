// One commit of the redo log: built in DRAM, written in one piece, decoded on replay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "format/entry.hpp"
#include "format/layout.hpp"

namespace pymm {

/// Builds a commit. Reusable: clear() keeps the memory. Not thread-safe.
class CommitBuilder {
public:
    /// What the header's 32 bits can say, in whole records.
    static constexpr std::uint64_t kMaxSize = UINT32_MAX - 7;

    /// A record that makes the commit larger than `limit` bytes, at most kMaxSize, is an InvalidArgumentError; the
    /// commit is then as it was without it.
    explicit CommitBuilder(std::uint64_t limit = kMaxSize) : limit_(limit) { clear(); }

    void clear();
    bool empty() const noexcept { return records_ == 0; }
    /// It has put records: the catalogue may grow by it. What only erases never makes it larger for good.
    bool puts() const noexcept { return puts_; }
    std::uint32_t records() const noexcept { return records_; }
    /// Bytes of the commit, header included.
    std::size_t size() const noexcept { return buffer_.size(); }

    void put(const format::Entry& fixed, std::string_view name, format::Bytes type, format::Bytes value,
             bool new_name);
    void erase(std::string_view name);
    void alloc(format::Extent extent) { extent_record(format::RecordType::alloc, extent); }
    void free(format::Extent extent) { extent_record(format::RecordType::free, extent); }

    /// Completes header and checksum. The bytes stay valid until clear() or the next record.
    format::Bytes finish(std::uint64_t sequence, std::uint64_t salt, std::uint64_t time_ns);

private:
    std::byte* record(format::RecordType type, std::uint16_t flags, std::size_t body);
    void extent_record(format::RecordType type, format::Extent extent);

    const std::uint64_t limit_;
    std::vector<std::byte> buffer_;
    std::uint32_t records_ = 0;
    bool puts_ = false;
};

/// What a decoded commit says, record by record.
struct Record {
    format::RecordType type;
    bool new_name = false;
    format::EntryView entry;  // put, erase
    format::Bytes encoded;    // the entry's bytes
    format::Extent extent{};  // alloc, free
};

/// Null when the bytes at the front of `log` are the whole, sound commit `sequence` of incarnation
/// `salt`; else why not. `size` receives its bytes.
const char* check_commit(format::Bytes log, std::uint64_t sequence, std::uint64_t salt,
                         std::size_t& size) noexcept;

/// Calls `visit` for each record of a commit that check_commit() accepted. Null, or what is malformed:
/// its checksum was right, so that is damage or a foreign writer, never a torn write. `trusted`: we have
/// just built it ourselves; what the records say is not checked against the shelf again.
const char* for_each_record(format::Bytes commit, std::uint64_t capacity, bool trusted,
                            const std::function<void(const Record&)>& visit);

/// Time of a commit, in ns since the epoch.
std::uint64_t commit_time(format::Bytes commit) noexcept;

}  // namespace pymm
