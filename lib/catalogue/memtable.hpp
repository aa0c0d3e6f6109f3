// The catalogue's changes since the last root: names and space, as the redo-log tail says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "catalogue/commit.hpp"
#include "catalogue/space_events.hpp"

namespace pymm {

/// Not thread-safe; the catalogue's lock covers it.
class Memtable {
public:
    /// Takes a copy of the commit's bytes and applies its records. Null or what is malformed; after a
    /// problem the table is unspecified.
    const char* apply(format::Bytes commit, std::uint64_t capacity, bool trusted,
                      const std::function<void(const Record&)>& visit);
    void clear();

    /// The encoded entry (perhaps a tombstone) of a name, empty when the tail does not mention it.
    format::Bytes find(std::string_view name) const noexcept {
        const auto it = names_.find(name);
        return it == names_.end() ? format::Bytes{} : it->second;
    }
    std::size_t names() const noexcept { return names_.size(); }
    /// Bytes of the entries that the table holds now; of the longest entry and name it ever held.
    std::size_t entry_bytes() const noexcept { return entry_bytes_; }
    std::size_t max_entry() const noexcept { return max_entry_; }
    std::size_t max_name() const noexcept { return max_name_; }
    /// Entries sorted by name.
    std::vector<std::pair<std::string_view, format::Bytes>> sorted() const;
    const EventMap& events() const noexcept { return events_; }

private:
    std::unordered_map<std::string_view, format::Bytes> names_;
    std::size_t entry_bytes_ = 0;
    std::size_t max_entry_ = 0;
    std::size_t max_name_ = 0;
    EventMap events_;
    // Commits are copied here, so that entries stay where they are. Blocks, not one vector.
    std::vector<std::unique_ptr<std::byte[]>> blocks_;
    std::size_t block_used_ = 0;
    std::size_t block_size_ = 0;
};

}  // namespace pymm
