// The shelf on simulated media with the power cut everywhere. How: sim/crash_run.hpp. A failure prints
// WORKLOAD/SEED:CUT:IMAGE; with PYMM_SIM_REPLAY set to it, that image alone is checked again.
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

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

TEST_CASE("crash: totals") {
    MESSAGE(g_totals.cuts << " cut points, " << g_totals.images << " images, " << g_totals.written_again
                          << " of them written to again, " << g_totals.recuts << " recoveries cut, giving "
                          << g_totals.recut_images << " images; " << g_seconds << " s");
}
