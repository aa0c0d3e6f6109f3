// Journals that nobody has ended, sound, damaged and forged: what a writer undoes, and what it refuses before it has
// stored anything. Power cuts in a recovery are tests/crash_test.cpp's subject.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include <pymm/transaction.hpp>

#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "memory_shelf.hpp"
#include "shelf/core.hpp"

using namespace pymm;
using format::JournalHeader;
using format::JournalRange;
using test::MemoryShelf;

namespace {

constexpr std::uint64_t kMost = ~std::uint64_t{0};
constexpr std::byte kOld{1}, kNew{2};

using Forge = std::function<void(JournalHeader&, JournalRange&)>;

bool all(std::span<const std::byte> bytes, std::byte value) {
    return std::all_of(bytes.begin(), bytes.end(), [=](std::byte b) { return b == value; });
}

std::vector<std::byte> copy_of(const Media& media) { return {media.data(), media.data() + media.size()}; }

/// A shelf with a blob that a transaction has changed, and not ended; its journal is sound but for what `forge` does.
/// `look` sees it as another process would.
void with_forged(const Forge& forge, const std::function<void(MemoryShelf&, sim::SimLocks&)>& look) {
    MemoryShelf m(4 << 20);
    m.shelf.put("before", std::vector(3000, kNew));
    m.shelf.put("x", std::vector(5000, kOld));
    Transaction tx = m.shelf.transaction();
    View x = m.shelf.get("x", Access::write);
    tx.add(x);
    std::memset(x.writable_bytes().data(), static_cast<int>(kNew), x.writable_bytes().size());

    auto* const at = static_cast<std::byte*>(
        ::memmem(m.data.data(), m.data.size(), &format::kJournalMagic, sizeof format::kJournalMagic));
    REQUIRE(at != nullptr);
    JournalHeader header;
    JournalRange range;
    std::memcpy(&header, at, sizeof header);
    std::memcpy(&range, at + sizeof header, sizeof range);
    const std::uint64_t size = header.size;
    forge(header, range);
    header.crc = 0;
    std::memcpy(at, &header, sizeof header);
    std::memcpy(at + sizeof header, &range, sizeof range);
    header.crc = crc32c(at, size);
    std::memcpy(at, &header, sizeof header);

    sim::SimLocks others;
    look(m, others);
    ShelfCore::of(m.shelf).detach_in_child();  // its objects go without a word to the media
}

void restores(const Forge& forge) {
    with_forged(forge, [](MemoryShelf& m, sim::SimLocks& others) {
        {
            const Shelf reader = found_by_another(m, others, Mode::read_only);
            CHECK(all(reader.get("x").bytes(), kOld));
        }
        const Shelf writer = found_by_another(m, others, Mode::read_write);
        CHECK(all(writer.get("x").bytes(), kOld));
        CHECK(all(writer.get("before").bytes(), kNew));
        CHECK(writer.size() == 2);
    });
}

void refuses(const Forge& forge) {
    with_forged(forge, [](MemoryShelf& m, sim::SimLocks& others) {
        const std::vector<std::byte> map = copy_of(m.map), data = copy_of(m.data);
        CHECK_THROWS_AS((void)found_by_another(m, others, Mode::read_write), CorruptError);
        CHECK(copy_of(m.map) == map);
        CHECK(copy_of(m.data) == data);
        const Shelf reader = found_by_another(m, others, Mode::read_only);
        CHECK_THROWS_AS((void)reader.get("x"), CorruptError);
    });
}

}  // namespace

TEST_CASE("recovery: what a transaction had changed is as it was") {
    restores([](JournalHeader&, JournalRange&) {});
}

TEST_CASE("recovery: a blob that a repair gave another id or header is found by where its bytes are") {
    restores([](JournalHeader&, JournalRange& r) { r.id += 1000; });
    restores([](JournalHeader&, JournalRange& r) { r.header = 0; });
    restores([](JournalHeader&, JournalRange& r) { r.header += 1; });
    restores([](JournalHeader&, JournalRange& r) { r.header = kMost - 63; });
}

TEST_CASE("recovery: forged journals under right checksums are refused, and nothing is written") {
    refuses([](JournalHeader& h, JournalRange&) { h.version = 2; });
    refuses([](JournalHeader& h, JournalRange&) { h.size += 64; });
    refuses([](JournalHeader& h, JournalRange&) { h.size = kMost; });
    refuses([](JournalHeader& h, JournalRange&) { h.ranges = 0xffffffff; });
    refuses([](JournalHeader&, JournalRange& r) { r.size = 0; });
    refuses([](JournalHeader&, JournalRange& r) { r.size = kMost; });
    refuses([](JournalHeader&, JournalRange& r) { r.offset = 0; });
    refuses([](JournalHeader&, JournalRange& r) { r.offset = kMost - 10; });
    refuses([](JournalHeader&, JournalRange& r) { r.data = 0; });
    refuses([](JournalHeader&, JournalRange& r) { r.data = kMost - 10; });
}

TEST_CASE("recovery: bytes that are no blob's any more stay as they are") {
    const auto elsewhere = [](JournalHeader&, JournalRange& r) {
        r.id = 1000;
        r.header = 0;
        r.offset = (3 << 20) + 512;  // free space
    };
    with_forged(elsewhere, [](MemoryShelf& m, sim::SimLocks& others) {
        const std::vector<std::byte> data = copy_of(m.data);
        const Shelf writer = found_by_another(m, others, Mode::read_write);
        CHECK(all(writer.get("x").bytes(), kNew));
        CHECK(std::memcmp(m.data.data() + (3 << 20), data.data() + (3 << 20), 8192) == 0);
    });
}
