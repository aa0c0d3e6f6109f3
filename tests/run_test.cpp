// Sorted runs: what was written is found again, in place; what is damaged is never believed.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>

#include "catalogue/filter.hpp"
#include "catalogue/run.hpp"
#include "format/crc32c.hpp"
#include "memory_media.hpp"

using namespace pymm;
using namespace pymm::format;
using pymm::test::MemoryMedia;

namespace {

constexpr std::uint64_t kSize = 64 << 20;
constexpr std::uint64_t kOffset = 8 * kPage;
constexpr Uuid kUuid{1, 2, 3};

using Names = std::map<std::string, std::string>;  // name -> value, "gone" for a tombstone

struct Built {
    MemoryMedia media{"run", kSize};
    RunRef ref{};
    std::uint64_t bound = 0;
};

std::vector<std::byte> encode(const std::string& name, const std::string& value) {
    Entry e{};
    const bool gone = value == "gone";
    e.flags = gone ? kEntryTombstone : kEntryInline;
    const std::string_view v = gone ? std::string_view{} : value;
    e.size = v.size();
    std::vector<std::byte> out(encoded_entry_size(name.size(), 0, v.size()));
    encode_entry(e, name, {}, std::as_bytes(std::span(v)), out.data());
    return out;
}

void build(Built& b, const Names& names, const std::vector<Event>& events, std::uint64_t slack = 0) {
    RunWriter::Bound bound;
    bound.names = names.size() + slack;
    bound.events = events.size();
    for (const auto& [name, value] : names) {
        const std::size_t bytes = encode(name, value).size();
        bound.bytes += bytes;
        bound.max_entry = std::max<std::uint64_t>(bound.max_entry, bytes);
        bound.max_name = std::max<std::uint64_t>(bound.max_name, name.size());
    }
    b.bound = RunWriter::pages_bound(bound);
    // What lies there before must not matter, and what lies behind must stay.
    std::memset(b.media.data(), 0xa5, kOffset + (b.bound + 4) * kPage);
    RunWriter writer(b.media, kOffset, b.bound, kUuid, 42, names.size() + slack);
    for (const auto& [name, value] : names) writer.add(name, encode(name, value));
    for (const Event& e : events) writer.add_event(e);
    b.ref = writer.finish(3, 17);
    if (slack != 0) return;
    RunSizer sizer;
    for (const auto& [name, value] : names) sizer.add(name.size(), encode(name, value).size());
    for (std::size_t i = 0; i < events.size(); ++i) sizer.add_event();
    if (sizer.pages() * kPage != b.ref.size)
        throw std::logic_error("the sizer says " + std::to_string(sizer.pages()) + " pages, the run has " +
                               std::to_string(b.ref.size / kPage));
}

std::string value_of(const EntryView& e) {
    if (e.tombstone()) return "gone";
    return {reinterpret_cast<const char*>(e.value.data()), e.value.size()};
}

Names walk(const Run& run, std::string_view from = {}) {
    Names all;
    for (Run::Cursor c(run, from); c.valid(); c.next()) {
        EntryView e;
        std::size_t used = 0;
        if (const char* problem = decode_entry(c.encoded(), e, used)) throw CorruptError(problem);
        if (used != c.encoded().size() || e.name != c.name())
            throw std::logic_error("a cursor shows another entry than lies there");
        run.check(e);
        all.emplace_hint(all.end(), e.name, value_of(e));
    }
    return all;
}

std::vector<Event> events_of(const Run& run, std::uint64_t begin = 0) {
    std::vector<Event> all;
    const auto cursor = run.events(begin);
    Event e{};
    while (cursor->next(e)) all.push_back(e);
    return all;
}

bool same(const std::vector<Event>& a, const std::vector<Event>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Event& x, const Event& y) {
        return x.offset == y.offset && x.size == y.size && x.taken == y.taken;
    });
}

std::vector<Event> some_events(std::size_t n) {
    std::vector<Event> events;
    std::uint64_t at = kPage;
    for (std::size_t i = 0; i < n; ++i) {
        events.push_back({at, kLine * (1 + i % 5), i % 3 != 0});
        at = events.back().end() + kLine * (i % 4);
    }
    return events;
}

std::string any_name() {
    // Shared beginnings make index pages work; lengths up to the longest make them deep.
    std::string name = *rc::gen::element<std::string>("", "a/", "model/layer", std::string(900, 'p') + "/");
    const auto more = *rc::gen::inRange<std::size_t>(1, *rc::gen::element<std::size_t>(4, 20, 120));
    for (std::size_t i = 0; i < more; ++i) name += static_cast<char>('a' + *rc::gen::inRange(0, 26));
    return name;
}

Names long_names(int n) {
    Names names;
    for (int i = 0; i < n; ++i) {
        std::string name(1024, static_cast<char>('a' + i % 26));
        name.replace(0, 6, "n" + std::to_string(10000 + i * 7));
        names[name] = "v" + std::to_string(i);
    }
    return names;
}

void seal(std::byte* page) {
    const std::uint32_t zero = 0;
    std::memcpy(page + offsetof(PageHeader, crc), &zero, 4);
    const std::uint32_t crc = crc32c(page, kPage);
    std::memcpy(page + offsetof(PageHeader, crc), &crc, 4);
}

}  // namespace

TEST_CASE("random names and events: all found, nothing else, cursors from anywhere") {
    REQUIRE(rc::check([] {
        Built b;
        Names names;
        const int n = *rc::gen::element(0, 1, 2, 30, 200);
        for (int i = 0; i < n; ++i)
            names[any_name()] =
                *rc::gen::inRange(0, 8) == 0 ? "gone" : std::string(*rc::gen::inRange<std::size_t>(0, 257), 'v');
        const std::vector<Event> events = some_events(*rc::gen::element<std::size_t>(0, 1, 253, 254, 255, 900));
        build(b, names, events, *rc::gen::element<std::uint64_t>(0, 5000));
        RC_ASSERT(b.ref.offset == kOffset);
        RC_ASSERT(b.ref.run_id == 42u);
        RC_ASSERT(b.ref.level == 3u);
        RC_ASSERT(b.ref.sequence == 17u);
        RC_ASSERT(b.ref.entries == names.size());

        const Run run(b.media, b.ref, kUuid);
        RC_ASSERT(run.header().events == events.size());
        RC_ASSERT(walk(run) == names);
        for (const auto& [name, value] : names) {
            EntryView e;
            RC_ASSERT(run.find(name, name_hash(name), e));
            RC_ASSERT(e.name == name);
            RC_ASSERT(value_of(e) == value);
        }
        for (int i = 0; i < 50; ++i) {
            const std::string name = any_name();
            EntryView e;
            RC_ASSERT(run.find(name, name_hash(name), e) == names.contains(name));
            RC_ASSERT(walk(run, name) == Names(names.lower_bound(name), names.end()));
        }
        RC_ASSERT(same(events_of(run), events));
        for (int i = 0; i < 20; ++i) {
            const std::uint64_t begin = kLine * *rc::gen::inRange<std::uint64_t>(0, 5000);
            std::vector<Event> expected;
            for (const Event& e : events)
                if (e.end() > begin) expected.push_back(e);
            RC_ASSERT(same(events_of(run, begin), expected));
        }
    }));
}

TEST_CASE("names of the greatest length: several levels of index") {
    Built b;
    const Names names = long_names(200);
    build(b, names, some_events(3));
    CHECK(b.ref.size / kPage <= b.bound);
    const Run run(b.media, b.ref, kUuid);
    CHECK(run.header().index_depth >= 3);
    CHECK(walk(run) == names);
    for (const auto& [name, value] : names) {
        EntryView e;
        REQUIRE(run.find(name, name_hash(name), e));
        REQUIRE(value_of(e) == value);
        std::string other = name;
        other.back() = '!';
        REQUIRE(!run.find(other, name_hash(other), e));
        REQUIRE(walk(run, other).size() == walk(run, name).size());
    }
    CHECK(walk(run, std::string(1024, 'z')).empty());
    CHECK(walk(run, "").size() == 200);
}

TEST_CASE("the pages that were promised are enough, whatever the sizes of entries") {
    REQUIRE(rc::check([] {
        Built b;
        Names names;
        const int n = *rc::gen::inRange(1, 400);
        const int bias = *rc::gen::inRange(0, 3);
        for (int i = 0; i < n; ++i) {
            const bool large = bias == 0 ? i % 2 == 0 : bias == 1 ? i % 3 != 0 : *rc::gen::arbitrary<bool>();
            std::string name = std::to_string(100000 + i);
            name.resize(large ? 1024 : 6, 'x');
            names[name] = std::string(large ? 256 : 0, 'v');
        }
        const std::vector<Event> events = some_events(*rc::gen::inRange<std::size_t>(0, 600));
        build(b, names, events);
        RC_ASSERT(b.ref.size / kPage <= b.bound);
        for (std::uint64_t i = b.bound * kPage; i < (b.bound + 4) * kPage; ++i)
            RC_ASSERT(b.media.data()[kOffset + i] == std::byte{0xa5});
        RC_ASSERT(walk(Run(b.media, b.ref, kUuid)) == names);
    }));
}

TEST_CASE("every changed byte is found out, or changes nothing") {
    Built b;
    Names names = long_names(14);
    for (int i = 0; i < 30; ++i) names["s" + std::to_string(i)] = i % 4 == 0 ? "gone" : "value";
    const std::vector<Event> events = some_events(300);
    build(b, names, events);
    int found = 0;
    for (std::uint64_t i = 0; i < b.ref.size; ++i) {
        std::byte& at = b.media.data()[kOffset + i];
        const std::byte was = at;
        at ^= static_cast<std::byte>(1u << (i % 8));
        try {
            const Run run(b.media, b.ref, kUuid);
            const bool right = walk(run) == names && same(events_of(run), events);
            bool finds = true;
            for (const auto& [name, value] : names) {
                EntryView e;
                finds = finds && run.find(name, name_hash(name), e) && value_of(e) == value;
            }
            if (!right || !finds) FAIL("byte " << i << " changed the answer");
        } catch (const CorruptError&) {
            ++found;
        }
        at = was;
    }
    CHECK(found == static_cast<int>(b.ref.size));  // each page is looked at by one of the three
}

TEST_CASE("pages out of place, runs of another shelf, and references that lie") {
    Built b;
    const Names names = long_names(20);
    build(b, names, some_events(300));
    const auto all = [&](const RunRef& ref, const Uuid& uuid = kUuid) {
        const Run run(b.media, ref, uuid);
        (void)walk(run);
        (void)events_of(run);
    };
    CHECK_NOTHROW(all(b.ref));
    CHECK_THROWS_AS(all(b.ref, Uuid{}), CorruptError);
    RunRef ref = b.ref;
    ref.run_id = 43;
    CHECK_THROWS_AS(all(ref), CorruptError);
    ref = b.ref;
    ref.entries += 1;
    CHECK_THROWS_AS(all(ref), CorruptError);
    ref = b.ref;
    ref.size -= kPage;
    CHECK_THROWS_AS(all(ref), CorruptError);
    ref.size = 0;
    CHECK_THROWS_AS(all(ref), CorruptError);
    ref = b.ref;
    ref.offset = kSize - kPage;
    CHECK_THROWS_AS(all(ref), CorruptError);
    ref.offset = ~std::uint64_t{kPage - 1};
    CHECK_THROWS_AS(all(ref), CorruptError);
    // Two leaves swapped: each is sound, but not at its place.
    std::byte* run = b.media.data() + kOffset;
    std::swap_ranges(run + kPage, run + 2 * kPage, run + 2 * kPage);
    CHECK_THROWS_AS(all(b.ref), CorruptError);
}

TEST_CASE("hostile pages with right checksums stay inside the run") {
    Built b;
    Names names = long_names(14);
    for (int i = 0; i < 30; ++i) names["s" + std::to_string(i)] = "value";
    build(b, names, some_events(300));
    std::vector<std::byte> good(b.media.data() + kOffset, b.media.data() + kOffset + b.ref.size);
    int refused = 0, accepted = 0;
    REQUIRE(rc::check([&] {
        std::byte* run = b.media.data() + kOffset;
        std::memcpy(run, good.data(), good.size());
        const int changes = *rc::gen::inRange(1, 6);
        for (int i = 0; i < changes; ++i) {
            std::byte* page = run + kPage * *rc::gen::inRange<std::uint64_t>(0, b.ref.size / kPage);
            // Where numbers are: header, run header and first item, or slots.
            const auto at = *rc::gen::arbitrary<bool>() ? *rc::gen::inRange<std::size_t>(0, 160)
                                                       : *rc::gen::inRange<std::size_t>(kPage - 40, kPage);
            page[at] = std::byte{*rc::gen::arbitrary<std::uint8_t>()};
            seal(page);
        }
        try {
            const Run r(b.media, b.ref, kUuid);
            (void)events_of(r);
            for (const auto& [name, value] : names) {
                EntryView e;
                (void)r.find(name, name_hash(name), e);
            }
            (void)walk(r);
            ++accepted;
        } catch (const CorruptError&) {
            ++refused;
        }
    }));
    CHECK(refused > 0);
    CHECK(accepted > 0);
}
