// The shelf on simulated media with the power cut everywhere. How: sim/crash_run.hpp. A failure prints
// WORKLOAD/SEED:CUT:IMAGE; with PYMM_SIM_REPLAY set to it, that image alone is checked again.
#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "format/superblock.hpp"
#include "sim/crash_run.hpp"

using namespace pymm;
using namespace pymm::sim;

namespace {

bool thorough() { return std::getenv("PYMM_LONG") != nullptr; }

CrashTotals g_totals;
double g_seconds = 0;

using Workload = std::function<void(CrashRun&)>;
using BatchOp = CrashRun::BatchOp;

/// Runs a workload with all checks; what the first wrong image showed, or nothing.
std::string run(CrashOptions options, const Workload& workload) {
    const auto start = std::chrono::steady_clock::now();
    CrashRun crash(std::move(options));
    workload(crash);
    std::string problem = crash.failure();
    if (problem.empty() && crash.shelf()) problem = crash.compare_now();
    g_totals += crash.totals();
    g_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return problem;
}

CrashOptions options_for(std::string name, Granularity granularity) {
    CrashOptions options;
    options.workload = std::move(name) + (granularity == Granularity::page ? "-page" : "-line");
    options.machine.granularity = granularity;
    return options;
}

void survives(const std::string& name, const Workload& workload, std::uint64_t images = 24,
              std::uint64_t log_size = 4096) {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for(name, granularity);
        options.images = images * (thorough() ? 10 : 1);
        options.log_size = log_size;
        CHECK(run(std::move(options), workload) == "");
    }
}

// A few blobs of each way of storing: inline, beside its header, on pages of its own.
void furnish(CrashRun& crash) {
    crash.put("a", 40);
    crash.put("b", 300);
    crash.put("c", 5000);
    crash.put("d/e", 8);
}

struct Step {
    const char* name;
    Workload apply;
};

/// Every operation there is, each legal on the furnished shelf and after any other of them.
const std::vector<Step>& steps() {
    static const std::vector<Step> all{
        {"put-inline", [](CrashRun& c) { c.put("new1", 50); }},
        {"put-small", [](CrashRun& c) { c.put("new2", 600); }},
        {"put-pages", [](CrashRun& c) { c.put("new3", 9000); }},
        {"put-empty", [](CrashRun& c) { c.put("new4", 0); }},
        {"replace-inline", [](CrashRun& c) { c.put("d/e", 16); }},
        {"replace-small", [](CrashRun& c) { c.put("a", 320); }},
        {"replace-pages", [](CrashRun& c) { c.put("a", 4096); }},
        {"staged", [](CrashRun& c) { c.put_staged("b", 4500, false); }},
        {"staged-memory", [](CrashRun& c) { c.put_staged("b", 700, true); }},
        {"erase", [](CrashRun& c) {
             if (c.state().count("c")) c.erase("c");
             else c.put("c", 4100);
         }},
        {"rename", [](CrashRun& c) {
             if (c.state().count("d/e")) c.rename("d/e", "f");
             else c.rename("f", "d/e");
         }},
        {"rename-over", [](CrashRun& c) {
             c.put("x", 4200);
             c.rename("x", "b");
         }},
        {"batch", [](CrashRun& c) {
             c.batch({{BatchOp::put, "m", "", 30},
                      {BatchOp::put, "n", "", 700},
                      {BatchOp::rename, "n", "a", 0},
                      {BatchOp::put, "o", "", 4096},
                      {BatchOp::put, "m", "", 5000},
                      {BatchOp::erase, "o", "", 0}});
         }},
        {"store", [](CrashRun& c) {
             c.put("v", 1000);
             c.store("v", 61, 200, true);
             c.store("v", 8, 8, false);
         }},
        {"persist", [](CrashRun& c) {
             c.put("w", 4500);
             c.store("w", 100, 3000, false);
             c.persist();
         }},
        {"reopen", [](CrashRun& c) { c.reopen(); }},
        {"wrap", [](CrashRun& c) {
             for (int i = 0; i < 24; ++i) c.put("wrap", 200);
         }},
    };
    return all;
}

}  // namespace

TEST_CASE("crash: every operation alone") {
    for (const Step& step : steps())
        survives(step.name, [&](CrashRun& c) {
            furnish(c);
            step.apply(c);
        }, 60);
}

TEST_CASE("crash: every ordered pair of operations") {
    for (const Step& first : steps())
        for (const Step& second : steps())
            survives(std::string(first.name) + "+" + second.name, [&](CrashRun& c) {
                furnish(c);
                first.apply(c);
                second.apply(c);
            }, 4);
}

TEST_CASE("crash: logs wrap, runs pile up and are merged") {
    survives("many", [](CrashRun& c) {
        for (int i = 0; i < 500; ++i) {
            c.put("name/" + std::to_string(i * 7 % 500), i % 5 == 0 ? 80u + static_cast<unsigned>(i) : 20u);
            if (i % 11 == 0) c.erase("name/" + std::to_string(i * 7 % 500));
        }
        c.reopen();
        for (int i = 0; i < 60; ++i) c.put("name/" + std::to_string(i), 24);
    }, 2);
}

TEST_CASE("crash: a commit larger than the log gets a log of its own") {
    survives("large-batch", [](CrashRun& c) {
        furnish(c);
        std::vector<BatchOp> ops;
        for (int i = 0; i < 100; ++i) ops.push_back({BatchOp::put, "big/" + std::to_string(i), "", 200});
        c.batch(ops);
        c.put("a", 40);
        c.batch(ops);
        c.reopen();
        c.put("a", 48);
    });
}

TEST_CASE("crash: names and types at their limits, values of 0 and 1 byte") {
    survives("limits", [](CrashRun& c) {
        const std::string longest(max_name_size, 'n');
        c.put(longest, 0);
        c.put(longest, 1);
        c.put(longest, 4095);
        c.rename(longest, std::string(max_name_size, 'm'));
        Value wide;
        wide.bytes = make_bytes(64, 1);
        wide.type = Type::array("[('" + std::string(3000, 'f') + "', '<f8')]", 8, {2, 2, 2});
        c.put("wide", wide);
        c.put("inline/255", 256);
        c.put("line", 64);
        c.put("page", 4096);
        c.reopen();
        c.put("wide", 1);
    });
}

TEST_CASE("crash: a full shelf refuses, loses nothing, and lets blobs be erased") {
    survives("full", [](CrashRun& c) {
        int i = 0;
        while (c.put("fill/" + std::to_string(i), 40'000)) ++i;
        REQUIRE(i > 10);
        while (c.put("small/" + std::to_string(i), 600) && i < 2000) ++i;
        c.put("fill/1", 40'000);
        for (int k = 0; k < 30; ++k) c.put("inline/" + std::to_string(k), 30);
        CHECK(c.compare_now() == "");
        for (int k = 0; k < 5; ++k) c.erase("fill/" + std::to_string(k));
        c.put("again", 100'000);
        c.reopen();
        c.put("again", 90'000);
    }, 2);
}

// ---- Negative controls --------------------------------------------------------------------------

namespace {

/// One of everything, with a checkpoint; each flush in it matters.
void everything(CrashRun& c) {
    furnish(c);
    for (const Step& step : steps())
        if (std::string_view(step.name) != "batch" && std::string_view(step.name) != "staged") step.apply(c);
    c.batch({{BatchOp::put, "m", "", 700}, {BatchOp::rename, "a", "n", 0}, {BatchOp::erase, "b", "", 0}});
    c.reopen();
    c.put("a", 50);
    c.close();
}

/// What nobody misses at once when it is left out. The second copy of a superblock only guards against
/// damage to the first; `used` in the data file's header only guides salvage.
bool redundant(const std::string& skipped) {
    return skipped.find("write of map+") != std::string::npos ||
           skipped.find("write of data+0,") != std::string::npos;
}

struct Control {
    std::uint64_t tried = 0;
    std::uint64_t caught = 0;
    std::vector<std::string> missed;  // the redundant ones not counted
};

/// Leaves each flush, or each drain, out once.
Control leave_out(std::uint64_t Options::* what, Granularity granularity) {
    const auto counted = [what](CrashRun& crash) {
        return what == &Options::skip_flush ? crash.machine().flushes() : crash.machine().drains();
    };
    CrashOptions options = options_for("control", granularity);
    options.images = 1;
    options.log_size = 32 << 10;  // checkpoints at sessions only: else their fences cover for others
    CrashRun counting(options);
    const std::uint64_t first = counted(counting) + 1;  // creation is not cut
    everything(counting);
    REQUIRE(counting.failure() == "");
    const std::uint64_t last = counted(counting);

    options.images = 24;
    options.write_again_every = 4;
    options.recut_every = 0;
    Control control;
    for (std::uint64_t k = first; k <= last; ++k) {
        options.machine.*what = k;
        CrashRun crash(options);
        everything(crash);
        g_totals += crash.totals();
        ++control.tried;
        if (!crash.failure().empty()) ++control.caught;
        else if (!redundant(crash.machine().skipped())) control.missed.push_back(crash.machine().skipped());
    }
    return control;
}

void report(const std::string& what, const Control& control) {
    MESSAGE(what << " left out: " << control.tried << ", caught: " << control.caught);
    for (const std::string& missed : control.missed) MESSAGE("not caught: " << missed);
    CHECK(control.missed.empty());
    CHECK(control.caught * 10 >= control.tried * 8);
}

/// What a recovery without checksums would take for a commit: makes the checksum right of whatever
/// looks like the next one.
void mend_checksums(Image& image) {
    std::byte* data = image.media[1].data();
    const auto root = format::choose_superblock(image.media[0]).best;
    if (!root) return;
    std::uint64_t at = root->log_offset;
    const std::uint64_t end = at + root->log_size;
    for (std::uint64_t sequence = root->sequence + 1; at + sizeof(format::CommitHeader) <= end; ++sequence) {
        format::CommitHeader header;
        std::memcpy(&header, data + at, sizeof header);
        if (header.magic != format::kCommitMagic || header.salt != root->log_salt ||
            header.sequence != sequence || header.size < sizeof header || header.size > end - at)
            return;
        header.crc = 0;
        std::memcpy(data + at, &header, sizeof header);
        header.crc = crc32c(data + at, header.size);
        std::memcpy(data + at, &header, sizeof header);
        at += (header.size + format::kLine - 1) / format::kLine * format::kLine;
    }
}

}  // namespace

TEST_CASE("crash: each flush or fence left out is caught") {
    report("line granularity: flushes", leave_out(&Options::skip_flush, Granularity::cache_line));
    report("line granularity: fences", leave_out(&Options::skip_drain, Granularity::cache_line));
    report("page granularity: syncs", leave_out(&Options::skip_flush, Granularity::page));
}

TEST_CASE("crash: a recovery without checksums is caught") {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for("no-checksum", granularity);
        options.tamper = mend_checksums;
        const std::string caught = run(options, everything);
        CHECK(caught != "");
        MESSAGE(caught);
    }
}

TEST_CASE("crash: superblocks that do not alternate are caught") {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for("one-superblock", granularity);
        options.one_superblock = true;
        const std::string caught = run(options, everything);
        CHECK(caught != "");
        MESSAGE(caught);
    }
}

// ---- Failing media ------------------------------------------------------------------------------

TEST_CASE("crash: after a sync has failed the shelf is read-only and what it acknowledged is there") {
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
        g_totals += crash.totals();
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

// ---- Death of the process before the power goes -------------------------------------------------

TEST_CASE("crash: a process dies, another goes on, then the power goes") {
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
                g_totals += crash.totals();
            }
        }
    }
    MESSAGE(deaths << " deaths");
}

TEST_CASE("crash: totals") {
    MESSAGE(g_totals.cuts << " cut points, " << g_totals.images << " images, " << g_totals.written_again
                          << " of them written to again, " << g_totals.recuts << " recoveries cut, giving "
                          << g_totals.recut_images << " images; " << g_seconds << " s");
}
