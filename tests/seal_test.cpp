// Content checksums: sealing, recording at every put, and their end before anybody may store to the data.
#include <doctest/doctest.h>
#include <unistd.h>

#include <pymm/pymm.hpp>

#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "format/crc32c.hpp"
#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
std::string pattern(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
}
std::uint32_t sum(std::string_view text) { return crc32c(text.data(), text.size()); }
std::string text_of(const View& view) {
    return {reinterpret_cast<const char*>(view.bytes().data()), view.bytes().size()};
}

/// The checksum that the shelf records, which must be that of the bytes it gives.
std::optional<std::uint32_t> checked_sum(const Shelf& s, std::string_view name) {
    const View view = s.get(name);
    if (view.info().checksum) CHECK(*view.info().checksum == sum(text_of(view)));
    CHECK(s.find(name)->checksum == view.info().checksum);
    return view.info().checksum;
}

/// What an error says, for the words that help.
template <class E, class F>
std::string message(F&& work) {
    try {
        work();
    } catch (const E& error) {
        return error.what();
    }
    FAIL("no error");
    return {};
}

struct Case {
    const char* name;
    std::string bytes;
    Type type;
};
// Inline, beside its header, in pages of its own, of the kind that goes through several pieces.
std::vector<Case> cases() {
    return {{"empty", "", Type::raw()},
            {"inline", "some text", Type::value(Kind::string)},
            {"small", pattern(777, 1), Type::raw()},
            {"pages", pattern(70000, 2), Type::raw()},
            {"array", pattern(800, 3), Type::array("<f8", 8, {100})},
            {"large", pattern((9 << 20) + 5, 4), Type::raw()}};
}

}  // namespace

TEST_CASE("seal: recorded, durable, kept by a rename, ended by erase") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    for (const bool checksum : {false, true}) {
        CAPTURE(checksum);
        {
            Shelf s = ns.create("s", {.capacity = 64 << 20, .force = true, .checksum = checksum});
            CHECK(s.stat().checksum == checksum);
            for (const Case& c : cases()) {
                s.put(c.name, bytes_of(c.bytes), c.type);
                const BlobInfo before = *s.find(c.name);
                CHECK_FALSE(before.sealed);
                CHECK(before.checksum.has_value() == checksum);
                const std::uint64_t used = s.stat().used;
                s.seal(c.name);
                const BlobInfo after = *s.find(c.name);
                CHECK(after.sealed);
                CHECK(after.checksum == sum(c.bytes));
                // The same version in the same place.
                CHECK(after.id == before.id);
                CHECK(after.sequence == before.sequence);
                CHECK(after.offset == before.offset);
                CHECK(after.extent == before.extent);
                CHECK(after.modified == before.modified);
                CHECK(s.stat().used == used);
                const std::uint64_t commits = s.stat().sequence;
                s.seal(c.name);
                CHECK(s.stat().sequence == commits);  // nothing to do
            }
            s.rename("pages", "other/pages");
        }
        Shelf s = ns.shelf("s");
        CHECK(s.stat().checksum == checksum);
        s.rename("other/pages", "pages");
        for (const Case& c : cases()) {
            CAPTURE(c.name);
            CHECK(s.find(c.name)->sealed);
            CHECK(checked_sum(s, c.name) == sum(c.bytes));
            CHECK(text_of(s.get(c.name)) == c.bytes);
            CHECK(message<ReadOnlyError>([&] { (void)s.get(c.name, Access::write); }).find("sealed") !=
                  std::string::npos);
            CHECK(message<ReadOnlyError>([&] { s.put(c.name, bytes_of("x")); }).find("erase it first") !=
                  std::string::npos);
            CHECK_THROWS_AS(s.put(c.name, bytes_of("x"), Type::value(Kind::string)), ReadOnlyError);
            CHECK_THROWS_AS(s.put(c.name, bytes_of(pattern(2 << 20, 5))), ReadOnlyError);
            s.put("free", bytes_of("y"));
            CHECK_THROWS_AS(s.rename("free", c.name, true), ReadOnlyError);
            CHECK_THROWS_AS(s.rename("free", c.name), ExistsError);
            {
                Batch batch = s.batch();
                batch.put("free", bytes_of("z"));
                batch.rename("free", c.name);
                CHECK_THROWS_AS(batch.commit(), ReadOnlyError);
            }
            CHECK(text_of(s.get("free")) == "y");  // the batch did nothing
            CHECK(text_of(s.get(c.name)) == c.bytes);
            if (std::string_view(c.name) == "small") {
                // Within a batch, too: erased first, then the name is free.
                Batch batch = s.batch();
                batch.erase(c.name);
                batch.put(c.name, bytes_of("new"));
                batch.commit();
            } else {
                s.erase(c.name);
                s.put(c.name, bytes_of("new"));
            }
            CHECK_FALSE(s.find(c.name)->sealed);
            CHECK(text_of(s.get(c.name)) == "new");
            s.get(c.name, Access::write).writable_bytes()[0] = std::byte{'N'};
        }
    }
}

TEST_CASE("seal: not while a writable view lives, and none afterwards") {
    const Scratch scratch;
    Shelf s = Namespace::open(scratch.path()).create("s", {.capacity = 8 << 20});
    const std::string old = pattern(5000, 1);
    s.put("x", bytes_of(old));
    const View reading = s.get("x");
    {
        View writing = s.get("x", Access::write);
        CHECK(message<PinnedError>([&] { s.seal("x"); }).find("writable view") != std::string::npos);
        CHECK_FALSE(s.find("x")->sealed);
        writing.writable_bytes()[4999] = std::byte{7};  // not persisted: the seal has to
    }
    s.seal("x");
    CHECK(checked_sum(s, "x").has_value());
    CHECK(reading.bytes()[4999] == std::byte{7});
    CHECK_THROWS_AS(s.get("x", Access::write), ReadOnlyError);
    CHECK_THROWS_AS(s.seal("y"), NotFoundError);
    CHECK_THROWS_AS(s.seal("../y"), InvalidArgumentError);
    // A view of what bore the name before is no view of this one.
    s.put("z", bytes_of(old));
    View stale = s.get("z", Access::write);
    s.put("z", bytes_of(old));
    s.seal("z");
    stale.writable_bytes()[0] = std::byte{1};
    CHECK(checked_sum(s, "z") == sum(old));
    Shelf copy = s;
    copy.close();
    CHECK_THROWS_AS(s.seal("x"), ClosedError);
    Shelf reader = Namespace::open(scratch.path()).shelf("s", Mode::read_only);
    CHECK_THROWS_AS(reader.seal("x"), ReadOnlyError);
    CHECK(reader.find("x")->sealed);
}

TEST_CASE("checksums at every put, whichever way the bytes come") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 64 << 20, .checksum = true});
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        s.put(c.name, bytes_of(c.bytes), c.type);
        CHECK(checked_sum(s, c.name) == sum(c.bytes));
        for (const bool in_memory : {false, true}) {
            Staged staged = s.stage(c.type, c.bytes.size());
            if (in_memory) {
                if (!c.bytes.empty()) std::memcpy(staged.memory().data(), c.bytes.data(), c.bytes.size());
            } else {
                const std::size_t half = c.bytes.size() / 2;
                staged.write(half, bytes_of(c.bytes).subspan(half));
                staged.write(0, bytes_of(c.bytes).first(half));
            }
            s.put(std::string(c.name) + "/staged", std::move(staged));
            CHECK(checked_sum(s, std::string(c.name) + "/staged") == sum(c.bytes));
        }
        Batch batch = s.batch();
        batch.put(std::string(c.name) + "/batch", bytes_of(c.bytes), c.type);
        batch.rename(std::string(c.name) + "/staged", "renamed");
        batch.commit();
        CHECK(checked_sum(s, std::string(c.name) + "/batch") == sum(c.bytes));
        CHECK(checked_sum(s, "renamed") == sum(c.bytes));
    }
    // Of a long descriptor, which is in the extent header.
    std::string fields = "[";
    for (int i = 0; i < 60; ++i) fields += "('field_number_" + std::to_string(i) + "', '|u1'), ";
    s.put("wide", bytes_of(pattern(60, 9)), Type::array(fields + "]", 60, {1}));
    const BlobInfo wide = *s.find("wide");
    CHECK(checked_sum(s, "wide") == sum(pattern(60, 9)));
    s.seal("wide");
    CHECK(s.find("wide")->type == wide.type);
}

TEST_CASE("checksums end before a writable view is handed out, and stay away") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    {
        Shelf s = ns.create("s", {.capacity = 16 << 20, .checksum = true});
        for (const char* name : {"x", "y", "z"}) s.put(name, bytes_of(pattern(9000, 1)));
        const BlobInfo before = *s.find("x");
        const std::uint64_t commits = s.stat().sequence;
        const View reading = s.get("x");
        CHECK(s.stat().sequence == commits);  // reading costs nothing
        View writing = s.get("x", Access::write);
        CHECK(s.stat().sequence == commits + 1);
        CHECK_FALSE(writing.info().checksum);
        CHECK(s.find("x")->checksum == std::nullopt);
        CHECK(s.find("x")->sequence == before.sequence);
        CHECK(s.find("x")->offset == before.offset);
        (void)s.get("x", Access::write);
        CHECK(s.stat().sequence == commits + 1);  // once is enough
        writing.writable_bytes()[5] = std::byte{1};
        s.rename("x", "x2");
        CHECK(s.find("x2")->checksum == std::nullopt);
        (void)s.get("y", Access::write);
        s.put("y", bytes_of(pattern(9000, 2)));
        CHECK(checked_sum(s, "y") == sum(pattern(9000, 2)));
        // Refused access changes nothing.
        const std::string text(300, 'a');
        s.put("text", bytes_of(text), Type::value(Kind::string));
        CHECK_THROWS_AS(s.get("text", Access::write), InvalidArgumentError);
        CHECK(checked_sum(s, "text") == sum(text));
    }
    // Another session, and another process' eyes.
    const Shelf reader = ns.shelf("s", Mode::read_only);
    CHECK(reader.find("x2")->checksum == std::nullopt);
    CHECK(checked_sum(reader, "y").has_value());
    CHECK(checked_sum(reader, "z").has_value());
    Shelf s = ns.shelf("s");
    // The session's first commit is this one; a reader that has the old state catches up.
    View writing = s.get("z", Access::write);
    CHECK(reader.find("z")->checksum == std::nullopt);
    writing.writable_bytes()[0] = std::byte{9};
    s.persist();
    writing = {};
    s.seal("z");
    CHECK(checked_sum(reader, "z").has_value());
    CHECK(reader.find("z")->sealed);
}

TEST_CASE("seal and write access on a full shelf: done, or refused, and erasing always works") {
    const Scratch scratch;
    Shelf s = Namespace::open(scratch.path()).create("s", {.capacity = 1 << 20, .log_size = 4096, .checksum = true});
    int n = 0;
    try {
        for (;; ++n) s.put("blob" + std::to_string(n), bytes_of(pattern(4096, 1)));
    } catch (const NoSpaceError&) {
    }
    REQUIRE(n > 50);
    int refused = 0;
    const auto mark = [&](int i) {
        const std::string name = "blob" + std::to_string(i);
        try {
            if (i % 2 == 0) s.seal(name);
            else (void)s.get(name, Access::write);
        } catch (const NoSpaceError&) {
            ++refused;
            CHECK(checked_sum(s, name).has_value());
            CHECK_FALSE(s.find(name)->sealed);
            return;
        }
        CHECK(s.find(name)->sealed == (i % 2 == 0));
        CHECK(checked_sum(s, name).has_value() == (i % 2 == 0));
    };
    for (int i = 0; i < n; ++i) mark(i);
    for (int i = 0; i < n / 4; ++i) s.erase("blob" + std::to_string(i));
    refused = 0;
    for (int i = n / 4; i < n; ++i) mark(i);
    CHECK(refused == 0);
}

TEST_CASE("seal and writable views from several threads: a checksum is right or absent") {
    const Scratch scratch;
    Shelf s = Namespace::open(scratch.path()).create("s", {.capacity = 64 << 20, .checksum = true});
    std::atomic<int> sealed{0};
    for (int round = 0; round < 60; ++round) {
        const std::string name = "x" + std::to_string(round);
        s.put(name, bytes_of(pattern(300000, static_cast<unsigned>(round))));
        std::atomic<bool> start{false};
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t)
            threads.emplace_back([&, t] {
                while (!start) std::this_thread::yield();
                for (int i = 0; i < 20; ++i) {
                    try {
                        if (t == 0) {
                            s.seal(name);
                            ++sealed;
                            return;
                        }
                        View view = s.get(name, Access::write);
                        for (std::size_t at = static_cast<std::size_t>(t); at < 300000; at += 4096)
                            std::atomic_ref(view.writable_bytes()[at]) = static_cast<std::byte>(i);
                    } catch (const PinnedError&) {
                        std::this_thread::yield();
                    } catch (const ReadOnlyError&) {
                        std::this_thread::yield();
                    }
                }
            });
        start = true;
        for (std::thread& thread : threads) thread.join();
        const BlobInfo info = *s.find(name);
        CHECK(checked_sum(s, name).has_value() == info.sealed);
    }
    // Both orders have to come up for this to mean anything; all threads get there in 60 rounds.
    CHECK(sealed > 0);
}

TEST_CASE("checksums: the source of a put vanishes") {
    const Scratch scratch;
    Shelf s = Namespace::open(scratch.path()).create("s", {.capacity = 32 << 20, .checksum = true});
    Shelf other = Namespace::open(scratch.path()).create("other", {.capacity = 16 << 20});
    for (const std::size_t size : {std::size_t{3000}, std::size_t{8} << 20}) {
        CAPTURE(size);
        s.put("x", bytes_of("old"));
        other.put("source", bytes_of(pattern(size, 1)));
        const View source = other.get("source");
        REQUIRE(::truncate((scratch.path() + "/other.data").c_str(), 4096) == 0);
        CHECK_THROWS_AS(s.put("x", source.bytes()), IoError);
        REQUIRE(::truncate((scratch.path() + "/other.data").c_str(), 16 << 20) == 0);
        CHECK(text_of(s.get("x")) == "old");
        s.put("x", bytes_of("new"));  // the shelf is sound
    }
}
