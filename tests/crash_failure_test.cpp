// Power cuts after something else went wrong before: a failed sync, the death of a process.
#include <doctest/doctest.h>

#include <cerrno>
#include <string>

#include <pymm/error.hpp>
#include <pymm/shelf.hpp>

#include "sim/cut_point.hpp"
#include "sim/image_shelf.hpp"
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

namespace {

/// A shelf on page media, and what power cuts leave of it: the first image in which something is wrong.
std::string wrong_after_cut(CrashRun& run, const State& state) {
    std::string wrong;
    run.machine().on_cut = [&](CutPoint& cut) {
        cut.images(64, [&](Image& image) {
            if (!wrong.empty()) return;
            wrong = check_image(image.media, true);
            SimLocks locks;
            if (wrong.empty()) wrong = compare(open_image(image.media, locks, Granularity::page, Mode::read_only), state);
        });
    };
    run.machine().cut();
    run.machine().on_cut = nullptr;
    return wrong;
}

CrashOptions quiet(const char* workload, bool checksum) {
    CrashOptions options = options_for(workload, Granularity::page);
    options.checksum = checksum;
    options.images = 0;
    options.write_again_every = 0;
    options.recut_every = 0;
    return options;
}

Value array_of(std::uint64_t size, std::uint64_t seed) {
    Value value;
    value.bytes = make_bytes(size, seed);
    value.type = Type::array("|u1", 1, {static_cast<std::int64_t>(size)});
    return value;
}

}  // namespace

TEST_CASE("failure: seal claims nothing that a sync which failed in an earlier session has lost") {
    for (const std::uint64_t size : {std::uint64_t{700}, std::uint64_t{4096}, std::uint64_t{70'000}}) {
        CAPTURE(size);
        CrashRun run(quiet("sealed after a failure", false));
        State state{{"x", array_of(size, 1)}, {"y", array_of(size, 2)}};
        run.put("x", state["x"]);
        run.put("y", state["y"]);
        {
            View view = run.shelf().get("x", Access::write);
            for (std::uint64_t at = 0; at < size; at += 640) view.writable_bytes()[at] = std::byte{99};
            run.machine().fail_sync_after(1);
            CHECK_THROWS_AS(view.persist(), IoError);
        }
        run.reopen();
        const View view = run.shelf().get("x");
        REQUIRE(view.bytes()[0] == std::byte{99});  // clean pages of the cache; the media has the old ones
        state["x"].bytes.assign(view.bytes().begin(), view.bytes().end());
        run.shelf().seal("x");
        state["x"].sealed = true;
        CHECK(wrong_after_cut(run, state) == "");
        run.shelf() = {};
    }
}

TEST_CASE("failure: a checksum counts what nobody wrote to a staged extent, as it is on the media") {
    for (const bool in_memory : {false, true}) {
        for (const bool lost : {false, true}) {
            CAPTURE(in_memory);
            CAPTURE(lost);
            CrashRun run(quiet("staged over stores", true));
            State state{{"x", array_of(73'728, 1)}, {"y", array_of(5000, 2)}};
            run.put("x", state["x"]);
            run.put("y", state["y"]);
            std::uint64_t place = 0;
            {
                // Stored, never durable: not flushed, or by a sync that failed.
                View view = run.shelf().get("x", Access::write);
                place = view.info().offset;
                for (std::uint64_t at = 0; at < 73'728; at += 512) view.writable_bytes()[at] = std::byte{99};
                if (lost) {
                    run.machine().fail_sync_after(1);
                    CHECK_THROWS_AS(view.persist(), IoError);
                }
            }
            if (lost) run.reopen();
            run.shelf().erase("x");
            state.erase("x");
            bool reused = false;
            for (int i = 0; i < 60 && !reused; ++i) {
                const std::string name = "z" + std::to_string(i);
                Value value = array_of(16'384, 3);
                Staged staged = run.shelf().stage(value.type, value.bytes.size());
                if (in_memory) staged.memory()[100] = std::byte{5};
                else staged.write(0, std::span(value.bytes).first(4096));
                run.shelf().put(name, std::move(staged));
                const View view = run.shelf().get(name);
                reused = view.info().offset >= place && view.info().offset < place + 73'728;
                value.bytes.assign(view.bytes().begin(), view.bytes().end());
                state[name] = value;
            }
            REQUIRE(reused);
            CHECK(wrong_after_cut(run, state) == "");
            run.shelf() = {};
        }
    }
}

TEST_CASE("failure: coverage") { MESSAGE(coverage()); }
