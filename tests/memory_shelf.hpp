// A shelf on media in memory, opened and closed by the test; the media stay. Storage can be made to run out.
#pragma once

#include <cerrno>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <string>

#include <pymm/pymm.hpp>

#include "catalogue/space_map.hpp"
#include "check/checker.hpp"
#include "format/layout.hpp"
#include "memory_media.hpp"
#include "sim/image_shelf.hpp"

namespace pymm::test {

/// What a test decides about storage: which call finds none.
struct Storage {
    std::uint64_t calls = 0;    ///< that may ask for storage, so far
    std::uint64_t refuse = 0;   ///< the call that is refused, counted from 1; 0: none
    std::uint64_t refused = 0;  ///< so many were
    bool all_after = false;     ///< and every one after it
    std::map<std::string, RangeSet> backed;  ///< by the media's name: what has storage

    bool has(const std::string& name, std::uint64_t offset, std::uint64_t size) {
        const auto& ranges = backed[name].ranges();
        const auto behind = ranges.upper_bound(offset);
        return behind != ranges.begin() && std::prev(behind)->second >= offset + size;
    }

    void ask(const std::string& name, const char* what) {
        ++calls;
        if (refuse == 0 || calls < refuse || (calls > refuse && !all_after)) return;
        ++refused;
        throw NoSpaceError(name + ": " + what + ": no storage, says the test", ENOSPC);
    }
};

/// Asks `storage` before it passes a call on.
class LimitedMedia final : public sim::MediaRef {
public:
    LimitedMedia(Media& target, Storage& storage) : MediaRef(target), storage_(storage) {}
    void reserve(std::uint64_t offset, std::uint64_t size) override {
        storage_.ask(name(), "reserve");
        MediaRef::reserve(offset, size);
        storage_.backed[name()].add(offset, size);
    }
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        if (!storage_.has(name(), offset, size)) {
            try {
                storage_.ask(name(), "write");
            } catch (const NoSpaceError&) {
                MediaRef::write(offset, source, size / 2);
                throw;
            }
            storage_.backed[name()].add(offset, size);
        }
        MediaRef::write(offset, source, size);
    }
    void prepare_for_writing() override {
        storage_.ask(name(), "prepare_for_writing");
        MediaRef::prepare_for_writing();
    }

private:
    Storage& storage_;
};

struct MemoryShelf {
    MemoryMedia map{"map", format::kMapSize};
    MemoryMedia data;
    sim::SimLocks locks;
    Storage storage;
    Shelf shelf;

    explicit MemoryShelf(std::uint64_t capacity, std::uint64_t log_size = 0, bool checksum = false)
        : data("data", capacity) {
        sim::format_image(map, data, {9, 9, 9}, log_size, checksum);
        storage.backed["map"].add(0, format::kMapSize);
        storage.backed["data"].add(0, format::kPage + log_size);
        open();
    }
    void open() {
        shelf = {};
        shelf = sim::open_shelf(std::make_unique<LimitedMedia>(map, storage),
                                std::make_unique<LimitedMedia>(data, storage), locks, Mode::read_write);
    }
    void reopen() {
        shelf.close();
        open();
    }
    /// Beside the open shelf, as fsck -n would. What is wrong, or nothing.
    std::string check() {
        sim::SimLease lease(locks);
        std::string text;
        const CheckReport report = check_media({map, data, &lease, false, {}}, {});
        for (const Finding& f : report.findings)
            if (f.severity == Severity::error) text += f.message() + "\n";
        return text;
    }
};

/// What a process finds that comes after this one has died without a word.
inline Shelf found_by_another(MemoryShelf& m, sim::SimLocks& locks, Mode mode) {
    return sim::open_shelf(std::make_unique<sim::MediaRef>(m.map), std::make_unique<sim::MediaRef>(m.data), locks, mode);
}

}  // namespace pymm::test
