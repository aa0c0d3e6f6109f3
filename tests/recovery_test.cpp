// Journals that nobody has ended, sound, damaged and forged, all of them or what a repair has left: what a writer undoes,
// and what it refuses before it has stored anything. Power cuts in a recovery are tests/crash_test.cpp's subject.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <pymm/transaction.hpp>

#include "contents.hpp"
#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "memory_shelf.hpp"
#include "shelf/core.hpp"

using namespace pymm;
using format::JournalHeader;
using format::JournalRange;
using namespace pymm::test;

namespace {

constexpr std::uint64_t kMost = ~std::uint64_t{0};
constexpr std::byte kOld{1}, kNew{2};

using Forge = std::function<void(JournalHeader&, JournalRange&)>;

bool all(std::span<const std::byte> bytes, std::byte value) {
    return std::all_of(bytes.begin(), bytes.end(), [=](std::byte b) { return b == value; });
}

void overwrite(View& view) {
    const auto bytes = view.writable_bytes();
    std::memset(bytes.data(), static_cast<int>(kNew), bytes.size());
}

/// Of all that can be; one journal is put aside by it.
void repair(MemoryShelf& m) {
    CheckOptions options;
    options.repair = Repair::all;
    const CheckReport report = check_media({m.map, m.data, nullptr, false, [](const Replaced&) { return ""; }}, options);
    CHECK(report.uncorrected() == 0);
    CHECK(report.lost_found == 1);
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
    overwrite(x);

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

TEST_CASE("recovery: a damaged journal stops a writer, and a repair puts it aside") {
    MemoryShelf m(4 << 20);
    const std::vector copy(5000, kOld);
    m.shelf.put("x", copy);
    Transaction tx = m.shelf.transaction();
    View x = m.shelf.get("x", Access::write);
    tx.add(x);
    overwrite(x);
    // The copy of its bytes, wherever it is.
    auto* at = static_cast<std::byte*>(::memmem(m.data.data(), m.data.size(), copy.data(), copy.size()));
    REQUIRE(at != nullptr);
    at[77] = std::byte{9};
    sim::SimLocks others;
    CHECK_THROWS_AS((void)found_by_another(m, others, Mode::read_write), CorruptError);
    {
        const Shelf reader = found_by_another(m, others, Mode::read_only);
        CHECK_THROWS_AS((void)reader.get("x"), CorruptError);
    }
    repair(m);
    {
        const Shelf writer = found_by_another(m, others, Mode::read_write);
        CHECK(writer.size() == 2);
        CHECK(all(writer.get("x").bytes(), kNew));
    }
    ShelfCore::of(m.shelf).detach_in_child();
}

TEST_CASE("recovery: where a repair has put the first of several journals aside, the others count") {
    MemoryShelf m(4 << 20);
    const std::string first = filled(5000, 1), second = filled(6000, 2), third = filled(7000, 3);
    m.shelf.put("x", bytes_of(first));
    m.shelf.put("y", bytes_of(second));
    m.shelf.put("z", bytes_of(third));
    Transaction tx = m.shelf.transaction();
    View x = m.shelf.get("x", Access::write), y = m.shelf.get("y", Access::write), z = m.shelf.get("z", Access::write);
    for (const View* view : {&x, &y, &z}) tx.add(*view);
    for (View* view : {&x, &y, &z}) overwrite(*view);
    sim::SimLocks others;
    // It looks before the repair, and after it.
    const Shelf reader = found_by_another(m, others, Mode::read_only);
    CHECK(reader.size() == 3);
    CHECK(text_of(reader.get("x")) == first);
    CHECK(text_of(reader.get("y")) == second);

    auto* copy = static_cast<std::byte*>(::memmem(m.data.data(), m.data.size(), first.data(), first.size()));
    REQUIRE(copy != nullptr);
    copy[77] ^= std::byte{1};
    repair(m);

    const auto look = [&](const Shelf& shelf) {
        CHECK(shelf.size() == 4);
        CHECK(shelf.stat().blobs == 4);
        CHECK(shelf.list("lost+found/").size() == 1);
        CHECK(text_of(shelf.get("x")) == std::string(5000, static_cast<char>(kNew)));  // nobody knows what was there
        CHECK(text_of(shelf.get("y")) == second);
        CHECK(text_of(shelf.get("z")) == third);
    };
    look(reader);
    look(found_by_another(m, others, Mode::read_only));
    {
        // What another repair does where nothing but the log is to be folded.
        Catalogue catalogue(m.map, m.data, nullptr);
        catalogue.begin_session();
        catalogue.close_session();
    }
    CHECK(!reader.stat().clean);
    look(reader);
    {
        Shelf writer = found_by_another(m, others, Mode::read_write);
        look(writer);
        writer.put("w", bytes_of("text"));
        writer.close();
    }
    CHECK(reader.size() == 5);
    CHECK(reader.stat().clean);
    CHECK(text_of(reader.get("y")) == second);
    ShelfCore::of(m.shelf).detach_in_child();
}

TEST_CASE("recovery: a transaction that is dropped and cannot be rolled back ends, and the next open undoes it") {
    MemoryShelf m(4 << 20);
    const std::string before = filled(5000, 1);
    m.shelf.put("x", bytes_of(before));
    {
        Transaction tx = m.shelf.transaction();
        tx.add("x");
        View x = m.shelf.get("x", Access::write);
        overwrite(x);
        m.storage.refuse = m.storage.calls + 1;
        m.storage.all_after = true;
    }
    CHECK(m.storage.refused != 0);
    CHECK_THROWS_AS(m.shelf.put("y", bytes_of("text")), ReadOnlyError);
    m.storage.refuse = 0;
    m.open();
    CHECK(difference(m.shelf, {{"x", before}}) == "");
    CHECK(m.check() == "");
}
