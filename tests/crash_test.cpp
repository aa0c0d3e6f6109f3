// The shelf on simulated media with the power cut everywhere. How: sim/crash_run.hpp. A failure prints
// WORKLOAD/SEED:CUT:IMAGE; with PYMM_SIM_REPLAY set to it, that image alone is checked again.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "catalogue/commit.hpp"
#include "format/layout.hpp"
#include "sim/workloads.hpp"

using namespace pymm;
using namespace pymm::sim;

namespace {

using BatchOp = CrashRun::BatchOp;
using TxOp = CrashRun::TransactionOp;

void survives(const std::string& name, const Workload& workload, std::uint64_t images = 24,
              std::uint64_t log_size = 4096) {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for(name, granularity);
        options.images = images * (thorough() ? 10 : 1);
        options.log_size = log_size;
        CHECK(run(std::move(options), workload) == "");
    }
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

TEST_CASE("crash: a checksum is right or absent") {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for("checksums", granularity);
        options.images = 60 * (thorough() ? 10 : 1);
        options.checksum = true;
        CHECK(run(std::move(options), [](CrashRun& c) {
            furnish(c);
            c.store("c", 0, 5000, false);
            c.store("c", 64, 8, true);
            c.seal("c");
            c.put("v", 4096);
            c.reopen();
            c.store("v", 8, 16, false);  // the first commit of a session drops the claim
            c.put_staged("b", 9000, true);
            c.rename("b", "v");
            c.store("v", 1, 1, false);
            c.seal("v");
            c.batch({{BatchOp::rename, "v", "w", 0}, {BatchOp::put, "v", "", 700}, {BatchOp::erase, "c", "", 0}});
            c.store("v", 500, 100, true);
            // Claims dropped and seals set where the log ends.
            for (int i = 0; i < 30; ++i) {
                c.put("k" + std::to_string(i), 100);
                c.store("k" + std::to_string(i), 8, 8, i % 2 == 0);
                if (i % 3 == 0) c.seal("k" + std::to_string(i));
            }
        }) == "");
    }
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

// ---- Traps --------------------------------------------------------------------------------------

TEST_CASE("crash: a value that imitates the next commit is never taken for one") {
    // The value is, byte for byte, the commit that this incarnation of the log would write next: right
    // salt, right sequence, right checksum, on a cache line of the log. It erases a blob. A torn commit
    // that left only these lines behind must not be followed.
    for (const std::uint64_t ahead : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}}) {
        survives("forged-" + std::to_string(ahead), [ahead](CrashRun& c) {
            furnish(c);
            // Every alignment of the value in the log is tried, by names of different lengths.
            for (std::size_t pad = 0; pad < 64; pad += 8) {
                CommitBuilder forged;
                forged.erase("a");
                Value value;
                value.type = Type::value(Kind::bytes);
                c.inspect([&](Catalogue& catalogue) {
                    const auto record =
                        forged.finish(catalogue.sequence() + 1 + ahead, catalogue.root().log_salt, 1);
                    value.bytes.assign(record.begin(), record.end());
                });
                REQUIRE(value.bytes.size() <= format::kMaxInline);
                c.put("imitated" + std::string(pad, 'x'), value);
            }
            c.reopen();
        }, 40, 16 << 10);
    }
}

TEST_CASE("crash: space that a commit frees is not written to before the commit is durable") {
    survives("reuse", [](CrashRun& c) {
        // Nearly full, so that every put takes what the one before gave back.
        int i = 0;
        while (c.put("fill" + std::to_string(i), 30'000)) ++i;
        c.erase("fill0");
        c.erase("fill5");  // for the catalogue, which grows a little
        for (int k = 0; k < 12; ++k) {
            CHECK(c.put("moving", 25'000));
            c.batch({{BatchOp::erase, "moving", "", 0}, {BatchOp::put, "inline", "", 20}});
        }
        c.store("fill1", 0, 30'000, true);
        CHECK(c.put("fill1", 0));
        CHECK(c.put("fill2b", 29'000));
    }, 4);
}

// ---- Random sequences -----------------------------------------------------------------------------

TEST_CASE("crash: random sequences of operations") {
    // A step is three numbers; any three mean something, so that a failing sequence can be shortened.
    using Numbers = std::tuple<std::uint8_t, std::uint8_t, std::uint16_t>;
    const auto play = [](CrashRun& c, const std::vector<Numbers>& steps) {
        const auto nth = [&](std::uint64_t n) {
            auto it = c.state().begin();
            std::advance(it, static_cast<long>(n % c.state().size()));
            return it->first;
        };
        const auto name = [](std::uint64_t n) { return std::string(n % 3 != 0 ? "k" : "dir/k") + std::to_string(n % 12); };
        const auto size = [](std::uint64_t n) {
            static constexpr std::uint64_t sizes[] = {0, 1, 8, 63, 200, 256, 257, 700, 4032, 4096, 4097, 12'288, 40'000};
            return sizes[n % std::size(sizes)];
        };
        for (const auto& [what, which, much] : steps) {
            const bool some = !c.state().empty();
            const auto kept = [&](const std::string& blob) {
                const auto it = c.state().find(blob);
                return it != c.state().end() && it->second.sealed;
            };
            switch (what % 17) {
                case 0: case 1: case 2: if (!kept(name(which))) c.put(name(which), size(much)); break;
                case 3: if (!kept(name(which))) c.put_staged(name(which), size(much), much % 2 == 0); break;
                case 4: case 5: if (some) c.erase(nth(which)); break;
                case 6:
                    if (some) {
                        const std::string from = nth(which), to = much % 2 == 0 ? nth(much) : name(much);
                        if (from == to || !kept(to)) c.rename(from, to);
                    }
                    break;
                case 7: {
                    std::vector<BatchOp> ops;
                    for (std::uint64_t i = 0; i <= much % 5; ++i)
                        ops.push_back({BatchOp::put, name(which + i * 5), "", size(much / 5 + i)});
                    ops.push_back({BatchOp::rename, ops.front().name, name(much), 0});
                    if (some) ops.push_back({BatchOp::erase, name(much), "", 0});
                    const bool refused = std::any_of(ops.begin(), ops.end(), [&](const BatchOp& op) {
                        return op.what != BatchOp::erase && (kept(op.name) || (op.what == BatchOp::rename && kept(op.to)));
                    });
                    if (!refused) c.batch(ops);
                    break;
                }
                case 8: case 9:
                    if (some) {
                        const std::string blob = nth(which);
                        const Value& value = c.state().at(blob);
                        const std::uint64_t bytes = value.bytes.size();
                        if (bytes == 0 || value.type.kind == Kind::bytes || value.sealed) break;
                        const std::uint64_t offset = much % bytes;
                        c.store(blob, offset, 1 + (much / 7) % (bytes - offset), much % 3 != 0);
                    }
                    break;
                case 10: c.persist(); break;
                case 11: c.reopen(); break;
                case 12: if (some) c.seal(nth(which)); break;
                case 13: case 14:
                    if (some) {
                        const std::string blob = nth(which);
                        const Value& value = c.state().at(blob);
                        if (can_grow(value.type.kind) && !value.sealed) c.append(blob, size(much));
                    }
                    break;
                case 15: case 16: {
                    // A model of names is enough to say what is legal.
                    std::map<std::string, std::uint64_t> there;  // bytes that can be stored to
                    for (const auto& [blob, value] : c.state())
                        if (!value.sealed) there[blob] = value.type.kind == Kind::bytes ? 0 : value.bytes.size();
                    std::vector<TxOp> ops;
                    for (std::uint64_t i = 0; i <= much % 7; ++i) {
                        const std::uint64_t n = which + i * 37 + much / 7;
                        if (n % 4 == 0 && !kept(name(n))) {
                            ops.push_back({TxOp::put, name(n), "", 4000 + n % 500});
                            there[name(n)] = 0;  // what kind of value it becomes is not said here
                        }
                        if (there.empty()) continue;
                        auto it = there.begin();
                        std::advance(it, static_cast<long>(n % there.size()));
                        if (n % 4 == 1) {
                            ops.push_back({TxOp::erase, it->first, ""});
                            there.erase(it);
                        } else if (n % 4 == 2 && !kept(name(n)) && name(n) != it->first) {
                            ops.push_back({TxOp::rename, it->first, name(n)});
                            there[name(n)] = it->second;
                            there.erase(it);
                        } else if (n % 4 == 3 && it->second != 0) {
                            // Whole words: of one that is half in it the model knows no state in between.
                            const std::uint64_t offset = n % it->second / 8 * 8;
                            const std::uint64_t bytes = (n / 3 % (it->second - offset) + 8) / 8 * 8;
                            ops.push_back({TxOp::store, it->first, "", std::min(bytes, it->second - offset), offset, n % 5 == 0});
                        }
                    }
                    c.transaction(ops, much % 3 != 0);
                    break;
                }
            }
        }
    };
    CHECK(rc::check("every crash of every sequence leaves the old state or the new", [&] {
        const auto steps = *rc::gen::container<std::vector<Numbers>>(rc::gen::arbitrary<Numbers>());
        const bool page = *rc::gen::arbitrary<bool>();
        CrashOptions options = options_for("random", page ? Granularity::page : Granularity::cache_line);
        options.images = thorough() ? 60 : 10;
        const std::string problem = run(std::move(options), [&](CrashRun& c) { play(c, steps); });
        if (!problem.empty()) RC_FAIL(problem);
    }));
}

TEST_CASE("crash: coverage") { MESSAGE(coverage()); }
