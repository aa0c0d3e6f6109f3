#include "sim/workloads.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string_view>

namespace pymm::sim {

namespace {
CrashTotals g_totals;
using Clock = std::chrono::steady_clock;
const Clock::time_point g_start = Clock::now();
using BatchOp = CrashRun::BatchOp;
using TxOp = CrashRun::TransactionOp;
}  // namespace

bool thorough() { return std::getenv("PYMM_TEST_LONG") != nullptr; }

CrashOptions options_for(std::string name, Granularity granularity) {
    CrashOptions options;
    options.workload = std::move(name) + (granularity == Granularity::page ? "-page" : "-line");
    options.machine.granularity = granularity;
    // One of each pair of workloads, always the same: a failure's id has to replay it.
    options.checksum = std::accumulate(options.workload.begin(), options.workload.end(), 0) % 2 != 0;
    return options;
}

std::string run(CrashOptions options, const Workload& workload) {
    CrashRun crash(std::move(options));
    workload(crash);
    std::string problem = crash.failure();
    if (problem.empty() && crash.shelf()) problem = crash.compare_now();
    add(crash.totals());
    return problem;
}

void add(const CrashTotals& totals) { g_totals += totals; }

std::string coverage() {
    const auto n = [](std::uint64_t count, const char* what) { return std::to_string(count) + what; };
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.1f s", std::chrono::duration<double>(Clock::now() - g_start).count());
    return n(g_totals.cuts, " cut points, ") + n(g_totals.images, " images, ") +
           n(g_totals.written_again, " of them written to again, ") + n(g_totals.recuts, " recoveries cut, giving ") +
           n(g_totals.recut_images, " images more, ") + seconds;
}

void furnish(CrashRun& crash) {
    crash.put("a", 40);
    crash.put("b", 300);
    crash.put("c", 5000);
    crash.put("d/e", 8);
}

namespace {
Value raw(std::uint64_t size, std::uint64_t seed) {
    Value value;
    value.bytes = make_bytes(size, seed);
    return value;
}
}  // namespace

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
        {"transaction", [](CrashRun& c) {
             c.put("y", 5000);
             c.put("z", 700);
             c.store("y", 0, 8, true);
             c.store("z", 0, 8, true);
             c.transaction({{TxOp::store, "y", "", 3000, 64, false},
                            {TxOp::put, "p", "", 600},
                            {TxOp::store, "z", "", 8, 16, true},
                            {TxOp::store, "y", "", 8, 4000, true},
                            {TxOp::put, "q", "", 30},
                            {TxOp::rename, "z", "r", 0}}, true);
             c.transaction({{TxOp::erase, "p", "", 0}, {TxOp::rename, "r", "z", 0}, {TxOp::rename, "q", "r", 0}}, true);
             // To what it has put itself: in its extent, to a larger one, in that. 604 bytes are never an array of 8.
             c.transaction({{TxOp::put, "p", "", 604}, {TxOp::append, "p", "", 20}, {TxOp::append, "p", "", 700},
                            {TxOp::append, "p", "", 61}}, true);
         }},
        {"rollback", [](CrashRun& c) {
             c.put("y", 5000);
             c.put("z", 700);
             c.store("y", 8, 40, false);
             c.transaction({{TxOp::store, "y", "", 4500, 100, true},
                            {TxOp::erase, "y", "", 0},
                            {TxOp::put, "y", "", 4500},
                            {TxOp::store, "z", "", 20, 100, false}}, false);
             c.store("z", 100, 8, true);
             // Stores to what the transaction has put itself, which are flushed twice where its header is near.
             c.transaction({{TxOp::put, "p", "", 600}, {TxOp::store, "p", "", 100, 48, false}}, true);
         }},
        {"seal", [](CrashRun& c) {
             if (c.state().count("s")) c.erase("s");
             c.put("s", 5000);
             c.store("s", 100, 3000, false);
             c.seal("s");
         }},
        {"seal-inline", [](CrashRun& c) {
             if (c.state().count("t")) c.erase("t");
             Value value;
             value.type = Type::value(Kind::bytes);
             value.bytes = make_bytes(20, 5);
             c.put("u", value);
             c.seal("u");
             c.rename("u", "t");
         }},
        {"append", [](CrashRun& c) {
             // No new header comes to lie in a sector of its data, whose sync would be one of that sector, too.
             c.put("p", raw(1000, 11));
             c.put("pad", raw(600, 10));
             c.append("p", 20);    // beside its header, behind its last byte
             c.append("p", 700);   // to pages of its own
             c.append("p", 61);    // behind its last byte, again
             c.append("p", 6000);  // past the end of what is there
         }},
        {"append-inline", [](CrashRun& c) {
             c.put("q", raw(0, 12));
             c.append("q", 8);
             c.append("q", 4096);
         }},
        {"append-rows", [](CrashRun& c) {
             Value value;
             value.type = Type::array("<f8 grows", 8, {520});
             value.bytes = make_bytes(4160, 13);
             c.put("r", value);
             c.store("r", 64, 64, false);
             c.append("r", 800);
             c.store("r", 4100, 500, true);
             c.append("r", 9000);
         }},
        {"replace-same", [](CrashRun& c) {
             c.put("z", raw(5000, 14));
             c.replace("z", 9000);
             c.append("z", 100);
             c.replace("z", 30);
             c.replace("z", 700);
         }},
        {"reopen", [](CrashRun& c) { c.reopen(); }},
        {"wrap", [](CrashRun& c) {
             for (int i = 0; i < 24; ++i) c.put("wrap", 200);
         }},
    };
    return all;
}

void everything(CrashRun& c) {
    furnish(c);
    for (const Step& step : steps()) {
        const std::string_view name = step.name;
        // These fence twice what one fence would do for.
        const bool twice = name == "batch" || name == "staged" || name == "replace-same" || name == "transaction" ||
                           name == "rollback";
        if (!twice) step.apply(c);
    }
    c.batch({{BatchOp::put, "m", "", 700}, {BatchOp::rename, "a", "n", 0}, {BatchOp::erase, "b", "", 0}});
    c.reopen();
    c.put("a", 50);
    c.close();
}

namespace {

void furnish_with_stores(CrashRun& c) {
    furnish(c);
    c.put("y", 5000);
    c.store("y", 0, 8, true);
    c.store("b", 0, 8, true);
}

}  // namespace

void transact(CrashRun& c) {
    furnish_with_stores(c);
    c.transaction({{TxOp::store, "y", "", 3000, 64, false},
                   {TxOp::store, "b", "", 8, 16, true},
                   {TxOp::store, "y", "", 8, 4000, true},
                   {TxOp::rename, "b", "r", 0}}, true);
    c.transaction({{TxOp::put, "p", "", 600}, {TxOp::erase, "a", "", 0}, {TxOp::rename, "r", "a", 0}}, true);
    c.put("x", 50);
}

void roll_back(CrashRun& c) {
    furnish_with_stores(c);
    c.transaction({{TxOp::store, "y", "", 4500, 100, true},
                   {TxOp::erase, "a", "", 0},
                   {TxOp::store, "b", "", 20, 100, false}}, false);
    c.store("b", 100, 8, true);
    c.put("a", 50);
}

}  // namespace pymm::sim
