// A real writer on a real directory, killed with SIGKILL at random moments, a thousand times with
// PYMM_TEST_LONG set. Everything it acknowledged must be there whole, nothing else half there, nothing leaked.
//
// Parent and child draw the same operations from the same seed; the child says through a pipe how far it
// came. PYMM_KILL_SEED repeats a run's choices (not its timing).
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <pymm/pymm.hpp>

#include "scratch.hpp"
#include "sim/crash_run.hpp"
#include "sim/image_shelf.hpp"

using namespace pymm;
using pymm::sim::make_value;
using pymm::sim::Value;

namespace {

/// A value is known by its size and seed.
struct Known {
    std::uint64_t size = 0;
    std::uint64_t seed = 0;
};
using Model = std::map<std::string, Known>;

struct Op {
    enum { put, erase, rename, reopen } what = put;
    std::string name;
    std::string to;
    Known value;
};

/// Draws the next operations; what is drawn depends on the seed and on the names that exist.
class Source {
public:
    explicit Source(std::uint64_t seed) : random_(seed) {}

    /// One operation, or several for a batch.
    std::vector<Op> next(Model model) {
        const std::uint64_t dice = random_() % 100;
        if (dice < 2) return {Op{Op::reopen, {}, {}, {}}};
        const std::size_t count = dice < 20 ? 2 + random_() % 5 : 1;
        std::vector<Op> ops;
        for (std::size_t i = 0; i < count; ++i) {
            ops.push_back(one(model));
            apply(model, ops.back());
        }
        return ops;
    }

    static void apply(Model& model, const Op& op) {
        if (op.what == Op::put) model[op.name] = op.value;
        if (op.what == Op::erase) model.erase(op.name);
        if (op.what == Op::rename && op.name != op.to) {
            model[op.to] = model.at(op.name);
            model.erase(op.name);
        }
    }

private:
    Op one(const Model& model) {
        const std::uint64_t dice = random_() % 10;
        if (model.size() < 10 || dice < 6) {
            static constexpr std::uint64_t sizes[] = {0, 1, 40, 256, 257, 1000, 4095, 4096, 5000, 70'000, 300'000};
            std::uint64_t size = sizes[random_() % std::size(sizes)];
            if (random_() % 60 == 0) size = 3 << 20;
            return {Op::put, new_name(), {}, {size, random_()}};
        }
        const std::string name = some_name(model);
        if (dice < 8 || model.size() > 60) return {Op::erase, name, {}, {}};
        return {Op::rename, name, random_() % 2 == 0 ? some_name(model) : new_name(), {}};
    }
    std::string new_name() {
        // Few enough that many puts replace.
        const std::uint64_t n = random_() % 80;
        return (n % 3 == 0 ? "dir/" : "n") + std::to_string(n);
    }
    std::string some_name(const Model& model) {
        auto it = model.begin();
        std::advance(it, static_cast<long>(random_() % model.size()));
        return it->first;
    }
    std::mt19937_64 random_;
};

void perform(Shelf& shelf, const std::string& directory, const std::vector<Op>& ops) {
    const auto value = [](const Op& op) { return make_value(op.value.size, op.value.seed); };
    if (ops.size() > 1) {
        Batch batch = shelf.batch();
        for (const Op& op : ops) {
            if (op.what == Op::put) {
                const Value v = value(op);
                batch.put(op.name, v.bytes, v.type);
            } else if (op.what == Op::erase) {
                batch.erase(op.name);
            } else {
                batch.rename(op.name, op.to);
            }
        }
        batch.commit();
        return;
    }
    const Op& op = ops.front();
    switch (op.what) {
        case Op::put: {
            const Value v = value(op);
            shelf.put(op.name, v.bytes, v.type);
            break;
        }
        case Op::erase: shelf.erase(op.name); break;
        case Op::rename: shelf.rename(op.name, op.to, true); break;
        case Op::reopen:
            shelf.close();
            shelf = Shelf::open(directory, "s");
            break;
    }
}

std::string difference(const Shelf& shelf, const Model& model) {
    sim::State state;
    for (const auto& [name, known] : model) state[name] = make_value(known.size, known.seed);
    return sim::compare(shelf, state);
}

std::string damage(const std::string& directory) {
    std::string text;
    for (const Finding& finding : check(directory, "s").findings)
        if (finding.severity == Severity::error) text += finding.message() + "; ";
    return text;
}

const char* environment(const char* name) {
    const char* text = std::getenv(name);
    return text != nullptr ? text : "";
}

struct Child {
    pid_t pid = -1;
    int acknowledgements = -1;
};

/// This executable again, as the writer below.
Child start_child(const std::string& directory, std::uint64_t seed) {
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    const std::string pipe_text = std::to_string(pipes[1]);
    const std::string seed_text = std::to_string(seed);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::close(pipes[0]);
        ::setenv("PYMM_KILL_PIPE", pipe_text.c_str(), 1);
        ::setenv("PYMM_KILL_DIRECTORY", directory.c_str(), 1);
        ::setenv("PYMM_KILL_CHILD_SEED", seed_text.c_str(), 1);
        ::execl("/proc/self/exe", "kill_test", "--test-case=kill: the writer", "--no-skip", "--minimal", nullptr);
        ::_exit(127);
    }
    ::close(pipes[1]);
    return {pid, pipes[0]};
}

}  // namespace

TEST_CASE("kill: the writer" * doctest::skip()) {
    const std::string pipe_text = environment("PYMM_KILL_PIPE");
    if (pipe_text.empty()) return;
    const int acknowledgements = std::stoi(pipe_text);
    const std::string directory = environment("PYMM_KILL_DIRECTORY");
    Source source(std::stoull(environment("PYMM_KILL_CHILD_SEED")));
    Shelf shelf = Shelf::open(directory, "s");
    Model model;  // names are enough to draw operations
    for (const BlobInfo& info : shelf.list()) model[info.name] = {};
    for (;;) {
        const std::vector<Op> ops = source.next(model);
        char answer = 'A';
        try {
            perform(shelf, directory, ops);
            for (const Op& op : ops) Source::apply(model, op);
        } catch (const NoSpaceError&) {
            answer = 'F';
        }
        if (::write(acknowledgements, &answer, 1) != 1) ::_exit(2);
    }
}

TEST_CASE("kill: a writer killed at any moment loses nothing that it acknowledged") {
    const test::Scratch scratch;
    const bool thorough = *environment("PYMM_TEST_LONG") != '\0';
    const int rounds = thorough ? 1000 : 100;
    const std::string given = environment("PYMM_KILL_SEED");
    const std::uint64_t seed = given.empty() ? std::random_device{}() : std::stoull(given);
    CAPTURE(seed);
    std::mt19937_64 random(seed);

    CreateOptions options;
    options.capacity = 32 << 20;
    options.log_size = 16 << 10;
    Namespace::open(scratch.path()).create("s", options).close();

    Model model;
    std::uint64_t acknowledged = 0;
    std::uint64_t refused = 0;
    std::uint64_t completed = 0;  // in flight when killed, and found done
    for (int round = 0; round < rounds; ++round) {
        CAPTURE(round);
        const std::uint64_t child_seed = random();
        const Child child = start_child(scratch.path(), child_seed);
        // After some operations, at any moment of the next; now and then while it still opens the shelf.
        std::string answers;
        const std::uint64_t operations = round % 10 == 9 ? 0 : 1 + random() % 25;
        char answer = 0;
        while (answers.size() < operations && ::read(child.acknowledgements, &answer, 1) == 1) answers += answer;
        REQUIRE(answers.size() == operations);
        ::usleep(static_cast<useconds_t>(random() % (round % 2 == 0 ? 400 : 20'000)));
        ::kill(child.pid, SIGKILL);
        int status = 0;
        REQUIRE(::waitpid(child.pid, &status, 0) == child.pid);
        REQUIRE(WIFSIGNALED(status));
        REQUIRE(WTERMSIG(status) == SIGKILL);
        char buffer[4096];
        for (ssize_t n; (n = ::read(child.acknowledgements, buffer, sizeof buffer)) > 0;)
            answers.append(buffer, static_cast<std::size_t>(n));
        ::close(child.acknowledgements);

        Source source(child_seed);
        for (const char said : answers) {
            const std::vector<Op> ops = source.next(model);
            ++(said == 'A' ? acknowledged : refused);
            if (said == 'A')
                for (const Op& op : ops) Source::apply(model, op);
        }
        Model after = model;
        for (const Op& op : source.next(model)) Source::apply(after, op);

        // Looked at before anything is written, and again after recovery has written.
        Shelf reader = Shelf::open(scratch.path(), "s", Mode::read_only);
        const std::string old_difference = difference(reader, model);
        if (!old_difference.empty()) {
            const std::string new_difference = difference(reader, after);
            CAPTURE(old_difference);
            REQUIRE(new_difference == "");
            model = after;
            ++completed;
        }
        REQUIRE(damage(scratch.path()) == "");
        reader.close();
        if (round % 4 == 0) {
            Shelf writer = Shelf::open(scratch.path(), "s");
            const Value value = make_value(3000, random());
            writer.put("parent", value.bytes, value.type);
            writer.erase("parent");
            REQUIRE(difference(writer, model) == "");
            REQUIRE(damage(scratch.path()) == "");
            writer.close();
        }
    }
    MESSAGE(rounds << " kills, " << acknowledged << " operations acknowledged, " << refused
                   << " refused for lack of space, " << completed << " in flight and found done");
    CHECK(acknowledged > static_cast<std::uint64_t>(rounds));
}
