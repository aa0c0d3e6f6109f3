// Power cuts after something else went wrong before: a failed sync, the death of a process.
#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <pymm/error.hpp>
#include <pymm/shelf.hpp>

#include "media/log.hpp"
#include "sim/cut_point.hpp"
#include "sim/image_shelf.hpp"
#include "sim/workloads.hpp"

using namespace pymm;
using namespace pymm::sim;

namespace {

using BatchOp = CrashRun::BatchOp;

bool can_be_stored_to(const Value& value) {
    return (value.type.kind == Kind::ndarray || value.type.kind == Kind::raw) && !value.sealed && !value.bytes.empty();
}

/// The library logs each failure; here there are thousands, and all are expected.
struct Quiet {
    spdlog::level::level_enum before = log().level();
    Quiet() { log().set_level(spdlog::level::off); }
    ~Quiet() { log().set_level(before); }
};

/// Persisted, one after the other.
void store_everywhere(CrashRun& crash) {
    std::vector<std::string> names;
    for (const auto& [name, value] : crash.state())
        if (can_be_stored_to(value)) names.push_back(name);
    for (const std::string& name : names)
        crash.store(name, 0, std::min<std::uint64_t>(8, crash.state().at(name).bytes.size()), true);
}

/// Log switches, folds of large batches, a shelf so full that its runs are merged for space, sessions that end with
/// and without a commit.
void much(CrashRun& c) {
    furnish(c);
    // What was refused is not there.
    const auto store = [&](std::uint64_t offset, std::uint64_t size) {
        if (c.state().count("c")) c.store("c", offset, size, true);
    };
    for (int i = 0; i < 40; ++i) c.put("log/" + std::to_string(i % 25), 180);
    std::vector<BatchOp> large;
    for (int i = 0; i < 30; ++i) large.push_back({BatchOp::put, "large/" + std::to_string(i), "", 190});
    c.batch(large);
    c.put("a", 48);
    store(0, 5000);
    if (c.state().count("c")) c.append("c", 40), c.append("c", 4000);
    c.reopen();
    store(100, 8);
    c.reopen();
    // Until the shelf is full, and somewhat on: each refusal has tried to make space.
    int refused = 0;
    for (int i = 0; i < 400 && refused < 4; ++i) refused += c.put("fill/" + std::to_string(i), 250) ? 0 : 1;
    CHECK(refused == 4);
    for (int i = 0; i < 12; ++i)
        if (c.state().count("fill/" + std::to_string(i))) c.erase("fill/" + std::to_string(i));
    c.put("b", 4000);
    if (c.state().count("d/e")) c.erase("d/e");
    c.close();
}

/// What is shown now, as acknowledged; and that another process can go on.
void goes_on(CrashRun& crash) {
    crash.revive();
    REQUIRE(crash.failure() == "");
    std::vector<std::string> filling;
    for (const auto& [name, value] : crash.state())
        if (name.starts_with("fill/") || name.starts_with("large")) filling.push_back(name);
    for (const std::string& name : filling) crash.erase(name);
    crash.put("first", 10);
    REQUIRE(crash.compare_now() == "");
    store_everywhere(crash);
    crash.put("a", 60);
    crash.reopen();
    crash.put("z", 10);
    REQUIRE(crash.failure() == "");
    REQUIRE(crash.compare_now() == "");
}

struct Refusals {
    std::uint64_t writes = 0, went_on = 0, failed = 0;
};

/// One run, in which a write is refused some time. True when one was.
bool refuse_a_write(CrashOptions options, std::uint64_t k, unsigned parts, const Workload& before, const Workload& during,
                    Refusals& counts) {
    options.images_after_fault_only = true;
    options.write_again_every = 11;
    options.recut_every = 0;
    CrashRun crash(options);
    before(crash);
    crash.machine().fail_write_after(k, parts);
    bool failed = false;
    CAPTURE(options.workload);
    CAPTURE(k);
    CAPTURE(parts);
    try {
        during(crash);
    } catch (const IoError& error) {
        CHECK(error.os_error() == ENOSPC);
        failed = true;
    }
    add(crash.totals());
    REQUIRE(crash.failure() == "");
    if (!crash.machine().write_has_failed()) {
        CHECK(!failed);
        return false;
    }
    ++counts.writes;
    ++(failed ? counts.failed : counts.went_on);
    if (failed) {
        CHECK_THROWS_AS(crash.shelf().put("later", make_bytes(10, 1)), ReadOnlyError);
        for (const auto& [name, value] : crash.state())
            if (value.stored.empty()) CHECK(crash.shelf().contains(name));
    }
    goes_on(crash);
    return true;
}

void report(const std::string& what, const Refusals& counts) {
    MESSAGE(what << ": " << counts.writes << " writes refused, one in each run; " << counts.went_on
                 << " of the shelves went on, " << counts.failed << " are read-only since");
    CHECK(counts.went_on > 20);
    CHECK(counts.failed > 20);
}

}  // namespace

TEST_CASE("failure: after a sync has failed the shelf is read-only and what it acknowledged is there") {
    const Quiet quiet;
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
    const Quiet quiet;
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
                // In one half the next process first stores in place: what it persists rests on what it read.
                if (deaths % 2 == 0) store_everywhere(crash);
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

TEST_CASE("failure: a process dies, another stores in place and persists, then the power goes") {
    const Quiet quiet;
    // Nothing is committed by the other one: what it persists, in an extent that only an unfenced commit names, must
    // be there under its name; and no checksum may come back that the store has made void.
    using Death = CrashRun::Death;
    std::uint64_t deaths = 0;
    const auto half = [](CrashRun& c) { c.store("c", 0, c.state().at("c").bytes.size() / 2, false); };
    const std::vector<Workload> last{
        [](CrashRun& c) { c.put("c", 5000); },
        [](CrashRun& c) { c.put("b", 304); },
        [](CrashRun& c) { c.append("c", 800); },
        [](CrashRun& c) { c.append("c", 8000); },
        [](CrashRun& c) { c.rename("b", "c"); },
        [](CrashRun& c) { c.batch({{BatchOp::erase, "c", "", 0}, {BatchOp::rename, "b", "c", 0}}); },
        half,
        [](CrashRun& c) { c.reopen(); },
    };
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page})
        for (const bool persist : {true, false})
            for (const Workload& work : last)
                for (const Death death : {Death::before, Death::in_the_middle, Death::after})
                    for (std::uint64_t k = 1;; ++k) {
                        CrashOptions options = options_for("in-place-" + std::to_string(k), granularity);
                        options.checksum = true;
                        options.images = thorough() ? 200 : 30;
                        options.images_after_death_only = true;
                        options.write_again_every = 10;
                        options.recut_every = 0;
                        CrashRun crash(options);
                        furnish(crash);
                        crash.kill_at(k, death);
                        try {
                            work(crash);
                        } catch (const Killed&) {
                        }
                        if (crash.alive()) break;
                        ++deaths;
                        crash.revive();
                        if (persist) store_everywhere(crash);
                        else if (can_be_stored_to(crash.state().at("c"))) half(crash);
                        CAPTURE(k);
                        REQUIRE(crash.failure() == "");
                        REQUIRE(crash.compare_now() == "");
                        crash.close();
                        REQUIRE(crash.failure() == "");
                        add(crash.totals());
                    }
    MESSAGE(deaths << " deaths");
    CHECK(deaths > 100);
}

TEST_CASE("failure: a write for which there is no space, whichever it is") {
    const Quiet quiet;
    // 0, 1 or both halves of it have been written by then.
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        Refusals counts;
        for (unsigned parts = 0; parts <= 2; ++parts)
            for (std::uint64_t k = 1;; k += thorough() ? 1 : 3) {
                CrashOptions options = options_for("enospc", granularity);
                options.machine.seed = 3 * k + parts;
                options.images = thorough() ? 8 : 2;
                options.capacity = 192 << 10;
                // Each third one with each part, all of them with one of the parts.
                if (!refuse_a_write(options, k + (thorough() ? 0 : parts), parts, [](CrashRun&) {}, much, counts)) break;
            }
        report(granularity == Granularity::page ? "page granularity" : "line granularity", counts);
    }
}

TEST_CASE("failure: a log switch for which there is no space never gives up the log in use") {
    const Quiet quiet;
    // A log so large that its space would be used again at once, nearly full: the batch needs another one. What is
    // smaller still fits into the old one afterwards.
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        std::uint64_t failed = 0, went_on = 0;
        for (unsigned parts = 0; parts <= 2; ++parts)
            for (std::uint64_t k = 1;; ++k) {
                CrashOptions options = options_for("enospc-log", granularity);
                options.machine.seed = 3 * k + parts;
                options.images = 2;
                options.capacity = 1 << 20;
                options.log_size = 64 << 10;
                Refusals counts;
                const auto nearly_full = [](CrashRun& c) {
                    const std::string longest(1000, 'n');
                    for (int i = 0; i < 50; ++i) {
                        std::uint64_t used = 0;
                        c.inspect([&](Catalogue& catalogue) { used = catalogue.log_bytes(); });
                        if (used > (64 << 10) - 3000) break;
                        c.put(longest + std::to_string(i), 200);
                    }
                };
                const auto switches = [](CrashRun& c) {
                    std::vector<BatchOp> ops;
                    for (int i = 0; i < 12; ++i) ops.push_back({BatchOp::put, "batch" + std::to_string(i), "", 200});
                    c.batch(ops);
                    for (int i = 0; i < 4; ++i) {
                        c.put("small" + std::to_string(i), 40);
                        c.put("large" + std::to_string(i), 64 << 10);
                    }
                };
                if (!refuse_a_write(options, k, parts, nearly_full, switches, counts)) break;
                failed += counts.failed;
                went_on += counts.went_on;
            }
        MESSAGE(failed << " shelves are read-only since, " << went_on << " went on");
        CHECK(failed > 0);
        CHECK(went_on > 0);
    }
}

TEST_CASE("failure: coverage") { MESSAGE(coverage()); }
