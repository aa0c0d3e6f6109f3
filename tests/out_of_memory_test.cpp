// No memory, at each allocation of a call: an error, and nothing is left counted, marked or locked.
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <string>

#include <pymm/pymm.hpp>
#include <pymm/transaction.hpp>

#include "scratch.hpp"
#include "shelf/core.hpp"

namespace {
// Allocations of this thread until one fails; 0: none does.
thread_local std::uint64_t countdown = 0;
thread_local bool refused = false;
}  // namespace

// The whole program's: all of the library's containers come here.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (countdown != 0 && --countdown == 0) {
        refused = true;
        throw std::bad_alloc();
    }
    if (void* at = std::malloc(size != 0 ? size : 1)) return at;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new[](std::size_t size) { return operator new(size); }
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete[](void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, std::size_t) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete[](void* at, std::size_t) noexcept { std::free(at); }

using namespace pymm;
using pymm::test::Scratch;

namespace {

/// Whether `work` is stopped by the k-th allocation, which fails; `refused` tells whether there was one.
template <class F>
bool stopped_at(std::uint64_t k, F&& work) {
    bool threw = false;
    refused = false;
    countdown = k;
    try {
        work();
    } catch (const std::bad_alloc&) {
        threw = true;
    }
    countdown = 0;
    return threw;
}

}  // namespace

TEST_CASE("no memory for a writable view: the writer's lock is given up all the same") {
    std::uint64_t failed = 0;
    for (std::uint64_t k = 1;; ++k) {
        CAPTURE(k);
        const Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        Shelf s = ns.create("s", {.capacity = 2 << 20});
        s.put("x", std::vector<std::byte>(5000));
        const bool threw = stopped_at(k, [&] { (void)s.get("x", Access::write); });
        if (!refused) break;
        ++failed;
        CHECK(threw);
        // Neither a writable view nor a lock is left.
        s.seal("x");
        s.close();
        const Shelf again = ns.shelf("s");
        CHECK(again.identity() != s.identity());
        CHECK(again.find("x")->sealed);
    }
    MESSAGE(failed << " allocations failed, one in each run");
    CHECK(failed >= 3);
}

TEST_CASE("no memory for a batch in a transaction: all of it or nothing") {
    const auto contents = [](const Shelf& s) {
        std::string text;
        for (const BlobInfo& info : s.list()) {
            const View view = s.get(info.name);
            text += info.name + " " + std::to_string(info.size) + " " + std::to_string(static_cast<int>(view.bytes()[0])) + "\n";
        }
        return text;
    };
    // Names that are not in the string itself.
    const auto name = [](const char* which) { return "a name that needs memory of its own: " + std::string(which); };
    const auto value = [](std::size_t size, int of) { return std::vector<std::byte>(size, static_cast<std::byte>(of)); };
    std::uint64_t failed = 0;
    for (std::uint64_t k = 1;; ++k) {
        CAPTURE(k);
        const Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        Shelf s = ns.create("s", {.capacity = 2 << 20});
        for (const char* each : {"a", "b", "c", "d"}) s.put(name(each), value(5000, each[0]));
        Transaction tx = s.transaction();
        s.put(name("b"), value(5000, 1));
        s.put(name("new"), value(5000, 2));
        s.rename(name("d"), name("moved"));
        const std::string before = contents(s);
        bool threw = false;
        {
            Batch batch = s.batch();
            batch.put(name("x"), value(6000, 3));
            batch.erase(name("a"));
            batch.put(name("new"), value(6000, 4));
            batch.rename(name("b"), name("c"));
            batch.rename(name("moved"), name("d"));
            batch.rename(name("x"), name("a"));
            batch.put(name("last"), value(20, 5));
            threw = stopped_at(k, [&] { batch.commit(); });
        }
        const std::string all = name("a") + " 6000 3\n" + name("c") + " 5000 1\n" + name("d") + " 5000 100\n" + name("last") +
                                " 20 5\n" + name("new") + " 6000 4\n";
        CHECK(contents(s) == (threw ? before : all));
        tx.commit();
        s.close();
        CHECK(contents(ns.shelf("s", Mode::read_only)) == (threw ? before : all));
        if (!refused) break;
        failed += threw;  // what cannot be given back for lack of memory is kept, and no error
    }
    MESSAGE(failed << " batches failed, at one allocation each");
    CHECK(failed >= 10);
}
