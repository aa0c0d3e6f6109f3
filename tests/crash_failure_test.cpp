// Power cuts after something else went wrong before: a failed sync, the death of a process.
#include <doctest/doctest.h>

#include <cerrno>
#include <string>

#include <pymm/error.hpp>

#include "sim/workloads.hpp"

using namespace pymm;
using namespace pymm::sim;

TEST_CASE("failure: after a sync has failed the shelf is read-only and what it acknowledged is there") {
    std::uint64_t failed = 0;
    for (std::uint64_t k = 1;; ++k) {
        CrashOptions options = options_for("eio", Granularity::page);
        options.machine.seed = k;
        options.images = 8;
        options.write_again_every = 7;
        options.recut_every = 0;
        CrashRun crash(options);
        crash.machine().fail_sync_after(k);
        bool threw = false;
        try {
            everything(crash);
        } catch (const IoError& error) {
            CHECK(error.os_error() == EIO);
            threw = true;
        }
        add(crash.totals());
        REQUIRE(crash.failure() == "");
        if (!crash.machine().sync_has_failed()) break;
        ++failed;
        // The last close records its clean end where it can and has nobody to tell.
        if (!threw) continue;
        CHECK_THROWS_AS(crash.shelf().put("later", make_bytes(10, 1)), ReadOnlyError);
        CHECK_THROWS_AS(crash.shelf().put("later", make_bytes(10'000, 1)), ReadOnlyError);
        for (const auto& [name, value] : crash.state())
            if (value.stored.empty()) CHECK(crash.shelf().contains(name));
        crash.machine().cut();
        REQUIRE(crash.failure() == "");
    }
    MESSAGE(failed << " syncs failed, one in each run");
    CHECK(failed > 50);
}

TEST_CASE("failure: a process dies, another goes on, then the power goes") {
    // What a dead process wrote is seen by the next one though it may not be durable: nothing new may
    // rest on it.
    using Death = CrashRun::Death;
    std::uint64_t deaths = 0;
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        bool more = true;
        for (std::uint64_t k = 1; more; k += thorough() ? 1 : 3) {
            for (const Death death : {Death::before, Death::in_the_middle, Death::after}) {
                CrashOptions options = options_for("death-" + std::to_string(k), granularity);
                options.images = thorough() ? 40 : 12;
                options.images_after_death_only = true;
                options.recut_every = 0;
                CrashRun crash(options);
                crash.kill_at(k, death);
                try {
                    everything(crash);
                } catch (const Killed&) {
                }
                more = !crash.alive();
                if (!more) break;
                ++deaths;
                crash.revive();
                crash.put("a", 60);
                crash.put("c", 5500);
                crash.reopen();
                crash.put("z", 10);
                REQUIRE(crash.failure() == "");
                REQUIRE(crash.compare_now() == "");
                add(crash.totals());
            }
        }
    }
    MESSAGE(deaths << " deaths");
}

TEST_CASE("failure: coverage") { MESSAGE(coverage()); }
