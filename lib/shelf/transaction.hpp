// What an open transaction has done so far. ShelfCore's lock covers it; how it works is told in docs/DESIGN.md,
// "Transactions".
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <pymm/transaction.hpp>

#include "shelf/core.hpp"

namespace pymm {

struct TransactionState {
    /// What a name means in it.
    struct Change {
        enum What { erased, put, moved } what = erased;
        std::unique_ptr<Prepared> prepared;  // put: on the media, durable, and no commit names it
        std::string origin;                  // moved: what the catalogue calls it
    };
    /// Bytes that are to be as they were.
    struct Saved {
        format::JournalRange range;
        std::uint64_t copy;  // where their copy is, in the data file
    };

    /// Whoever saves, commits or rolls back, from beginning to end; taken before the core's lock. Behind it `ended` counts.
    std::mutex turn;
    std::atomic<bool> ended{false};
    bool doomed = false;      // an inner one was rolled back
    bool every_view = false;  // what its thread gets for writing takes part
    std::map<std::string, Change, std::less<>> changes;
    std::vector<Saved> saved;
    std::map<std::uint64_t, std::uint64_t> covered;  // what is saved: disjoint pieces, begin to end
    std::set<std::uint64_t> extents;                 // data offsets of blobs with bytes in it: nobody else gives them back
    std::uint32_t journals = 0;

    // Names that `changes` adds to those of the catalogue, as of its commit `counted_at`.
    std::int64_t more = 0;
    std::uint64_t counted_at = 0;
    bool counted = false;

    bool covers(std::uint64_t offset, std::uint64_t size) const noexcept;
    /// What of a range is not saved yet.
    std::vector<format::Extent> uncovered(std::uint64_t offset, std::uint64_t size) const;
    /// BusyError where another thread's change of `name`, which means `old` or nothing, would touch it.
    void refuse(const char* operation, std::string_view name, const format::Entry* old) const;
};

/// A handle of the transaction. Several where blocks are nested.
struct Transaction::Inner {
    Shelf shelf;  // keeps it open
    std::shared_ptr<ShelfCore> core;
    std::shared_ptr<TransactionState> state;
    bool joined = false;  // the outermost has the say
};

}  // namespace pymm
