// Space events against an array with one cell per line.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <memory>
#include <vector>

#include "catalogue/space_events.hpp"

using namespace pymm;
using format::kLine;

namespace {

constexpr std::size_t kLines = 200;
enum Cell : std::uint8_t { untouched, taken, given_back };
using Cells = std::vector<Cell>;

struct Change {
    std::size_t begin, size;
    bool taken;
};

std::vector<Change> any_changes(int most) {
    std::vector<Change> changes;
    const int n = *rc::gen::inRange(0, most);
    for (int i = 0; i < n; ++i) {
        const auto begin = *rc::gen::inRange<std::size_t>(0, kLines);
        const auto longest = std::min<std::size_t>(kLines - begin, *rc::gen::element<std::size_t>(1, 8, kLines));
        changes.push_back({begin, *rc::gen::inRange<std::size_t>(1, longest + 1), *rc::gen::arbitrary<bool>()});
    }
    return changes;
}

void apply(EventMap& map, Cells& cells, const std::vector<Change>& changes) {
    for (const Change& c : changes) {
        map.set(c.begin * kLine, c.size * kLine, c.taken);
        std::fill_n(cells.begin() + static_cast<std::ptrdiff_t>(c.begin), c.size, c.taken ? taken : given_back);
    }
}

// Sorted, disjoint, as long as possible; paints what it says.
Cells paint(const std::vector<Event>& events) {
    Cells cells(kLines, untouched);
    for (std::size_t i = 0; i < events.size(); ++i) {
        const Event& e = events[i];
        RC_ASSERT(e.size != 0u);
        if (i > 0) {
            RC_ASSERT(events[i - 1].end() <= e.offset);
            RC_ASSERT(events[i - 1].end() < e.offset || events[i - 1].taken != e.taken);
        }
        for (std::size_t k = e.offset / kLine; k < e.end() / kLine; ++k) cells.at(k) = e.taken ? taken : given_back;
    }
    return cells;
}

std::vector<Event> all_of(EventCursor& cursor) {
    std::vector<Event> events;
    Event e{};
    while (cursor.next(e)) events.push_back(e);
    RC_ASSERT(!cursor.next(e));  // stays at its end
    return events;
}

}  // namespace

TEST_CASE("EventMap: the newest wins, neighbours of a kind are one") {
    REQUIRE(rc::check([] {
        EventMap map;
        Cells cells(kLines, untouched);
        apply(map, cells, any_changes(40));
        RC_ASSERT(paint(map.all()) == cells);
        RC_ASSERT(map.size() == map.all().size());
        const auto begin = *rc::gen::inRange<std::size_t>(0, kLines);
        const auto end = *rc::gen::inRange<std::size_t>(begin + 1, kLines + 1);
        std::vector<Event> expected;
        for (const Event& e : map.all())
            if (e.end() > begin * kLine && e.offset < end * kLine) expected.push_back(e);
        const std::vector<Event> found = map.range(begin * kLine, end * kLine);
        RC_ASSERT(found.size() == expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) RC_ASSERT(found[i].offset == expected[i].offset);
        map.clear();
        RC_ASSERT(map.size() == 0u);
    }));
}

TEST_CASE("EventMerge: several maps as if their changes had come one after the other") {
    REQUIRE(rc::check([] {
        const int sources = *rc::gen::inRange(0, 6);
        const bool drop_free = *rc::gen::arbitrary<bool>();
        const auto begin = *rc::gen::inRange<std::size_t>(0, kLines);
        Cells cells(kLines, untouched);
        std::vector<EventMap> maps(static_cast<std::size_t>(sources));
        std::vector<std::unique_ptr<EventCursor>> whole, from;
        for (EventMap& map : maps) {
            apply(map, cells, any_changes(15));
            whole.push_back(std::make_unique<VectorEventCursor>(map.all()));
            from.push_back(std::make_unique<VectorEventCursor>(map.range(begin * kLine, UINT64_MAX)));
        }
        EventMerge merge(std::move(whole), drop_free);
        const std::vector<Event> events = all_of(merge);
        Cells expected = cells;
        if (drop_free) std::replace(expected.begin(), expected.end(), given_back, untouched);
        RC_ASSERT(paint(events) == expected);

        // Streams that start at the first event that overlaps `begin`: right from there on.
        EventMerge later(std::move(from), false);
        const Cells tail = paint(all_of(later));
        for (std::size_t i = begin; i < kLines; ++i) RC_ASSERT(tail[i] == cells[i]);
    }));
}

TEST_CASE("merging what was merged changes nothing") {
    REQUIRE(rc::check([] {
        EventMap a, b, c;
        Cells cells(kLines, untouched);
        apply(a, cells, any_changes(15));
        apply(b, cells, any_changes(15));
        apply(c, cells, any_changes(15));
        std::vector<std::unique_ptr<EventCursor>> newer;
        newer.push_back(std::make_unique<VectorEventCursor>(b.all()));
        newer.push_back(std::make_unique<VectorEventCursor>(c.all()));
        EventMerge young(std::move(newer), false);
        std::vector<std::unique_ptr<EventCursor>> sources;
        sources.push_back(std::make_unique<VectorEventCursor>(a.all()));
        sources.push_back(std::make_unique<VectorEventCursor>(all_of(young)));
        EventMerge all(std::move(sources), false);
        RC_ASSERT(paint(all_of(all)) == cells);
    }));
}
