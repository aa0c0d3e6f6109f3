// The memtable against a plain map: what the tail of the log says, whatever the sizes of its commits.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstring>
#include <map>
#include <string>

#include "catalogue/memtable.hpp"

using namespace pymm;
using namespace pymm::format;

namespace {

constexpr std::uint64_t kCapacity = 8 << 20;

Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

void put(CommitBuilder& builder, std::string_view name, std::string_view value) {
    Entry e{};
    e.flags = kEntryInline;
    e.size = value.size();
    builder.put(e, name, {}, bytes_of(value), true);
}

// Name -> value, or "gone".
std::string said(Bytes encoded) {
    EntryView view;
    std::size_t used = 0;
    REQUIRE(decode_entry(encoded, view, used) == nullptr);
    if (view.tombstone()) return "gone";
    return {reinterpret_cast<const char*>(view.value.data()), view.value.size()};
}

using Model = std::map<std::string, std::string>;

void compare(const Memtable& table, const Model& model) {
    REQUIRE(table.names() == model.size());
    std::size_t bytes = 0;
    for (const auto& [name, value] : model) {
        const Bytes found = table.find(name);
        REQUIRE(!found.empty());
        REQUIRE(said(found) == value);
        bytes += found.size();
    }
    REQUIRE(table.entry_bytes() == bytes);
    const auto sorted = table.sorted();
    auto it = model.begin();
    for (const auto& [name, encoded] : sorted) {
        REQUIRE(name == it->first);
        REQUIRE(said(encoded) == it->second);
        ++it;
    }
    REQUIRE(table.find("no such name").empty());
}

}  // namespace

TEST_CASE("random commits, of a few bytes and of more than a block, and clear() in between") {
    REQUIRE(rc::check([] {
        Memtable table;
        Model model;
        std::uint64_t sequence = 0;
        const int commits = *rc::gen::inRange(1, 30);
        for (int i = 0; i < commits; ++i) {
            CommitBuilder builder;
            const int records = *rc::gen::element(1, 1, 2, 10, 400);
            for (int k = 0; k < records; ++k) {
                const std::string name = "n" + std::to_string(*rc::gen::inRange(0, 200));
                if (*rc::gen::inRange(0, 4) == 0) {
                    builder.erase(name);
                    model[name] = "gone";
                } else {
                    const std::string value(*rc::gen::inRange<std::size_t>(0, 257), static_cast<char>('a' + k % 26));
                    put(builder, name, value);
                    model[name] = value;
                }
            }
            int visited = 0;
            // The table must keep no pointer into what it was given.
            const Bytes built = builder.finish(++sequence, 1, 0);
            std::vector<std::byte> commit(built.begin(), built.end());
            RC_ASSERT(table.apply(commit, kCapacity, false, [&](const Record&) { ++visited; }) == nullptr);
            std::fill(commit.begin(), commit.end(), std::byte{0xff});
            RC_ASSERT(visited == records);
            if (*rc::gen::inRange(0, 5) == 0) {
                compare(table, model);
                table.clear();
                model.clear();
                compare(table, model);
            }
        }
        compare(table, model);
    }));
}

TEST_CASE("a commit larger than a block, first and last") {
    for (const bool first : {true, false}) {
        Memtable table;
        Model model;
        const auto apply = [&](int from, int to) {
            CommitBuilder builder;
            for (int i = from; i < to; ++i) {
                put(builder, "k" + std::to_string(i), "v" + std::to_string(i));
                model["k" + std::to_string(i)] = "v" + std::to_string(i);
            }
            REQUIRE(table.apply(builder.finish(1, 1, 0), kCapacity, false, [](const Record&) {}) == nullptr);
        };
        if (!first) apply(0, 1);
        apply(1, 3000);
        apply(3000, 3010);
        compare(table, model);
        table.clear();
        model.clear();
        apply(0, 5);
        apply(5, 3000);
        compare(table, model);
    }
}

TEST_CASE("space records reach the events, in order") {
    Memtable table;
    CommitBuilder builder;
    builder.alloc({8192, 4096});
    builder.free({8192, 1024});
    builder.alloc({8192, 64});
    REQUIRE(table.apply(builder.finish(1, 1, 0), kCapacity, false, [](const Record&) {}) == nullptr);
    const auto events = table.events().all();
    REQUIRE(events.size() == 3);
    CHECK((events[0].offset == 8192 && events[0].size == 64 && events[0].taken));
    CHECK((events[1].offset == 8256 && events[1].size == 960 && !events[1].taken));
    CHECK((events[2].offset == 9216 && events[2].size == 3072 && events[2].taken));
    CHECK(table.names() == 0);
    table.clear();
    CHECK(table.events().size() == 0);
}

TEST_CASE("a malformed record is reported") {
    CommitBuilder builder;
    builder.alloc({kCapacity, 64});
    Memtable table;
    CHECK(table.apply(builder.finish(1, 1, 0), kCapacity, false, [](const Record&) {}) != nullptr);
}
