#include "catalogue/memtable.hpp"

#include <algorithm>
#include <cstring>

namespace pymm {

using namespace format;

const char* Memtable::apply(Bytes commit, std::uint64_t capacity, bool trusted,
                            const std::function<void(const Record&)>& visit) {
    constexpr std::size_t block = 64 << 10;
    if (block_size_ - block_used_ < commit.size()) {
        block_size_ = std::max(block, commit.size());
        blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(block_size_));
        block_used_ = 0;
    }
    std::byte* copy = blocks_.back().get() + block_used_;
    std::memcpy(copy, commit.data(), commit.size());
    block_used_ += round_up(commit.size(), 8);
    block_used_ = std::min(block_used_, block_size_);
    return for_each_record({copy, commit.size()}, capacity, trusted, [&](const Record& record) {
        switch (record.type) {
            case RecordType::put:
            case RecordType::erase: {
                auto [it, fresh] = names_.try_emplace(record.entry.name, record.encoded);
                if (!fresh) {
                    entry_bytes_ -= it->second.size();
                    it->second = record.encoded;
                }
                entry_bytes_ += record.encoded.size();
                max_entry_ = std::max(max_entry_, record.encoded.size());
                max_name_ = std::max(max_name_, record.entry.name.size());
                break;
            }
            case RecordType::alloc: events_.set(record.extent.offset, record.extent.size, true); break;
            case RecordType::free: events_.set(record.extent.offset, record.extent.size, false); break;
        }
        visit(record);
    });
}

void Memtable::clear() {
    names_.clear();
    events_.clear();
    entry_bytes_ = max_entry_ = max_name_ = 0;
    // Keeps one block: the next tail needs it again.
    if (blocks_.size() > 1) blocks_.erase(blocks_.begin() + 1, blocks_.end());
    if (!blocks_.empty()) {
        block_size_ = 64 << 10;  // no block is smaller
        block_used_ = 0;
    }
}

std::vector<std::pair<std::string_view, Bytes>> Memtable::sorted() const {
    std::vector<std::pair<std::string_view, Bytes>> all(names_.begin(), names_.end());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    return all;
}

}  // namespace pymm
