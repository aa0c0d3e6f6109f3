// Transactions whose end did not come: a repair found some of their journals damaged, or rolling them back failed.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include <pymm/transaction.hpp>

#include "contents.hpp"
#include "memory_shelf.hpp"
#include "shelf/core.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

void overwrite(View& view) {
    const auto bytes = view.writable_bytes();
    std::memset(bytes.data(), 0xee, bytes.size());
}

}  // namespace

TEST_CASE("where a repair has put the first of several journals aside, the others count") {
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
    CheckOptions options;
    options.repair = Repair::all;
    const CheckReport report = check_media({m.map, m.data, nullptr, false, [](const Replaced&) { return ""; }}, options);
    CHECK(report.uncorrected() == 0);
    CHECK(report.lost_found == 1);

    const auto look = [&](const Shelf& shelf) {
        CHECK(shelf.size() == 4);
        CHECK(shelf.stat().blobs == 4);
        CHECK(shelf.list("lost+found/").size() == 1);
        CHECK(text_of(shelf.get("x")) == std::string(5000, '\xee'));  // nobody knows what was there
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

TEST_CASE("a transaction that is dropped and cannot be rolled back ends, and the next open undoes it") {
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
