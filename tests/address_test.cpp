// Shelves that are to be mapped at an address of the caller's choice.
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include <pymm/pymm.hpp>

#include "scratch.hpp"

using namespace pymm;
using pymm::test::Scratch;

namespace {

constexpr std::uint64_t kCapacity = 4 << 20;

/// Address space that is taken while the object lives.
class Taken {
public:
    explicit Taken(std::uint64_t size, std::uint64_t at = 0) : size_(size) {
        at_ = ::mmap(reinterpret_cast<void*>(at), size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        REQUIRE(at_ != MAP_FAILED);
    }
    ~Taken() { ::munmap(at_, size_); }
    Taken(const Taken&) = delete;
    Taken& operator=(const Taken&) = delete;
    std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(at_); }

private:
    void* at_;
    std::uint64_t size_;
};

/// Where there is room for `size` bytes just now: not at the start of a huge page, where a shelf would come by itself. Much
/// room above it, which is taken first: for stacks of threads, such as a sanitizer begins in a forked child.
std::uint64_t free_address(std::uint64_t size) {
    const Taken room(size + (64 << 20));
    return (room.address() / (2 << 20) + 1) * (2 << 20) + 4096 * 5;
}

std::uint64_t address_of(const Shelf& shelf) {
    const View view = shelf.get("x");
    return reinterpret_cast<std::uintptr_t>(view.bytes().data()) - view.info().offset;
}

void put(Shelf& shelf) {
    const std::vector<std::byte> bytes(5000, std::byte{7});
    shelf.put("x", bytes);
}

}  // namespace

TEST_CASE("a shelf is mapped where it is wanted, when it is made and when it is opened again") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    const std::uint64_t wanted = free_address(kCapacity);
    {
        Shelf s = ns.create("a", {.capacity = kCapacity, .address = wanted});
        put(s);
        CHECK(s.stat().address == wanted);
        CHECK(address_of(s) == wanted);
    }
    for (const Mode mode : {Mode::read_write, Mode::read_only}) {
        const Shelf s = ns.shelf("a", {.mode = mode, .address = wanted});
        CHECK(s.stat().address == wanted);
        CHECK(address_of(s) == wanted);
        CHECK(s.get("x").bytes()[4999] == std::byte{7});
    }
    // The smallest one: less than a huge page.
    Shelf small = ns.create("b", {.capacity = min_capacity, .address = wanted});
    put(small);
    CHECK(address_of(small) == wanted);
}

TEST_CASE("another process has it at the same address") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    const std::uint64_t wanted = free_address(kCapacity);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        Shelf s = ns.create("a", {.capacity = kCapacity, .address = wanted});
        put(s);
        ::_exit(address_of(s) == wanted ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    const Shelf s = ns.shelf("a", {.mode = Mode::read_only, .address = wanted});
    CHECK(address_of(s) == wanted);
}

TEST_CASE("an address that is not free is no error, and what is there stays as it is") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    put(*std::make_unique<Shelf>(ns.create("a", {.capacity = kCapacity})));
    const std::uint64_t wanted = free_address(kCapacity);
    for (const std::uint64_t behind : {std::uint64_t{0}, kCapacity - 4096}) {
        const Taken taken(4096, wanted + behind);
        REQUIRE(taken.address() == wanted + behind);
        volatile unsigned char* const theirs = reinterpret_cast<unsigned char*>(taken.address());
        *theirs = 99;
        const Shelf s = ns.shelf("a", {.address = wanted});
        CHECK(s.stat().address != wanted);
        CHECK(address_of(s) == s.stat().address);
        CHECK(s.get("x").bytes()[0] == std::byte{7});
        CHECK(*theirs == 99);
    }
    // Nor one that the system gives to nobody (vm.mmap_min_addr) unless it does.
    const Shelf s = ns.shelf("a", {.address = 4096});
    CHECK(s.get("x").bytes()[0] == std::byte{7});
}

TEST_CASE("a shelf that is open stays where it is") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf s = ns.create("a", {.capacity = kCapacity});
    put(s);
    const std::uint64_t before = s.stat().address;
    const Shelf again = ns.shelf("a", {.address = free_address(kCapacity)});
    CHECK(again.identity() == s.identity());
    CHECK(again.stat().address == before);
    CHECK(address_of(again) == before);
}

TEST_CASE("addresses that nobody can have are refused, and nothing is made or lost") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    put(*std::make_unique<Shelf>(ns.create("a", {.capacity = kCapacity})));
    for (const std::uint64_t bad : {std::uint64_t{1}, std::uint64_t{0x900000010}, std::uint64_t{1} << 47,
                                    (std::uint64_t{1} << 47) - 8192, std::uint64_t{0xfffffffffffff000}}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(ns.shelf("a", {.address = bad}), InvalidArgumentError);
        CHECK_THROWS_AS(ns.create("b", {.capacity = kCapacity, .address = bad}), InvalidArgumentError);
        CHECK_THROWS_AS(ns.create("a", {.capacity = kCapacity, .force = true, .address = bad}), InvalidArgumentError);
    }
    CHECK(!ns.contains("b"));
    CHECK(ns.shelf("a").get("x").bytes()[0] == std::byte{7});
}

TEST_CASE("a shelf that is opened takes no addresses from other threads") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    put(*std::make_unique<Shelf>(ns.create("a", {.capacity = kCapacity})));
    std::atomic<bool> stop = false;
    std::atomic<unsigned> rounds = 0, lost = 0;
    // Of the size of the shelf, so that what it leaves free even for a moment is taken.
    std::thread other([&] {
        for (; !stop; ++rounds) {
            const Taken taken(kCapacity);
            volatile unsigned* const first = reinterpret_cast<unsigned*>(taken.address());
            *first = 99;
            for (int i = 0; i < 2000 && *first == 99; ++i) {}
            if (*first != 99) ++lost;
        }
    });
    for (int i = 0; i < 2000 && lost == 0; ++i) {
        const Shelf s = ns.shelf("a", Mode::read_only);
        if (s.get("x").bytes()[0] != std::byte{7}) ++lost;
    }
    stop = true;
    other.join();
    CHECK(rounds > 0);
    CHECK(lost == 0);
}
