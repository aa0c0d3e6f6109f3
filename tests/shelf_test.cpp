// Shelf through its public interface, on a real directory.
#include <doctest/doctest.h>

#include <pymm/check.hpp>
#include <pymm/pymm.hpp>

#include <cstring>
#include <map>
#include <random>

#include "contents.hpp"
#include "scratch.hpp"

using namespace pymm;
using namespace pymm::test;

TEST_CASE("put, get, replace, erase and rename survive reopening") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    {
        Shelf s = ns.create("a", {.capacity = 8 << 20});
        s.put("hello", bytes_of("world"), Type::value(Kind::string));
        s.put("raw", bytes_of(pattern(100, 1)));
        s.put("page", bytes_of(pattern(10000, 2)));
        s.put("big", bytes_of(pattern(3 << 20, 3)));
        s.put("raw", bytes_of(pattern(200, 4)));
        s.rename("page", "dir/page");
        s.put("gone", bytes_of("x"));
        s.erase("gone");
        CHECK(s.size() == 4);
        CHECK(text_of(s.get("hello")) == "world");
    }
    Shelf s = ns.shelf("a");
    CHECK(s.size() == 4);
    CHECK(text_of(s.get("hello")) == "world");
    CHECK(text_of(s.get("raw")) == pattern(200, 4));
    CHECK(text_of(s.get("dir/page")) == pattern(10000, 2));
    CHECK(text_of(s.get("big")) == pattern(3 << 20, 3));
    CHECK_THROWS_AS(s.get("gone"), NotFoundError);
    CHECK_THROWS_AS(s.get("page"), NotFoundError);
    std::vector<std::string> names;
    for (const BlobInfo& b : s.list()) names.push_back(b.name);
    CHECK(names == std::vector<std::string>{"big", "dir/page", "hello", "raw"});
}

TEST_CASE("a staged extent is resized in place") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    const std::string a = pattern(3 << 20, 1), b = pattern(5 << 20, 2);
    {
        Shelf s = ns.create("a", {.capacity = 16 << 20, .checksum = true});
        Staged staged = s.stage(Type::raw(), a.size());
        staged.write(0, bytes_of(a));
        // More than there is; a size that the type does not have; a value that would need no extent.
        CHECK_FALSE(staged.resize(Type::raw(), 15 << 20));
        CHECK_THROWS_AS(staged.resize(Type::array("<f8", 8, {3}), 25), InvalidArgumentError);
        CHECK_FALSE(staged.resize(Type::value(Kind::string), 5));
        CHECK(staged.size() == a.size());
        REQUIRE(staged.resize(Type::raw(), 12 << 20));
        CHECK_THROWS_AS(s.stage(Type::raw(), 3 << 20), NoSpaceError);
        CHECK(std::memcmp(staged.memory().data(), a.data(), a.size()) == 0);
        staged.write(a.size(), bytes_of(b));
        REQUIRE(staged.resize(Type::array("<f8", 8, {1 << 20}), 8 << 20));
        CHECK(staged.type().kind == Kind::ndarray);
        // What went back can be had; then there is nothing behind any more.
        Staged other = s.stage(Type::raw(), 4 << 20);
        CHECK_FALSE(staged.resize(Type::raw(), (8 << 20) + 1));
        other = Staged();
        s.put("x", std::move(staged));
        CHECK_THROWS_AS(staged.resize(Type::raw(), 8), InvalidArgumentError);
        // Smaller ones, which share no page with what is whole pages large.
        Staged small = s.stage(Type::raw(), 100);
        small.write(0, bytes_of(pattern(100, 3)));
        if (small.resize(Type::raw(), 300)) small.write(100, bytes_of(pattern(200, 4)));
        CHECK(small.size() == 300);
        REQUIRE(small.resize(Type::raw(), 100));
        s.put("small", std::move(small));
    }
    const Shelf s = ns.shelf("a");
    CHECK(text_of(s.get("x")) == a + b);
    CHECK(s.get("x").type().kind == Kind::ndarray);
    CHECK(text_of(s.get("small")) == pattern(100, 3));
    CheckOptions scrub;
    scrub.scrub = true;
    CHECK(check(scratch.path(), "a", scrub).clean());
}

TEST_CASE("many names: runs, merges and listing agree with a map") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    std::map<std::string, std::string> model;
    std::mt19937_64 random(7);
    {
        Shelf s = ns.create("m", {.capacity = 64 << 20, .log_size = 8192});
        for (int i = 0; i < 20000; ++i) {
            const std::string name = "n" + std::to_string(random() % 3000);
            if (random() % 4 == 0 && model.contains(name)) {
                s.erase(name);
                model.erase(name);
            } else {
                const std::string value = pattern(random() % 300, static_cast<unsigned>(i));
                s.put(name, bytes_of(value), random() % 2 ? Type::value(Kind::bytes) : Type::raw());
                model[name] = value;
            }
            if (i % 4999 == 0) {
                s.close();
                s = ns.shelf("m");
            }
        }
    }
    Shelf s = ns.shelf("m");
    CHECK(s.size() == model.size());
    std::size_t n = 0;
    auto it = model.begin();
    bool same = true;
    for (const BlobInfo& b : s.list()) {
        same = same && it != model.end() && it->first == b.name;
        ++it, ++n;
    }
    CHECK(same);
    CHECK(n == model.size());
    for (const auto& [name, value] : model) REQUIRE(text_of(s.get(name)) == value);
    // Nothing leaks: when all is erased, the shelf is as empty as a new one, but for its catalogue.
    for (const auto& [name, value] : model) s.erase(name);
    s.close();
    s = ns.shelf("m");
    CHECK(s.size() == 0);
    CHECK(s.stat().used < 4096 + 8192 + 64 * 4096);
    s.close();
}

TEST_CASE("a batch is applied whole, in order, or not at all") {
    Scratch scratch;
    Shelf s = Namespace::open(scratch.path()).create("b", {.capacity = 8 << 20});
    s.put("old", bytes_of("1"), Type::value(Kind::bytes));
    {
        Batch b = s.batch();
        b.put("x", bytes_of(pattern(5000, 1)));
        b.rename("old", "new");
        b.erase("missing");
        CHECK_THROWS_AS(b.commit(), NotFoundError);
    }
    CHECK(s.size() == 1);
    Batch b = s.batch();
    b.put("x", bytes_of(pattern(5000, 1)));
    b.rename("x", "y");
    b.rename("old", "x");
    b.put("z", bytes_of("2"), Type::value(Kind::bytes));
    b.erase("z");
    CHECK(!s.contains("y"));
    b.commit();
    CHECK(text_of(s.get("y")) == pattern(5000, 1));
    CHECK(text_of(s.get("x")) == "1");
    CHECK(s.size() == 2);
}

TEST_CASE("a batch larger than the log") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    {
        Shelf s = ns.create("b", {.capacity = 32 << 20, .log_size = 4096});
        Batch b = s.batch();
        for (int i = 0; i < 3000; ++i)
            b.put("k" + std::to_string(i), bytes_of(pattern(20, static_cast<unsigned>(i))), Type::value(Kind::bytes));
        b.commit();
        CHECK(s.size() == 3000);
    }
    Shelf s = ns.shelf("b");
    CHECK(s.size() == 3000);
    for (int i = 0; i < 3000; ++i)
        REQUIRE(text_of(s.get("k" + std::to_string(i))) == pattern(20, static_cast<unsigned>(i)));
}

TEST_CASE("views stay valid after replace, erase and close, and their space is not reused before") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("v", {.capacity = 4 << 20});
    const std::string first = pattern(1 << 20, 1);
    s.put("x", bytes_of(first));
    View view = s.get("x", Access::write);
    const std::uint64_t used = s.stat().used;
    s.put("x", bytes_of(pattern(1 << 20, 2)));
    for (unsigned i = 0; i < 20; ++i) s.put("x", bytes_of(pattern(1 << 20, 3 + i)));
    CHECK(text_of(view) == first);
    std::memset(view.writable_bytes().data(), 'z', 1000);
    CHECK(text_of(s.get("x")) == pattern(1 << 20, 22));
    s.erase("x");
    s.close();
    CHECK(!s.is_open());
    CHECK_THROWS_AS(s.get("x"), ClosedError);
    CHECK(view.bytes()[0] == std::byte{'z'});
    // The lock is still ours: opening again gives the same shelf.
    Shelf again = ns.shelf("v");
    CHECK(again.size() == 0);
    CHECK(again.stat().used < used);
}

TEST_CASE("a full shelf refuses, keeps everything, and can be emptied") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("f", {.capacity = 2 << 20});
    int n = 0;
    try {
        for (;; ++n) s.put("k" + std::to_string(n), bytes_of(pattern(30000, static_cast<unsigned>(n))));
    } catch (const NoSpaceError&) {
    }
    CHECK(n > 20);
    for (int i = 0; i < n; ++i) REQUIRE(text_of(s.get("k" + std::to_string(i))) == pattern(30000, static_cast<unsigned>(i)));
    CHECK_THROWS_AS(s.put("large", bytes_of(std::string(3 << 20, 'x'))), NoSpaceError);
    for (int i = 0; i < n; ++i) s.erase("k" + std::to_string(i));
    s.put("again", bytes_of(pattern(1 << 20, 5)));
    CHECK(s.size() == 1);
    // With small values it is the catalogue that fills up.
    int m = 0;
    try {
        for (;; ++m) s.put("v" + std::to_string(m), bytes_of(std::string(200, 'v')), Type::value(Kind::bytes));
    } catch (const NoSpaceError&) {
    }
    CHECK(m > 500);
    for (int i = 0; i < m; ++i) s.erase("v" + std::to_string(i));
    CHECK(s.size() == 1);
    s.close();
    s = ns.shelf("f");
    CHECK(text_of(s.get("again")) == pattern(1 << 20, 5));
}

TEST_CASE("one writer, and readers beside it that see its commits") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf writer = ns.create("r", {.capacity = 8 << 20, .log_size = 4096});
    writer.put("x", bytes_of(pattern(5000, 1)));
    CHECK(writer.identity() == ns.shelf("r").identity());
    Shelf reader = ns.shelf("r", Mode::read_only);
    View old = reader.get("x");
    CHECK(text_of(old) == pattern(5000, 1));
    for (unsigned i = 0; i < 500; ++i) {
        writer.put("x", bytes_of(pattern(5000, i)));
        writer.put("y" + std::to_string(i), bytes_of("v"), Type::value(Kind::bytes));
        REQUIRE(text_of(reader.get("x")) == pattern(5000, i));
        REQUIRE(reader.size() == i + 2);
    }
    CHECK(text_of(old) == pattern(5000, 1));
    CHECK_THROWS_AS(reader.put("z", bytes_of("1")), ReadOnlyError);
    CHECK_THROWS_AS(reader.get("x", Access::write), ReadOnlyError);
}

TEST_CASE("typed arrays") {
    Scratch scratch;
    Shelf s = Namespace::open(scratch.path()).create("t", {.capacity = 8 << 20});
    std::vector<double> data(12);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<double>(i);
    s.put("c", std::as_bytes(std::span(data)), Type::array("<f8", 8, {3, 4}));
    s.put("f", std::as_bytes(std::span(data)), Type::array("<f8", 8, {3, 4}, true));
    View c = s.get("c", Access::write);
    CHECK(c.array<double>()(1, 2) == 6);
    CHECK(s.get("f").array<double>()(1, 2) == 7);
    CHECK_THROWS_AS(c.array<float>(), InvalidArgumentError);
    CHECK_THROWS_AS(c.array<std::int64_t>(), InvalidArgumentError);
    c.writable_array<double>()(1, 2) = 60;
    c.persist(6 * 8, 8);
    CHECK(s.get("c").array<double>()(1, 2) == 60);
    CHECK_THROWS_AS(c.persist(96, 1), InvalidArgumentError);
    CHECK_THROWS_AS(s.put("bad", std::as_bytes(std::span(data)), Type::array("<f8", 8, {3, 5})), InvalidArgumentError);
    s.put("empty", std::span<const std::byte>(), Type::array("<f8", 8, {0, 5}));
    CHECK(s.get("empty", Access::write).writable_array<double>().size() == 0);
}

TEST_CASE("tensors are handed out as memory") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("a", {.capacity = 8 << 20});
    const float values[] = {1, 2, 3, 4, 5, 6};
    s.put("t", std::as_bytes(std::span(values)), Type::tensor("<f4 requires_grad", 4, {2, 3}, {4, 8}));
    View view = s.get("t", Access::write);
    CHECK(view.info().offset != 0);  // never in the catalogue, whose bytes cannot be stored to
    CHECK(view.array<float>()(1, 2) == 6);
    view.writable_array<float>()(0, 1) = 9;
    view.persist();
    view = {};
    s.close();
    s = ns.shelf("a");
    CHECK(s.get("t").array<float>()(0, 1) == 9);
    CHECK(s.find("t")->type == Type::tensor("<f4 requires_grad", 4, {2, 3}, {4, 8}));
}

TEST_CASE("what is stored to private memory reaches nobody") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("a", {.capacity = 8 << 20});
    for (const std::size_t size : {0, 1, 100, 4095, 4096, 10000, 3 << 20}) {
        CAPTURE(size);
        const std::string text = pattern(size, 7);
        s.put("x", bytes_of(text));
        s.seal("x");
        {
            const View view = s.get("x");
            PrivateMemory memory = view.private_memory();
            REQUIRE(memory.bytes().size() == size);
            CHECK(reinterpret_cast<std::uintptr_t>(memory.bytes().data()) % 64 == 0);
            CHECK(std::memcmp(memory.bytes().data(), text.data(), size) == 0);
            const PrivateMemory other = view.private_memory();
            std::memset(memory.bytes().data(), 0, size);
            CHECK(text_of(view) == text);
            CHECK(std::memcmp(other.bytes().data(), text.data(), size) == 0);
            memory = PrivateMemory();
            CHECK(memory.bytes().empty());
        }
        s.erase("x");
    }
    s.put("n", bytes_of("12345678"), Type::value(Kind::real));
    CHECK(s.get("n").private_memory().bytes().size() == 8);
    CHECK_THROWS_AS(View().private_memory(), InvalidArgumentError);
}

TEST_CASE("bad names change nothing") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("n", {.capacity = 1 << 20});
    for (const std::string& name : {std::string(), std::string("/x"), std::string("x/"), std::string("a//b"),
                                    std::string("a/../b"), std::string("."), std::string("a\0b", 3),
                                    std::string("\xff\xfe"), std::string(1025, 'x')})
        CHECK_THROWS_AS(s.put(name, std::span<const std::byte>()), InvalidArgumentError);
    s.put(std::string(1024, 'x'), bytes_of("1"));
    CHECK(s.size() == 1);
    for (const char* name : {"", ".x", "a/b", "a\xff"}) CHECK_THROWS_AS(ns.create(name), InvalidArgumentError);
    CHECK_THROWS_AS(ns.create("n"), ExistsError);
    CHECK_THROWS_AS(ns.create("n", {.force = true}), BusyError);
    CHECK_THROWS_AS(ns.shelf("missing"), NotFoundError);
    CHECK_THROWS_AS(ns.erase("n"), BusyError);
    s.close();
    ns.erase("n");
    CHECK(!ns.contains("n"));
    CHECK(ns.list().empty());
}
