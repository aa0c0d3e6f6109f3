// A shelf that is full: what makes the catalogue grow is refused while an erase can still be paid for, whatever
// was done before.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "memory_shelf.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

/// Small values, then smaller ones, until none is taken any more. Their number.
int fill(Shelf& s, std::size_t size) {
    int n = 0;
    for (std::size_t bytes : {size, size / 4, std::size_t{1}}) {
        try {
            for (;; ++n) s.put("k" + std::to_string(n), bytes_of(std::string(bytes, 'v')), Type::value(Kind::bytes));
        } catch (const NoSpaceError&) {
        }
    }
    return n;
}

/// Until it is refused, or `most` were done.
template <class F>
int until_refused(int most, F&& work) {
    for (int i = 0; i < most; ++i) {
        try {
            work(i);
        } catch (const NoSpaceError& error) {
            CHECK(std::string(error.what()).find("erase") != std::string::npos);
            return i;
        }
    }
    return most;
}

void empty(MemoryShelf& m) {
    REQUIRE(m.check() == "");
    const std::uint64_t all = m.shelf.size();
    std::uint64_t erased = 0;
    for (const BlobInfo& b : m.shelf.list()) {
        CAPTURE(erased);
        CAPTURE(all);
        REQUIRE_NOTHROW(m.shelf.erase(b.name));
        ++erased;
    }
    CHECK(m.shelf.size() == 0);
    CHECK(m.check() == "");
    m.reopen();
    m.shelf.put("again", bytes_of(std::string(100'000, 'x')));
    CHECK(m.check() == "");
}

}  // namespace

TEST_CASE("full of small values: how much fits, and what the refusal says") {
    for (const std::size_t size : {8, 40, 200}) {
        MemoryShelf m(8 << 20, 0);
        std::uint64_t stored = 0;
        std::string message;
        try {
            for (int n = 0;; ++n) {
                const std::string name = "k" + std::to_string(n);
                m.shelf.put(name, bytes_of(std::string(size, 'v')), Type::value(Kind::bytes));
                stored += name.size() + size;
            }
        } catch (const NoSpaceError& error) {
            message = error.what();
        }
        const ShelfInfo info = m.shelf.stat();
        std::uint64_t wanted = 0;
        sim::inspect_shelf(m.shelf, [&](Catalogue& c) { wanted = c.spare_wanted(); });
        MESSAGE(info.blobs << " values of " << size << " bytes: catalogue " << 100 * info.used / info.capacity
                           << " % of the shelf, names and values " << 100 * stored / info.capacity << " %; " << message);
        CHECK(wanted > 0);
        CHECK(message.find(std::to_string(wanted) + " bytes must stay free in one piece") != std::string::npos);
        CHECK(message.find(std::to_string(info.free) + " of " + std::to_string(info.capacity)) != std::string::npos);
        // What docs/DESIGN.md and pymmctl(1) tell users to expect.
        CHECK(4 * info.used > info.capacity);
    }
}

TEST_CASE("full of small values: renames, then everything can be erased") {
    for (const std::uint64_t log_size : {4096, 16384}) {
        CAPTURE(log_size);
        MemoryShelf m(1 << 20, log_size);
        const int n = fill(m.shelf, 200);
        CHECK(n > 500);
        for (int i = 0; i < n; i += 10) m.shelf.erase("k" + std::to_string(i));
        // There and back, of the same length.
        const int done = until_refused(5000, [&](int i) {
            if (i % n % 10 == 0) return;
            const std::string name = std::to_string(i % n);
            m.shelf.rename((i / n % 2 == 0 ? "k" : "r") + name, (i / n % 2 == 0 ? "r" : "k") + name);
        });
        MESSAGE(n << " blobs, " << done << " renames");
        CHECK(done > n / 2);
        empty(m);
    }
}

TEST_CASE("full of small values: longer names make the catalogue grow") {
    for (const std::uint64_t log_size : {4096, 16384}) {
        CAPTURE(log_size);
        MemoryShelf m(1 << 20, log_size);
        const int n = fill(m.shelf, 200);
        const int gone = n / 4;
        for (int i = 0; i < gone; ++i) m.shelf.erase("k" + std::to_string(i));
        const int done = until_refused(n - gone, [&](int i) {
            const std::string name = "k" + std::to_string(gone + i);
            m.shelf.rename(name, name + "/" + std::string(1000, 'n'));
        });
        MESSAGE(n << " blobs, " << done << " renames to long names");
        CHECK(done > 0);
        CHECK(done < n - gone);
        CHECK(m.shelf.size() == static_cast<std::uint64_t>(n - gone));
        empty(m);
    }
}

TEST_CASE("full of small values: one long name among short ones") {
    // The bound of a run's pages depends on its longest entry, so one of them may change much.
    MemoryShelf m(4 << 20, 8192);
    const int n = fill(m.shelf, 0);
    int erased = 0;
    while (until_refused(1, [&](int) { m.shelf.rename("k0", std::string(1024, 'n')); }) == 0)
        m.shelf.erase("k" + std::to_string(++erased));
    MESSAGE(n << " blobs, " << erased << " erased to rename one");
    CHECK(m.shelf.size() == static_cast<std::uint64_t>(n - erased));
    empty(m);
}

TEST_CASE("full: batches of renames, small and larger than the log") {
    for (const int at_once : {3, 400}) {
        CAPTURE(at_once);
        MemoryShelf m(at_once == 400 ? 4 << 20 : 1 << 20, 4096);
        const int n = fill(m.shelf, 200) / 5;
        while (m.shelf.size() > static_cast<std::uint64_t>(n))
            m.shelf.erase("k" + std::to_string(m.shelf.size() - 1));
        for (int i = n / 2; i < n; ++i) m.shelf.erase("k" + std::to_string(i));
        int from = 0;
        const int done = until_refused(200, [&](int) {
            Batch b = m.shelf.batch();
            for (int i = 0; i < at_once; ++i, ++from) {
                const std::string name = std::to_string(from % (n / 2));
                const bool there = from / (n / 2) % 2 == 0;
                b.rename((there ? "k" : "r") + name, (there ? "r" : "k") + name);
            }
            b.commit();
        });
        MESSAGE(n << " blobs, " << done << " batches of " << at_once << " renames");
        CHECK(done > 2);
        empty(m);
    }
}

TEST_CASE("full: batches of puts, prepared while there was space, larger than the log") {
    for (const int at_once : {10, 100, 1000}) {
        CAPTURE(at_once);
        MemoryShelf m(at_once == 1000 ? 4 << 20 : 1 << 20, 4096);
        int k = 0;
        const int done = until_refused(1000, [&](int) {
            Batch b = m.shelf.batch();
            for (int i = 0; i < at_once; ++i)
                b.put("b" + std::to_string(k++), bytes_of(std::string(100, 'v')), Type::value(Kind::bytes));
            b.commit();
        });
        MESSAGE(done << " batches of " << at_once << " puts");
        CHECK(done > 0);
        CHECK(m.shelf.size() == static_cast<std::uint64_t>(done) * static_cast<std::uint64_t>(at_once));
        (void)fill(m.shelf, 100);
        empty(m);
    }
}

TEST_CASE("full: one batch erases everything, or is refused and changes nothing") {
    MemoryShelf m(1 << 20, 4096);
    const int n = fill(m.shelf, 200);
    Batch b = m.shelf.batch();
    for (const BlobInfo& info : m.shelf.list()) b.erase(info.name);
    try {
        b.commit();
        CHECK(m.shelf.size() == 0);
    } catch (const NoSpaceError&) {
        CHECK(m.shelf.size() == static_cast<std::uint64_t>(n));
    }
    empty(m);
}

TEST_CASE("full: writable views of blobs with checksums") {
    MemoryShelf m(1 << 20, 4096, true);
    int n = until_refused(1000, [&](int i) {
        m.shelf.put("d" + std::to_string(i), bytes_of(std::string(600, 'd')));
    });
    CHECK(n > 100);
    (void)fill(m.shelf, 50);
    (void)until_refused(n, [&](int i) { (void)m.shelf.get("d" + std::to_string(i), Access::write); });
    empty(m);
}
