// No memory, at each allocation of a call: an error, and nothing is left counted, marked or locked.
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <string>

#include <pymm/pymm.hpp>

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

TEST_CASE("no memory for a writable view: the writer's lock is given up all the same") {
    std::uint64_t failed = 0;
    for (std::uint64_t k = 1;; ++k) {
        CAPTURE(k);
        const Scratch scratch;
        const Namespace ns = Namespace::open(scratch.path());
        Shelf s = ns.create("s", {.capacity = 2 << 20});
        s.put("x", std::vector<std::byte>(5000));
        bool threw = false;
        refused = false;
        countdown = k;
        try {
            (void)s.get("x", Access::write);
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        countdown = 0;
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
