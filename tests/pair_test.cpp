// A shelf's two files with the power cut, and the process killed, between any two system calls of making and
// erasing them. What can be left of files: sim/file_cut.hpp.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include <pymm/check.hpp>
#include <pymm/pymm.hpp>

#include "scratch.hpp"
#include "sim/file_cut.hpp"
#include "sim/workloads.hpp"

using namespace pymm;
using namespace pymm::sim;
using pymm::test::Scratch;

namespace {

const std::string kOld = "what the old shelf holds";
const std::string kCutShort = "the .map file is too short";

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

void make(const Namespace& ns, const std::string& value, bool force = false) {
    Shelf s = ns.create("s", {.capacity = min_capacity, .force = force});
    s.put("x", bytes_of(value), Type::value(Kind::bytes));
}

/// What the image holds under the name: "gone", "empty", or the value of its blob.
std::string found(const Namespace& ns) {
    for (const ShelfEntry& entry : ns.list()) {
        if (entry.name != "s") throw std::runtime_error("an unknown shelf " + entry.name);
        if (entry.problem == kCutShort) return kCutShort;
        if (!entry.problem.empty()) throw std::runtime_error("listed with a problem: " + entry.problem);
        const Shelf s = ns.shelf("s", Mode::read_only);
        if (s.size() == 0) return "empty";
        const View v = s.get("x");
        return {reinterpret_cast<const char*>(v.bytes().data()), v.bytes().size()};
    }
    return "gone";
}

struct Scenario {
    std::string name;
    std::function<void(const Namespace&)> before;
    std::function<void(const Namespace&)> act;
    std::set<std::string> during;  // what may be found while it runs
    std::string after;
    bool may_refuse = false;  // a lone .data with somebody's data is not made over without force
    std::function<void(FileCut&)> on = [](FileCut&) {};  // what the file system lacks
};

struct Totals {
    std::uint64_t cuts = 0, images = 0;
};

/// Empty, or what is wrong with an image.
std::string judge(const std::string& directory, const FileTree& tree, const std::set<std::string>& allowed,
                  bool may_refuse) {
    write_tree(directory, tree);
    std::string names;
    for (const auto& [name, file] : tree) names += " " + name + "(" + std::to_string(file.size) + ")";
    try {
        const Namespace ns = Namespace::open(directory);
        const std::string now = found(ns);
        if (!allowed.contains(now)) return "found '" + now + "' in" + names;
        // Whatever is there, the name can be used.
        if (now == kCutShort) {
            make(ns, "new", true);
        } else if (now == "gone") {
            try {
                make(ns, "new");
            } catch (const ExistsError&) {
                if (!may_refuse) return "not listed, but refused to be made anew:" + names;
                make(ns, "new", true);
            }
        } else {
            Shelf s = ns.shelf("s");
            s.put("x", bytes_of("new"), Type::value(Kind::bytes));
        }
        if (found(ns) != "new") return "written to, then not found:" + names;
        ns.erase("s");
        make(ns, "newer");
        if (found(ns) != "newer") return "made anew, then not found:" + names;
        const FileTree left = read_tree(directory);
        if (left.size() != 2) return "files are left over: " + std::to_string(left.size()) + " for" + names;
    } catch (const std::exception& error) {
        return std::string(error.what()) + ", with" + names;
    }
    return "";
}

void play(const Scenario& scenario, Totals& totals, std::vector<FileTree>* seen = nullptr) {
    INFO(scenario.name);
    const Scratch scratch;
    const std::string directory = scratch.path() + "/ns", other = scratch.path() + "/image";
    write_tree(directory, {});
    const Namespace ns = Namespace::open(directory);
    scenario.before(ns);

    // Looked at afterwards: while the call runs, it holds locks that opening another shelf wants.
    struct Left {
        std::string where;
        FileTree tree;
        bool done;
    };
    std::vector<Left> all;
    std::uint64_t cuts = 0;
    const auto cut = [&](const std::string& where, const FileCut& files, bool done) {
        const std::uint64_t seed = totals.cuts + ++cuts;
        for (FileTree& tree : files.images(thorough() ? 2000 : 40, seed)) all.push_back({where, std::move(tree), done});
        all.push_back({where, files.now(), done});
    };
    {
        FileCut* self = nullptr;
        FileCut files(directory, [&](const std::string& call) { cut("before " + call, *self, false); });
        self = &files;
        scenario.on(files);
        scenario.act(ns);
        cut("at the end", files, true);
    }
    CHECK(cuts > 3);  // the calls do come by here
    for (const Left& left : all) {
        const std::set<std::string> allowed = left.done ? std::set{scenario.after} : scenario.during;
        const std::string problem = judge(other, left.tree, allowed, scenario.may_refuse);
        INFO(left.where);
        REQUIRE(problem == "");
    }
    totals.cuts += cuts;
    totals.images += all.size();
    if (seen != nullptr)
        for (std::size_t i = 0; i < all.size(); i += 7) seen->push_back(std::move(all[i].tree));
}

const std::vector<Scenario>& scenarios() {
    static const auto nothing = [](const Namespace&) {};
    static const auto full = [](const Namespace& ns) { make(ns, kOld); };
    static const auto lost_map = [](const Namespace& ns) {
        full(ns);
        std::filesystem::remove(ns.path() + "/s.map");
    };
    static const auto short_map = [](const Namespace& ns) {
        full(ns);
        std::filesystem::resize_file(ns.path() + "/s.map", 100);
    };
    static const auto repair = [](const Namespace& ns) {
        CheckOptions options;
        options.repair = Repair::all;
        if (!check(ns.path(), "s", options).repaired) throw std::runtime_error("not repaired");
    };
    static const auto create = [](CreateOptions options) {
        options.capacity = min_capacity;
        return [options](const Namespace& ns) { (void)ns.create("s", options); };
    };
    static const std::vector<Scenario> all{
        {"create", nothing, create({}), {"gone", "empty"}, "empty"},
        {"create sparse", nothing, create({.sparse = true}), {"gone", "empty"}, "empty"},
        {"create in place of", full, create({.force = true}), {kOld, "gone", "empty"}, "empty", true},
        {"erase", full, [](const Namespace& ns) { ns.erase("s"); }, {kOld, "gone"}, "gone", true},
        {"create by a link", nothing, create({}), {"gone", "empty"}, "empty", false,
         [](FileCut& files) { files.lack_noreplace(false); }},
        {"create by a plain rename", nothing, create({}), {"gone", "empty"}, "empty", false,
         [](FileCut& files) { files.lack_noreplace(true); }},
        {"make a lost .map anew", lost_map, repair, {kOld, "gone"}, kOld, true},
        {"make a lost .map anew by a link", lost_map, repair, {kOld, "gone"}, kOld, true,
         [](FileCut& files) { files.lack_noreplace(false); }},
        {"make a lost .map anew by a plain rename", lost_map, repair, {kOld, "gone"}, kOld, true,
         [](FileCut& files) { files.lack_noreplace(true); }},
        {"write a .map anew that is too short", short_map, repair, {kOld, kCutShort}, kOld, true},
    };
    return all;
}

}  // namespace

TEST_CASE("pair: a shelf that is being made or erased is there or it is not") {
    Totals totals;
    for (const Scenario& scenario : scenarios()) play(scenario, totals);
    MESSAGE(totals.cuts << " cuts between system calls, " << totals.images << " states of the files");
}

TEST_CASE("pair: a .map that somebody else puts there is never replaced") {
    const std::string theirs = "another program's file";
    for (const bool repairing : {false, true}) {
        for (const char* at : {"renameat2", "linkat"}) {
            for (const bool links : {true, false}) {
                CAPTURE(repairing);
                CAPTURE(at);
                CAPTURE(links);
                const Scratch scratch;
                const Namespace ns = Namespace::open(scratch.path());
                const std::string map = scratch.path() + "/s.map";
                if (repairing) {
                    make(ns, kOld);
                    std::filesystem::remove(map);
                }
                bool came = false;
                FileCut files(scratch.path(), [&](const std::string& call) {
                    if (came || call != at) return;
                    came = true;
                    std::ofstream(map) << theirs;
                });
                if (std::string_view(at) == "linkat") files.lack_noreplace(!links);
                if (repairing) {
                    CheckOptions options;
                    options.repair = Repair::all;
                    CHECK_THROWS_AS((void)check(scratch.path(), "s", options), BusyError);
                } else {
                    CHECK_THROWS_AS((void)ns.create("s", {.capacity = min_capacity}), ExistsError);
                }
                CHECK(came);
                std::string text;
                std::getline(std::ifstream(map), text, '\0');
                CHECK(text == theirs);
                const FileTree left = read_tree(scratch.path());
                CHECK(left.size() == (repairing ? 2 : 1));
            }
        }
    }
}

TEST_CASE("pair: what a cut left behind is cleared away under another cut") {
    Totals first, second;
    std::vector<FileTree> left;
    play(scenarios().front(), first, &left);
    REQUIRE(left.size() > 3);
    const std::size_t step = thorough() ? 1 : left.size() / 6 + 1;
    for (std::size_t i = 0; i < left.size(); i += step) {
        const auto restore = [&](const Namespace& ns) {
            write_tree(ns.path(), left[i]);
            if (found(ns) != "gone") ns.erase("s");
        };
        play({"create over what a creation left", restore,
              [](const Namespace& ns) { (void)ns.create("s", {.capacity = min_capacity}); },
              {"gone", "empty"}, "empty"},
             second);
    }
    MESSAGE(second.cuts << " cuts between system calls, " << second.images << " states of the files");
}
