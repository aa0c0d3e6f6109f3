// Readers beside writers, and views that outlive what they look at.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pymm/pymm.hpp>

#include "namespace/directory.hpp"
#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

bool all_are(const View& view, char c) {
    return std::all_of(view.bytes().begin(), view.bytes().end(), [c](std::byte b) { return b == std::byte(c); });
}

const Type small = Type::value(Kind::bytes);

}  // namespace

TEST_CASE("what a reader looks at is not reused, not even by the writers of later sessions") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf writer = ns.create("s", {.capacity = 2 << 20});
    writer.put("x", bytes_of(std::string(100000, 'x')));
    const Shelf reader = ns.shelf("s", Mode::read_only);
    const View view = reader.get("x");
    writer.erase("x");
    for (int session = 0; session < 4; ++session) {
        writer.close();
        writer = ns.shelf("s");
        int n = 0;
        try {
            for (;; ++n) writer.put("fill" + std::to_string(n), bytes_of(std::string(50000, 'f')));
        } catch (const NoSpaceError&) {
        }
        CHECK(n > 5);
        CHECK(all_are(view, 'x'));
        for (int i = 0; i < n; ++i) writer.erase("fill" + std::to_string(i));
    }
}

TEST_CASE("a read-only view that outlives its shelf keeps its bytes from the next writer") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf first = ns.create("s", {.capacity = 2 << 20});
    first.put("x", bytes_of(std::string(300000, 'x')));
    const View view = first.get("x");
    first.erase("x");
    first.close();
    // Closed, and no writable view: the lock is free, and this is another open shelf.
    Shelf second = ns.shelf("s");
    CHECK(second.identity() != first.identity());
    for (int i = 0; i < 60; ++i) second.put("y", bytes_of(std::string(300000, static_cast<char>('a' + i % 20))));
    CHECK(all_are(view, 'x'));
}

TEST_CASE("an idle reader costs the writer nothing but what it looks at") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf writer = ns.create("s", {.capacity = 4 << 20, .log_size = 4096});
    writer.put("x", bytes_of("1"), small);
    const Shelf reader = ns.shelf("s", Mode::read_only);
    CHECK(reader.size() == 1);
    for (int i = 0; i < 20000; ++i) writer.put("x", bytes_of(std::string(100, 'v')), small);
    writer.put("large", bytes_of(std::string(2 << 20, 'l')));
    CHECK(reader.size() == 2);
    CHECK(reader.get("x").bytes().size() == 100);
}

TEST_CASE("a batch larger than the log leaves a viewed blob that it erases alone") {
    for (const std::size_t size : {100000, 700000, 1200000}) {
        Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        {
            Shelf s = ns.create("s", {.capacity = 4 << 20, .log_size = 4096});
            s.put("v", bytes_of(std::string(size, 'v')));
        }
        Shelf s = ns.shelf("s");
        std::optional<View> view = s.get("v");
        Batch batch = s.batch();
        batch.erase("v");
        for (int i = 0; i < 100; ++i) batch.put("k" + std::to_string(i), bytes_of(std::string(100, 'k')), small);
        batch.commit();
        int n = 0;
        try {
            for (;; ++n) s.put("fill" + std::to_string(n), bytes_of(std::string(20000, 'f')));
        } catch (const NoSpaceError&) {
        }
        CHECK(all_are(*view, 'v'));
        view.reset();
        for (int i = 0; i < n; ++i) s.erase("fill" + std::to_string(i));
        // All of it is back.
        s.put("v", bytes_of(std::string(size, 'w')));
        CHECK(all_are(s.get("v"), 'w'));
    }
}

TEST_CASE("empty values with a long type description get an extent of their own") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("s", {.capacity = 2 << 20});
    std::string dtype = "[";
    for (int i = 0; i < 80; ++i) dtype += "('field" + std::to_string(i) + "', '<f8'), ";
    dtype += "]";
    const Type type = Type::array(dtype, 640, {0});
    s.put("a", std::span<const std::byte>(), type);
    s.put("b", s.stage(type, 0));
    s.put("c", bytes_of(std::string(640, 'c')), Type::array(dtype, 640, {1}));
    const Shelf reader = ns.shelf("s", Mode::read_only);
    for (const char* name : {"a", "b", "c"}) {
        CHECK(s.get(name, Access::write).type().dtype == dtype);
        CHECK(reader.get(name).type().dtype == dtype);
    }
    CHECK(s.get("a").bytes().empty());
    CHECK(s.get("c").bytes().size() == 640);
}

namespace {

/// What is marked, seen from outside.
class WatchedLease final : public Lease {
public:
    WatchedLease(std::unique_ptr<Lease> lease, std::vector<Mark>& marks, std::vector<Mark>& past)
        : lease_(std::move(lease)), marks_(marks), past_(past) {}
    bool try_acquire_writer() override { return lease_->try_acquire_writer(); }
    void release_writer() noexcept override { lease_->release_writer(); }
    bool writer_alive() override { return lease_->writer_alive(); }
    void mark_extent(std::uint64_t offset, std::uint64_t size) override {
        lease_->mark_extent(offset, size);
        marks_.push_back({offset, size});
    }
    void unmark_extent(std::uint64_t offset, std::uint64_t size) noexcept override {
        lease_->unmark_extent(offset, size);
        const auto mark = std::find_if(marks_.begin(), marks_.end(),
                                       [&](const Mark& m) { return m.offset == offset && m.size == size; });
        if (mark != marks_.end()) {
            past_.push_back(*mark);
            marks_.erase(mark);
        }
    }
    bool extent_marked(std::uint64_t offset, std::uint64_t size) override { return lease_->extent_marked(offset, size); }
    void detach_in_child() noexcept override { lease_->detach_in_child(); }

private:
    std::unique_ptr<Lease> lease_;
    std::vector<Mark>& marks_;
    std::vector<Mark>& past_;
};

}  // namespace

TEST_CASE("a reader marks what it reads of a blob: the header while it reads the type there, the data with the view") {
    const Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf writer = ns.create("s", {.capacity = 2 << 20});
    std::string dtype = "[";
    for (int i = 0; i < 80; ++i) dtype += "('field" + std::to_string(i) + "', '<f8'), ";
    dtype += "]";
    writer.put("empty", std::span<const std::byte>(), Type::array(dtype, 640, {0}));
    writer.put("large", bytes_of(std::string(6400, 'c')), Type::array(dtype, 640, {10}));
    writer.put("plain", bytes_of(std::string(6400, 'c')));
    std::vector<Lease::Mark> marks, past;
    ShelfParts parts = Directory(scratch.path()).open("s", {.mode = Mode::read_only}).parts;
    parts.lease = std::make_unique<WatchedLease>(std::move(parts.lease), marks, past);
    const auto core = ShelfCore::open(std::move(parts), Mode::read_only);
    const Shelf reader = ShelfCore::handle(core);
    CHECK(reader.size() == 3);  // what marks its root names are set
    const std::size_t before = marks.size();
    for (const char* name : {"empty", "large", "plain"}) {
        CAPTURE(name);
        format::Entry entry{};
        core->inspect([&](Catalogue& catalogue) {
            format::EntryView found;
            REQUIRE(catalogue.find(name, found));
            entry = found.fixed;
        });
        const auto is = [](std::uint64_t offset, std::uint64_t size) {
            return [=](const Lease::Mark& m) { return m.offset == offset && m.size == size; };
        };
        past.clear();
        {
            const View view = reader.get(name);
            const bool typed = (entry.flags & format::kEntryTypeInHeader) != 0;
            CHECK(typed == (std::string(name) != "plain"));
            CHECK(std::count_if(past.begin(), past.end(), is(entry.header_offset, entry.header_size)) == (typed ? 1 : 0));
            CHECK(marks.size() == before + (entry.extent != 0 ? 1 : 0));
            if (entry.extent != 0) CHECK(std::count_if(marks.begin(), marks.end(), is(entry.offset, entry.extent)) == 1);
        }
        CHECK(marks.size() == before);
    }
    CHECK_THROWS_AS((void)reader.get("none"), NotFoundError);
    CHECK(marks.size() == before);
}

TEST_CASE("after everything, the catalogue agrees with itself") {
    Scratch scratch;
    const Directory directory(scratch.path());
    CreateOptions options{.capacity = 8 << 20};
    options.log_size = 4096;
    auto core = ShelfCore::open(directory.create("s", options).parts, Mode::read_write);
    Shelf s = ShelfCore::handle(core);
    std::vector<View> views;
    for (int i = 0; i < 3000; ++i) {
        const std::string name = "n" + std::to_string(i * 7919 % 400);
        if (i % 5 == 4 && s.contains(name)) s.erase(name);
        else s.put(name, bytes_of(std::string(static_cast<std::size_t>(i * 131 % 9000), 'a')), i % 3 ? small : Type::raw());
        if (i % 10 == 0 && s.contains(name)) views.push_back(s.get(name));
        if (views.size() > 20) views.erase(views.begin(), views.begin() + 15);
        if (i % 500 == 0)
            CHECK(pymm::check(scratch.path(), "s").clean());
    }
    CHECK(pymm::check(scratch.path(), "s").clean());
}
