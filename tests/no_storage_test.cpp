// Storage is refused at every place where some is asked for: an error of the right class, nothing acknowledged is
// lost, and the shelf is usable when there is some again.
#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "contents.hpp"
#include "memory_shelf.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

/// One step of the workload: on the shelf, and on the model once it has returned.
struct Step {
    const char* name;
    std::function<void(MemoryShelf&)> apply;
    std::function<void(Contents&)> expect;
};

Step put(const char* name, std::string blob, std::string value, Type type = Type::raw()) {
    return {name, [=](MemoryShelf& m) { m.shelf.put(blob, bytes_of(value), type); },
            [=](Contents& c) { c[blob] = value; }};
}

std::vector<Step> workload() {
    const Type bytes = Type::value(Kind::bytes);
    std::vector<Step> steps{
        put("put inline", "inline", "some text", bytes),
        put("put small", "small", filled(300, 1)),
        put("put pages", "pages", filled(9000, 2)),
        put("put large", "large", filled(2 << 20, 3)),
        put("replace", "small", filled(700, 4)),
        {"put staged",
         [](MemoryShelf& m) {
             Staged staged = m.shelf.stage(Type::raw(), 5000);
             const std::string value = filled(5000, 5);
             std::memcpy(staged.memory().data(), value.data(), value.size());
             m.shelf.put("staged", std::move(staged));
         },
         [](Contents& c) { c["staged"] = filled(5000, 5); }},
        {"batch",
         [=](MemoryShelf& m) {
             Batch b = m.shelf.batch();
             b.put("batch/1", bytes_of(filled(600, 6)));
             b.put("batch/2", bytes_of("two"), bytes);
             b.rename("small", "batch/small");
             b.erase("inline");
             b.commit();
         },
         [](Contents& c) {
             c["batch/1"] = filled(600, 6);
             c["batch/2"] = "two";
             c["batch/small"] = c["small"];
             c.erase("small");
             c.erase("inline");
         }},
        {"batch larger than the log",
         [=](MemoryShelf& m) {
             Batch b = m.shelf.batch();
             for (int i = 0; i < 60; ++i) b.put("many/" + std::to_string(i), bytes_of(filled(100, 7)), bytes);
             b.commit();
         },
         [](Contents& c) {
             for (int i = 0; i < 60; ++i) c["many/" + std::to_string(i)] = filled(100, 7);
         }},
        {"rename", [](MemoryShelf& m) { m.shelf.rename("pages", "renamed"); },
         [](Contents& c) {
             c["renamed"] = c["pages"];
             c.erase("pages");
         }},
        {"erase", [](MemoryShelf& m) { m.shelf.erase("batch/1"); }, [](Contents& c) { c.erase("batch/1"); }},
        {"seal", [](MemoryShelf& m) { m.shelf.seal("renamed"); }, [](Contents&) {}},
        {"store in place",
         [](MemoryShelf& m) {
             View view = m.shelf.get("staged", Access::write);
             std::memcpy(view.writable_bytes().data(), "stored", 6);
             view.persist();
         },
         [](Contents& c) { c["staged"].replace(0, 6, "stored"); }},
        {"checkpoint", [](MemoryShelf& m) { sim::inspect_shelf(m.shelf, [](Catalogue& c) { if (c.in_session()) c.checkpoint(); }); },
         [](Contents&) {}},
        {"close and open", [](MemoryShelf& m) { m.reopen(); }, [](Contents&) {}},
        put("put in the next session", "later", filled(400, 8)),
    };
    // Through many log switches, so that runs are merged, too.
    for (int i = 0; i < 60; ++i) {
        steps.push_back(put("wrap the log", "wrap/" + std::to_string(i % 7), filled(200 + static_cast<std::size_t>(i), 9),
                            i % 2 == 0 ? bytes : Type::raw()));
    }
    return steps;
}

struct Outcome {
    std::uint64_t calls = 0;
    std::uint64_t refused = 0;
    std::uint64_t threw = 0;
};

/// The workload with the k-th call refused (and with `for_good` all after it, until something threw).
Outcome run_with_refusal(std::uint64_t k, bool for_good, bool checksum) {
    MemoryShelf m(8 << 20, 4096, checksum);
    m.storage.refuse = k;
    m.storage.all_after = for_good;
    m.storage.calls = 0;
    Contents model;
    Outcome outcome;
    for (const Step& step : workload()) {
        CAPTURE(step.name);
        for (int tries = 0;; ++tries) {
            REQUIRE(tries < 2);
            try {
                step.apply(m);
                step.expect(model);
                break;
            } catch (const NoSpaceError&) {
                ++outcome.threw;
            }
            REQUIRE(m.shelf.is_open());
            REQUIRE(difference(m.shelf, model) == "");
            REQUIRE(m.check() == "");
            // What a process that dies here leaves, is found by the next one.
            {
                sim::SimLocks others;
                const Shelf reader = sim::open_shelf(std::make_unique<sim::MediaRef>(m.map),
                                                     std::make_unique<sim::MediaRef>(m.data), others, Mode::read_only);
                REQUIRE(difference(reader, model) == "");
            }
            // Space is back: the same step works.
            m.storage.all_after = false;
        }
    }
    outcome.calls = m.storage.calls;
    outcome.refused = m.storage.refused;
    m.storage.refuse = 0;
    REQUIRE(difference(m.shelf, model) == "");
    m.reopen();
    REQUIRE(difference(m.shelf, model) == "");
    REQUIRE(m.check() == "");
    for (const auto& [name, value] : model) REQUIRE_NOTHROW(m.shelf.erase(name));
    m.reopen();
    REQUIRE(m.shelf.size() == 0);
    REQUIRE(m.check() == "");
    return outcome;
}

}  // namespace

TEST_CASE("no storage, at each call that asks for some: the shelf is as before, and works when there is some") {
    for (const bool for_good : {false, true}) {
        CAPTURE(for_good);
        std::uint64_t places = 0, threw = 0;
        for (std::uint64_t k = 1;; ++k) {
            CAPTURE(k);
            const Outcome outcome = run_with_refusal(k, for_good, k % 2 == 0);
            if (outcome.refused == 0) break;
            ++places;
            threw += outcome.threw;
        }
        const std::string after = for_good ? ", and all after them" : "";
        MESSAGE(places << " calls refused" << after << ", one in each run: " << threw << " errors, each tried again");
        CHECK(places > 50);
        CHECK(threw > 20);
    }
}
