// Transactions: what belongs to them, what others see of them, and that rolling back restores all. Power cuts are
// tests/crash_test.cpp's subject.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <pymm/transaction.hpp>

#include "format/crc32c.hpp"
#include "memory_shelf.hpp"
#include "shelf/core.hpp"

using namespace pymm;
using test::MemoryShelf;

namespace {

std::vector<std::byte> bytes_of(std::size_t size, int value) { return std::vector(size, static_cast<std::byte>(value)); }

/// All bytes are that value.
bool all(std::span<const std::byte> bytes, int value) {
    return std::all_of(bytes.begin(), bytes.end(), [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

bool holds(const Shelf& shelf, const std::string& name, int value) { return all(shelf.get(name).bytes(), value); }

std::vector<std::string> names(const Shelf& shelf, const std::string& prefix = "") {
    std::vector<std::string> all;
    for (const BlobInfo& info : shelf.list(prefix)) all.push_back(info.name);
    return all;
}

void fill(View& view, int value) {
    const auto memory = view.writable_bytes();
    std::memset(memory.data(), value, memory.size());
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("transaction: names and stores become one commit") {
    MemoryShelf m(4 << 20);
    m.shelf.put("kept", bytes_of(100, 1));
    m.shelf.put("x", bytes_of(8000, 1));
    m.shelf.put("gone", bytes_of(5000, 1));
    m.shelf.put("old", bytes_of(300, 1));
    View x = m.shelf.get("x", Access::write);
    Transaction tx = m.shelf.transaction();
    CHECK(tx.is_active());
    tx.add("x");
    fill(x, 2);
    m.shelf.put("new", bytes_of(6000, 3));
    m.shelf.put("kept", bytes_of(10, 4));
    m.shelf.erase("gone");
    m.shelf.rename("old", "renamed");
    CHECK(names(m.shelf) == Names{"kept", "new", "renamed", "x"});
    CHECK(m.shelf.size() == 4);
    CHECK(m.shelf.stat().blobs == 4);
    CHECK(holds(m.shelf, "kept", 4));
    CHECK(holds(m.shelf, "new", 3));
    CHECK(holds(m.shelf, "renamed", 1));
    CHECK_THROWS_AS((void)m.shelf.get("gone"), NotFoundError);
    CHECK_THROWS_AS(m.shelf.erase("old"), NotFoundError);
    const std::uint64_t before = m.shelf.stat().sequence;
    tx.commit();
    CHECK_FALSE(tx.is_active());
    CHECK(m.shelf.stat().sequence == before + 1);
    CHECK(m.check() == "");
    x = {};
    m.reopen();
    CHECK(names(m.shelf) == Names{"kept", "new", "renamed", "x"});
    CHECK(m.shelf.size() == 4);
    CHECK(holds(m.shelf, "x", 2));
    CHECK(holds(m.shelf, "new", 3));
    CHECK_THROWS_AS(tx.commit(), InvalidArgumentError);
}

TEST_CASE("transaction: a rollback restores names, memory and space") {
    MemoryShelf m(4 << 20);
    m.shelf.put("x", bytes_of(8000, 1));
    m.shelf.put("small", bytes_of(100, 1));
    m.shelf.put("y", bytes_of(4096, 1));
    View x = m.shelf.get("x", Access::write), small = m.shelf.get("small", Access::write);
    const std::uint64_t used = m.shelf.stat().used;
    {
        Transaction tx = m.shelf.transaction();
        tx.add(x, 10, 100);
        tx.add(small);
        std::memset(x.writable_bytes().data() + 10, 2, 100);
        fill(small, 2);
        m.shelf.put("x", bytes_of(9000, 3));
        m.shelf.put("z", bytes_of(50'000, 3));
        View z = m.shelf.get("z", Access::write);
        fill(z, 4);
        m.shelf.rename("y", "w");
        SUBCASE("said") {
            tx.rollback();
            CHECK_FALSE(tx.is_active());
        }
        SUBCASE("dropped") { tx = {}; }
        // A view of what never came to be stays valid.
        CHECK(all(z.bytes(), 4));
    }
    CHECK(names(m.shelf) == Names{"small", "x", "y"});
    CHECK(all(x.bytes(), 1));
    CHECK(all(small.bytes(), 1));
    CHECK(holds(m.shelf, "x", 1));
    CHECK(m.shelf.stat().used == used);
    CHECK(m.check() == "");
    // Stores afterwards are nobody's business but theirs.
    fill(x, 7);
    x.persist();
    x = {}, small = {};
    m.reopen();
    CHECK(holds(m.shelf, "x", 7));
    CHECK(names(m.shelf) == Names{"small", "x", "y"});
}

TEST_CASE("transaction: what its process did not end is undone by the next") {
    MemoryShelf m(4 << 20);
    m.shelf.put("x", bytes_of(8000, 1));
    m.shelf.put("small", bytes_of(100, 1));
    m.shelf.put("y", bytes_of(200'000, 1));
    Transaction tx = m.shelf.transaction();
    View x = m.shelf.get("x", Access::write), small = m.shelf.get("small", Access::write);
    View y = m.shelf.get("y", Access::write);
    tx.add(x, 4000, 1000);
    tx.add("small");
    tx.add("y");  // a journal that is not put together in DRAM
    tx.add("x");  // the rest of it
    fill(x, 2), fill(small, 2), fill(y, 2);
    m.shelf.put("z", bytes_of(10, 1));
    sim::SimLocks others;
    {
        const Shelf reader = found_by_another(m, others, Mode::read_only);
        CHECK(names(reader) == Names{"small", "x", "y"});
        CHECK(reader.size() == 3);
        CHECK(reader.stat().blobs == 3);
        CHECK(holds(reader, "x", 1));
        CHECK(holds(reader, "small", 1));
        CHECK(holds(reader, "y", 1));
        // Memory that may be stored to shows the same.
        const View view = reader.get("y");
        CHECK(all(view.private_memory().bytes(), 1));
        view.check_readable();
    }
    CHECK(all(x.bytes(), 2));  // a reader changes nothing
    {
        Shelf writer = found_by_another(m, others, Mode::read_write);
        CHECK(names(writer) == Names{"small", "x", "y"});
        CHECK(writer.size() == 3);
        CHECK(holds(writer, "x", 1));
        CHECK(holds(writer, "small", 1));
        CHECK(holds(writer, "y", 1));
    }
    CHECK(m.check() == "");
    m.storage = {};
    // The dead process's objects know nothing of it; they go without a word to the media.
    ShelfCore::of(m.shelf).detach_in_child();
}

TEST_CASE("transaction: a reader beside a writer is told what is committed") {
    MemoryShelf m(4 << 20);
    m.shelf.put("x", bytes_of(8000, 1));
    const Shelf reader = found_by_another(m, m.locks, Mode::read_only);
    Transaction tx = m.shelf.transaction();
    m.shelf.put("x", bytes_of(8000, 2));
    m.shelf.put("y", bytes_of(8000, 2));
    tx.add("y");
    CHECK(names(reader) == Names{"x"});
    CHECK(holds(reader, "x", 1));
    tx.commit();
    CHECK(names(reader) == Names{"x", "y"});
    CHECK(holds(reader, "x", 2));
}

TEST_CASE("transaction: views that are there, or come, take part when all are to") {
    MemoryShelf m(4 << 20);
    for (const char* name : {"a", "b", "c"}) m.shelf.put(name, bytes_of(5000, 1));
    View a = m.shelf.get("a", Access::write);
    View gone = m.shelf.get("c", Access::write);
    m.shelf.put("c", bytes_of(5000, 5));
    Transaction tx = m.shelf.transaction();
    tx.add_views();
    View b = m.shelf.get("b", Access::write);
    fill(a, 2), fill(b, 2), fill(gone, 2);
    m.shelf.put("d", bytes_of(5000, 2));
    View d = m.shelf.get("d", Access::write);
    fill(d, 3);
    tx.rollback();
    CHECK(all(a.bytes(), 1));
    CHECK(all(b.bytes(), 1));
    CHECK(holds(m.shelf, "c", 5));
    CHECK(all(gone.bytes(), 2));  // which nobody can find again
    CHECK(names(m.shelf) == Names{"a", "b", "c"});
}

TEST_CASE("transaction: stores to what it has put are part of it") {
    MemoryShelf m(4 << 20, 0, true);
    Transaction tx = m.shelf.transaction();
    m.shelf.put("x", bytes_of(5000, 1));
    CHECK(m.shelf.find("x")->checksum);
    View x = m.shelf.get("x", Access::write);
    CHECK_FALSE(m.shelf.find("x")->checksum);
    fill(x, 2);
    tx.commit();
    fill(x, 3);
    x.persist();
    x = {};
    m.reopen();
    CHECK(holds(m.shelf, "x", 3));
    CHECK(m.check() == "");
}

TEST_CASE("transaction: one inside another belongs to it") {
    MemoryShelf m(4 << 20);
    m.shelf.put("x", bytes_of(5000, 1));
    {
        Transaction outer = m.shelf.transaction();
        m.shelf.put("a", bytes_of(10, 1));
        {
            Transaction inner = m.shelf.transaction();
            inner.add("x");
            m.shelf.put("b", bytes_of(10, 1));
            inner.commit();
        }
        SUBCASE("both commit") {
            outer.commit();
            CHECK(names(m.shelf) == Names{"a", "b", "x"});
        }
        SUBCASE("the outer one rolls back") {
            outer.rollback();
            CHECK(names(m.shelf) == Names{"x"});
        }
        SUBCASE("a second inner one is dropped") {
            { const Transaction inner = m.shelf.transaction(); }
            CHECK_THROWS_AS(outer.commit(), InvalidArgumentError);
            CHECK(outer.is_active());
            outer.rollback();
            CHECK(names(m.shelf) == Names{"x"});
        }
    }
    Transaction next = m.shelf.transaction();
    m.shelf.put("c", bytes_of(10, 1));
    next.commit();
    CHECK(m.shelf.contains("c"));
}

TEST_CASE("transaction: other threads") {
    MemoryShelf m(4 << 20);
    for (const char* name : {"x", "y", "z"}) m.shelf.put(name, bytes_of(5000, 1));
    Transaction tx = m.shelf.transaction();
    tx.add("x");
    m.shelf.put("new", bytes_of(10, 1));
    m.shelf.rename("y", "moved");
    std::thread([&] {
        CHECK_THROWS_AS((void)m.shelf.transaction(), BusyError);
        // What takes part is refused; all else is a commit of its own.
        CHECK_THROWS_AS(m.shelf.put("x", bytes_of(10, 2)), BusyError);
        CHECK_THROWS_AS(m.shelf.erase("x"), BusyError);
        CHECK_THROWS_AS(m.shelf.rename("x", "elsewhere"), BusyError);
        CHECK_THROWS_AS(m.shelf.rename("z", "x", true), BusyError);
        CHECK_THROWS_AS(m.shelf.put("new", bytes_of(10, 2)), BusyError);
        CHECK_THROWS_AS(m.shelf.erase("moved"), BusyError);
        CHECK_THROWS_AS(m.shelf.put("y", bytes_of(10, 2)), BusyError);
        Batch batch = m.shelf.batch();
        batch.put("fresh", bytes_of(10, 2));
        batch.put("x", bytes_of(10, 2));
        CHECK_THROWS_AS(batch.commit(), BusyError);
        CHECK_FALSE(m.shelf.contains("fresh"));
        m.shelf.put("z", bytes_of(10, 2));
        m.shelf.put("theirs", bytes_of(5000, 2));
        CHECK(holds(m.shelf, "new", 1));
    }).join();
    tx.rollback();
    CHECK(names(m.shelf) == Names{"theirs", "x", "y", "z"});
    CHECK(holds(m.shelf, "z", 2));
    CHECK(m.check() == "");
}

TEST_CASE("transaction: what is refused changes nothing") {
    MemoryShelf m(4 << 20);
    m.shelf.put("x", bytes_of(5000, 1));
    m.shelf.put("sealed", bytes_of(5000, 1));
    m.shelf.seal("sealed");
    View former = m.shelf.get("x", Access::write);
    m.shelf.put("x", bytes_of(5000, 2));
    Transaction tx = m.shelf.transaction();
    CHECK_THROWS_AS(tx.add("nothing"), NotFoundError);
    CHECK_THROWS_AS(tx.add(former), InvalidArgumentError);
    View x = m.shelf.get("x", Access::write);
    CHECK_THROWS_AS(tx.add(x, 4000, 1001), InvalidArgumentError);
    tx.add("sealed");  // which nobody can store to
    CHECK_THROWS_AS(m.shelf.put("sealed", bytes_of(5000, 1)), ReadOnlyError);
    CHECK_THROWS_AS(m.shelf.rename("x", "sealed", true), ReadOnlyError);
    CHECK_THROWS_AS(m.shelf.rename("x", "sealed"), ExistsError);
    CHECK_THROWS_AS(m.shelf.seal("x"), InvalidArgumentError);
    CHECK_THROWS_AS(m.shelf.put(std::string("\0journal/0", 10), bytes_of(10, 1)), InvalidArgumentError);
    {
        Batch batch = m.shelf.batch();
        batch.put("fresh", bytes_of(10, 1));
        batch.erase("nothing");
        CHECK_THROWS_AS(batch.commit(), NotFoundError);
    }
    {
        Batch batch = m.shelf.batch();
        batch.put("b", bytes_of(10, 1));
        batch.rename("b", "c");
        batch.put("b", bytes_of(5000, 1));
        batch.erase("x");
        batch.commit();
    }
    CHECK(names(m.shelf) == Names{"b", "c", "sealed"});
    // Too large for the shelf: it may go on, or be rolled back.
    CHECK_THROWS_AS(m.shelf.put("large", bytes_of(5 << 20, 1)), NoSpaceError);
    tx.commit();
    CHECK(names(m.shelf) == Names{"b", "c", "sealed"});
    CHECK(m.shelf.size() == 3);
    CHECK(m.check() == "");
}

TEST_CASE("transaction: no space for a journal") {
    MemoryShelf m(1 << 20);
    m.shelf.put("x", bytes_of(600'000, 1));
    Transaction tx = m.shelf.transaction();
    CHECK_THROWS_AS(tx.add("x"), NoSpaceError);
    // It takes no part, so it can be replaced by others, and the transaction goes on.
    std::thread([&] { m.shelf.erase("x"); }).join();
    m.shelf.put("y", bytes_of(10, 1));
    tx.commit();
    CHECK(names(m.shelf) == Names{"y"});
    CHECK(m.check() == "");
}

TEST_CASE("transaction: closing the shelf rolls it back") {
    MemoryShelf m(4 << 20);
    m.shelf.put("x", bytes_of(5000, 1));
    Transaction tx = m.shelf.transaction();
    View x = m.shelf.get("x", Access::write);
    tx.add(x);
    fill(x, 2);
    m.shelf.put("y", bytes_of(10, 1));
    m.shelf.close();
    CHECK(all(x.bytes(), 1));
    CHECK_THROWS_AS(tx.commit(), ClosedError);
    tx = {};
    x = {};
    m.open();
    CHECK(names(m.shelf) == Names{"x"});
    CHECK(holds(m.shelf, "x", 1));
}

TEST_CASE("transaction: names that go in circles") {
    MemoryShelf m(4 << 20);
    m.shelf.put("a", bytes_of(5000, 1));
    m.shelf.put("b", bytes_of(5000, 2));
    Transaction tx = m.shelf.transaction();
    m.shelf.rename("a", "t");
    m.shelf.rename("b", "a");
    m.shelf.rename("t", "b");
    m.shelf.put("c", bytes_of(5000, 3));
    m.shelf.rename("c", "d");
    m.shelf.rename("d", "c");
    CHECK(names(m.shelf) == Names{"a", "b", "c"});
    tx.commit();
    CHECK(holds(m.shelf, "a", 2));
    CHECK(holds(m.shelf, "b", 1));
    CHECK(holds(m.shelf, "c", 3));
    CHECK(m.shelf.size() == 3);
    CHECK(m.check() == "");
    // There and back is nothing.
    Transaction again = m.shelf.transaction();
    m.shelf.rename("a", "z");
    m.shelf.rename("z", "a");
    const std::uint64_t sequence = m.shelf.stat().sequence;
    again.commit();
    CHECK(m.shelf.stat().sequence == sequence);
}

TEST_CASE("transaction: appends, and what replaces a blob under its id") {
    for (const bool checksum : {false, true}) {
        MemoryShelf m(8 << 20, 0, checksum);
        m.shelf.put("small", bytes_of(100, 1));
        m.shelf.put("large", bytes_of(9000, 1));
        m.shelf.put("grown", bytes_of(9000, 1));
        m.shelf.append("grown", bytes_of(1000, 1));  // has room behind its end
        m.shelf.put("sealed", bytes_of(100, 1));
        m.shelf.seal("sealed");
        const std::uint64_t used = m.shelf.stat().used, id = m.shelf.find("large")->id;
        for (const bool commit : {false, true}) {
            Transaction tx = m.shelf.transaction();
            {
                View large = m.shelf.get("large", Access::write);
                tx.add(large);
                fill(large, 2);
            }
            for (const char* name : {"small", "large", "grown", "fresh"}) {
                if (std::string(name) == "fresh") m.shelf.put(name, bytes_of(10, 1));
                for (int i = 0; i < 40; ++i) {
                    const std::uint64_t size = m.shelf.find(name)->size;
                    const BlobInfo now = m.shelf.append(name, bytes_of(500, 3), {m.shelf.find(name)->id, size});
                    REQUIRE(now.size == size + 500);
                    REQUIRE(m.shelf.get(name).bytes().size() == size + 500);
                }
            }
            CHECK(m.shelf.find("large")->id == id);
            CHECK(all(m.shelf.get("large").bytes().first(9000), 2));
            CHECK(all(m.shelf.get("large").bytes().subspan(9000), 3));
            CHECK_THROWS_AS(m.shelf.append("sealed", bytes_of(1, 1)), ReadOnlyError);
            CHECK_THROWS_AS(m.shelf.append("nothing", bytes_of(1, 1)), NotFoundError);
            CHECK_THROWS_AS(m.shelf.append("large", bytes_of(1, 1), {.id = id + 1000}), NotFoundError);
            std::thread([&] {
                CHECK_THROWS_AS(m.shelf.append("large", bytes_of(1, 1)), BusyError);
                CHECK_THROWS_AS(m.shelf.append("fresh", bytes_of(1, 1)), BusyError);
                CHECK_THROWS_AS(m.shelf.seal("fresh"), BusyError);
                CHECK_THROWS_AS(m.shelf.replace("large", m.shelf.stage(Type::raw(), 10), id, 29'000), BusyError);
            }).join();
            m.shelf.rename("grown", "a name that is longer than the one that its extent header was made for");
            m.shelf.append("a name that is longer than the one that its extent header was made for", bytes_of(500, 3));
            const BlobInfo before = *m.shelf.find("large");
            CHECK_THROWS_AS(m.shelf.replace("large", m.shelf.stage(Type::raw(), 10), id, 1), NotFoundError);
            Staged staged = m.shelf.stage(Type::raw(), 20'000);
            staged.write(0, bytes_of(20'000, 4));
            m.shelf.replace("large", std::move(staged), id, before.size);
            if (!commit) {
                tx.rollback();
                CHECK(m.shelf.stat().used == used);
                CHECK(holds(m.shelf, "large", 1));
                CHECK(m.shelf.get("small").bytes().size() == 100);
                CHECK(m.shelf.get("grown").bytes().size() == 10'000);
                CHECK(m.check() == "");
                continue;
            }
            tx.commit();
            for (int turn = 0; turn < 2; ++turn) {
                CHECK(m.shelf.size() == 5);
                CHECK(m.shelf.find("large")->id == id);
                CHECK(holds(m.shelf, "large", 4));
                CHECK(all(m.shelf.get("small").bytes().first(100), 1));
                CHECK(all(m.shelf.get("small").bytes().subspan(100), 3));
                CHECK(m.shelf.get("small").bytes().size() == 20'100);
                CHECK(m.shelf.get("fresh").bytes().size() == 20'010);
                for (const BlobInfo& blob : m.shelf.list())
                    if (blob.checksum) CHECK(*blob.checksum == crc32c(m.shelf.get(blob.name).bytes().data(), blob.size));
                CHECK(m.check() == "");
                m.shelf.append("fresh", {});
                m.reopen();
            }
            m.shelf.append("fresh", bytes_of(5, 3));
            CHECK(m.shelf.get("fresh").bytes().size() == 20'015);
        }
    }
}

TEST_CASE("transaction: when a blob came to be is as without one") {
    MemoryShelf m(4 << 20);
    m.shelf.put("a", bytes_of(5000, 1));
    m.shelf.put("b", bytes_of(5000, 1));
    const auto a = m.shelf.find("a")->created, b = m.shelf.find("b")->created;
    REQUIRE(a != b);
    Transaction tx = m.shelf.transaction();
    SUBCASE("appended to under another's name") {
        m.shelf.rename("a", "b", true);
        m.shelf.append("b", bytes_of(100, 2));
        CHECK(m.shelf.find("b")->created == a);
    }
    SUBCASE("replaced under another's name") {
        m.shelf.rename("a", "b", true);
        m.shelf.put("b", bytes_of(100, 2));
        CHECK(m.shelf.find("b")->created == a);
    }
    SUBCASE("replaced") {
        m.shelf.put("b", bytes_of(100, 2));
        CHECK(m.shelf.find("b")->created == b);
    }
    SUBCASE("erased, and put anew") {
        m.shelf.erase("b");
        m.shelf.put("b", bytes_of(100, 2));
        CHECK(m.shelf.find("b")->created > b);
    }
    const auto inside = m.shelf.find("b")->created;
    tx.commit();
    CHECK(m.shelf.find("b")->created == inside);
    m.reopen();
    CHECK(m.shelf.find("b")->created == inside);
}

TEST_CASE("transaction: random changes, committed or not, against a map") {
    using Numbers = std::tuple<std::uint8_t, std::uint8_t, std::uint16_t>;
    using Model = std::map<std::string, std::vector<std::byte>>;
    CHECK(rc::check("the shelf is what the map is", [](const std::vector<Numbers>& steps) {
        MemoryShelf m(1 << 20, 8192);
        Model committed, now;
        std::optional<Transaction> tx;
        std::map<std::string, View> views;
        int value = 0;
        const auto compare = [&](const Model& model) {
            RC_ASSERT(m.shelf.size() == model.size());
            auto want = model.begin();
            for (const BlobInfo& info : m.shelf.list()) {
                RC_ASSERT(want != model.end());
                RC_ASSERT(info.name == want->first);
                const View view = m.shelf.get(info.name);
                RC_ASSERT(std::equal(want->second.begin(), want->second.end(), view.bytes().begin(), view.bytes().end()));
                ++want;
            }
            RC_ASSERT(want == model.end());
        };
        const auto end = [&](bool commit) {
            if (commit) tx->commit();
            else tx->rollback();
            tx.reset();
            if (commit) committed = now;
            else now = committed;
        };
        for (const auto& [what, which, much] : steps) {
            const std::string name = "n" + std::to_string(which % 6), to = "n" + std::to_string(much % 6);
            switch (what % 8) {
                case 0: case 1: {
                    static constexpr std::size_t sizes[] = {0, 5, 200, 3000, 4096, 20'000};
                    const auto bytes = bytes_of(sizes[much % 6], ++value);
                    m.shelf.put(name, bytes);
                    now[name] = bytes;
                    break;
                }
                case 2:
                    if (now.erase(name) != 0) m.shelf.erase(name);
                    break;
                case 3:
                    if (now.count(name) != 0 && name != to) {
                        m.shelf.rename(name, to, true);
                        auto node = now.extract(name);
                        now.erase(to);
                        node.key() = to;
                        now.insert(std::move(node));
                    }
                    break;
                case 4:
                    if (now.count(name) != 0 && !now[name].empty()) {
                        View view = m.shelf.get(name, Access::write);
                        const std::size_t at = much % now[name].size(), size = 1 + (much / 3) % (now[name].size() - at);
                        if (tx) tx->add(view, at, size);
                        std::memset(view.writable_bytes().data() + at, ++value, size);
                        std::memset(now[name].data() + at, value, size);
                        if (much % 2 == 0) views.insert_or_assign(name, std::move(view));  // it stays
                    }
                    break;
                case 5: if (!tx) tx = m.shelf.transaction(); break;
                case 6: if (tx) end(much % 2 == 0); break;
                case 7: views.clear(); break;
            }
            if (!tx) committed = now;
            compare(now);
        }
        if (tx) end(steps.size() % 2 == 0);
        compare(now);
        RC_ASSERT(m.check() == "");
        views.clear();
        m.reopen();
        compare(now);
        RC_ASSERT(m.check() == "");
    }));
}
