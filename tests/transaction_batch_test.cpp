// Batches within transactions: all of one or nothing, as outside of them.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <pymm/transaction.hpp>

#include "contents.hpp"
#include "memory_shelf.hpp"

using namespace pymm;
using namespace pymm::test;

TEST_CASE("a batch in a transaction that meets something sealed half-way changes nothing") {
    MemoryShelf m(4 << 20);
    Contents model;
    for (const char* name : {"a", "b", "sealed"}) m.shelf.put(name, bytes_of(model[name] = filled(5000, name[0])));
    m.shelf.seal("sealed");
    Transaction tx = m.shelf.transaction();
    m.shelf.put("new", bytes_of(model["new"] = filled(5000, 7)));
    const auto refused = [&](auto&& last) {
        {
            Batch batch = m.shelf.batch();
            batch.put("new", bytes_of("other"));
            batch.erase("a");
            batch.rename("sealed", "b");
            last(batch);
            CHECK_THROWS_AS(batch.commit(), ReadOnlyError);
        }
        CHECK(difference(m.shelf, model) == "");
    };
    refused([](Batch& batch) { batch.put("b", bytes_of("once more")); });
    refused([](Batch& batch) { batch.rename("new", "b"); });
    tx.commit();
    CHECK(difference(m.shelf, model) == "");
    m.reopen();
    CHECK(difference(m.shelf, model) == "");
    CHECK(m.check() == "");
}

TEST_CASE("a batch in a transaction that failed can be committed again") {
    MemoryShelf m(4 << 20);
    m.shelf.put("a", bytes_of(filled(5000, 1)));
    Transaction tx = m.shelf.transaction();
    Batch batch = m.shelf.batch();
    batch.put("b", bytes_of(filled(6000, 2)));
    batch.rename("c", "d");
    CHECK_THROWS_AS(batch.commit(), NotFoundError);
    m.shelf.put("c", bytes_of("text"));
    batch.commit();
    tx.commit();
    CHECK(difference(m.shelf, {{"a", filled(5000, 1)}, {"b", filled(6000, 2)}, {"d", "text"}}) == "");
    CHECK(m.check() == "");
}

TEST_CASE("when a blob came to be is in a batch in a transaction as without one") {
    MemoryShelf m(4 << 20);
    m.shelf.put("a", bytes_of(filled(5000, 1)));
    m.shelf.put("b", bytes_of(filled(5000, 2)));
    const auto a = m.shelf.find("a")->created, b = m.shelf.find("b")->created;
    REQUIRE(a != b);
    Transaction tx = m.shelf.transaction();
    Batch batch = m.shelf.batch();
    batch.rename("a", "moved");
    batch.put("moved", bytes_of("text"));
    batch.put("a", bytes_of("text"));
    batch.put("b", bytes_of("text"));
    batch.commit();
    const auto look = [&] {
        CHECK(m.shelf.find("moved")->created == a);
        CHECK(m.shelf.find("b")->created == b);
        CHECK(m.shelf.find("a")->created > b);
    };
    look();
    tx.commit();
    look();
}

TEST_CASE("random batches in transactions, against a map") {
    using Numbers = std::tuple<std::uint8_t, std::uint8_t, std::uint8_t>;
    CHECK(rc::check("each does all that it says, or nothing", [](const std::vector<std::vector<Numbers>>& batches) {
        MemoryShelf m(2 << 20, 8192);
        static constexpr std::size_t sizes[] = {0, 5, 200, 3000, 5000};
        Contents committed, now;
        std::optional<Transaction> tx;
        std::size_t value = 0;
        for (int i = 0; i < 3; ++i) m.shelf.put("n" + std::to_string(i), bytes_of(now["n" + std::to_string(i)] = filled(2000, ++value)));
        committed = now;
        for (const std::vector<Numbers>& ops : batches) {
            if (!tx) tx = m.shelf.transaction();
            Batch batch = m.shelf.batch();
            std::optional<Contents> next = now;  // nothing where the batch is to be refused
            for (const auto& [what, which, much] : ops) {
                const std::string name = "n" + std::to_string(which % 5), to = "n" + std::to_string(much % 5);
                switch (what % 4) {
                    case 0: case 1: {
                        const std::string bytes = filled(sizes[much % 5], ++value);
                        batch.put(name, bytes_of(bytes));
                        if (next) (*next)[name] = bytes;
                        break;
                    }
                    case 2:
                        batch.erase(name);
                        if (next && next->erase(name) == 0) next.reset();
                        break;
                    case 3:
                        batch.rename(name, to);
                        if (next && next->count(name) == 0) next.reset();
                        if (next && name != to) {
                            auto node = next->extract(name);
                            next->erase(to);
                            node.key() = to;
                            next->insert(std::move(node));
                        }
                        break;
                }
            }
            try {
                batch.commit();
                RC_ASSERT(next.has_value());
                now = std::move(*next);
            } catch (const NotFoundError&) {
                RC_ASSERT(!next.has_value());
            }
            RC_ASSERT(difference(m.shelf, now) == "");
            if (ops.size() % 3 == 1) tx->commit(), committed = now, tx.reset();
            else if (ops.size() % 3 == 2) tx->rollback(), now = committed, tx.reset();
            RC_ASSERT(difference(m.shelf, now) == "");
        }
        if (tx) tx->commit(), tx.reset();
        RC_ASSERT(m.check() == "");
        m.reopen();
        RC_ASSERT(difference(m.shelf, now) == "");
        RC_ASSERT(m.check() == "");
    }));
}
