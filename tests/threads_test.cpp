// One shelf used by several threads, and by a forked child. Meant for TSan as much as for its checks.
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include <pymm/pymm.hpp>

#include "scratch.hpp"
#include "shelf/core.hpp"

using namespace pymm;
using pymm::test::Scratch;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

// A value that tells whose it is and whether it is whole.
std::string value(unsigned thread, unsigned round, std::size_t size) {
    std::string text(size, static_cast<char>('a' + (thread * 7 + round) % 26));
    std::memcpy(text.data(), &round, sizeof round);
    return text;
}

}  // namespace

TEST_CASE("puts, views, erases, batches, lists and persists from several threads") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf shelf = ns.create("t", {.capacity = 32 << 20, .log_size = 8192});
    constexpr unsigned threads = 4, rounds = 150;
    std::atomic<bool> wrong{false};
    std::atomic<bool> done{false};
    std::vector<std::thread> all;
    for (unsigned t = 0; t < threads; ++t)
        all.emplace_back([&, t] {
            const std::string mine = "own" + std::to_string(t);
            for (unsigned r = 0; r < rounds; ++r) {
                const std::size_t size = 8 + (r * 997) % 20000;
                shelf.put(mine, bytes_of(value(t, r, size)));
                View view = shelf.get(mine, Access::write);
                const std::string expected = value(t, r, size);
                if (view.bytes().size() != size || std::memcmp(view.bytes().data(), expected.data(), size) != 0)
                    wrong = true;
                view.writable_bytes()[0] = std::byte{0};
                view.persist(0, 1);
                shelf.put("shared", bytes_of(value(t, r, 300)), Type::value(Kind::bytes));
                if (r % 5 == 0) {
                    Batch batch = shelf.batch();
                    batch.put(mine + "/a", bytes_of(value(t, r, 5000)));
                    batch.put(mine + "/b", bytes_of(value(t, r, 50)), Type::value(Kind::bytes));
                    batch.commit();
                } else if (r % 5 == 3) {
                    shelf.erase(mine + "/a");
                    shelf.rename(mine + "/b", mine + "/a");
                }
                if (r % 7 == 0) shelf.persist();
            }
        });
    // A reader of its own, and listings of the writer's shelf, beside them.
    all.emplace_back([&] {
        Shelf reader = ns.shelf("t", Mode::read_only);
        while (!done.load()) {
            if (auto info = reader.find("own0")) {
                try {
                    const View view = reader.get("own0");
                    (void)view.bytes()[0];
                } catch (const NotFoundError&) {
                }
            }
            std::size_t n = 0;
            shelf.for_each("own", [&](const BlobInfo&) { return ++n < 100; });
            (void)shelf.stat();
        }
    });
    for (unsigned t = 0; t < threads; ++t) all[t].join();
    done = true;
    all.back().join();
    CHECK(!wrong.load());
    shelf.close();
    shelf = ns.shelf("t");
    CHECK(shelf.size() >= threads + 1);
}

TEST_CASE("closing while views live, from other threads") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    for (int i = 0; i < 20; ++i) {
        Shelf shelf = i == 0 ? ns.create("t", {.capacity = 4 << 20}) : ns.shelf("t");
        shelf.put("x", bytes_of(value(0, static_cast<unsigned>(i), 5000)));
        View view = shelf.get("x", Access::write);
        std::thread other([&] {
            view.persist();
            view = View();
        });
        shelf.close();
        other.join();
    }
    Shelf shelf = ns.shelf("t");
    CHECK(shelf.get("x").bytes().size() == 5000);
}

TEST_CASE("a forked child reads, cannot write, and harms nobody") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    Shelf shelf = ns.create("f", {.capacity = 4 << 20});
    shelf.put("x", bytes_of(std::string(5000, 'x')));
    View view = shelf.get("x", Access::write);
    const pid_t child = ::fork();
    if (child == 0) {
        int bad = 0;
        if (view.bytes()[10] != std::byte{'x'}) bad |= 1;
        view.writable_bytes()[10] = std::byte{'c'};  // stays here
        try {
            view.persist();
            bad |= 2;
        } catch (const ClosedError&) {
        }
        try {
            shelf.put("y", bytes_of("1"));
            bad |= 4;
        } catch (const ClosedError&) {
        }
        try {
            (void)ns.shelf("f");
            bad |= 8;
        } catch (const BusyError&) {
        }
        try {
            if (ns.shelf("f", Mode::read_only).get("x").bytes()[0] != std::byte{'x'}) bad |= 16;
        } catch (const Error&) {
            bad |= 32;
        }
        view = View();
        shelf = Shelf();
        ::_exit(bad);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(view.bytes()[10] == std::byte{'x'});
    shelf.put("y", bytes_of("2"));
    CHECK(shelf.size() == 2);
}
