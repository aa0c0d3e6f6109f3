// SimLease: a Lease without processes. SimLocks is what files would be: leases of one SimLocks exclude
// each other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "media/lease.hpp"

namespace pymm::sim {

class SimLease;

struct SimLocks {
    const SimLease* writer = nullptr;
    std::vector<std::pair<const SimLease*, std::pair<std::uint64_t, std::uint64_t>>> extents;
};

class SimLease final : public Lease {
public:
    explicit SimLease(SimLocks& locks) : locks_(&locks) {}
    ~SimLease() override {
        release_writer();
        std::erase_if(locks_->extents, [this](const auto& mark) { return mark.first == this; });
    }

    bool try_acquire_writer() override {
        if (locks_->writer != nullptr && locks_->writer != this) return false;
        locks_->writer = this;
        return true;
    }
    void release_writer() noexcept override {
        if (locks_->writer == this) locks_->writer = nullptr;
    }
    bool writer_alive() override { return locks_->writer != nullptr && locks_->writer != this; }

    void mark_extent(std::uint64_t offset, std::uint64_t size) override {
        locks_->extents.emplace_back(this, std::pair(offset, size));
    }
    void unmark_extent(std::uint64_t offset, std::uint64_t size) noexcept override {
        drop(locks_->extents, std::pair(offset, size));
    }
    bool extent_marked(std::uint64_t offset, std::uint64_t size) override {
        return std::any_of(locks_->extents.begin(), locks_->extents.end(), [&](const auto& mark) {
            const auto [start, length] = mark.second;
            return mark.first != this && start < offset + size && offset < start + length;
        });
    }
    void detach_in_child() noexcept override {}

private:
    template <class Marks, class Value>
    void drop(Marks& marks, const Value& value) noexcept {
        const auto it = std::find_if(marks.begin(), marks.end(), [&](const auto& mark) {
            return mark.first == this && mark.second == value;
        });
        if (it != marks.end()) marks.erase(it);
    }

    SimLocks* locks_;
};

}  // namespace pymm::sim
