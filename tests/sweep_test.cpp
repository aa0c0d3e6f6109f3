// The byte-flip sweep: every byte of a shelf's structures is damaged, one at a time, and the shelf opened, listed
// and read whole: the right data, or an error that names the damage; never anything else. A part of the damaged
// shelves is written to as well. Then the same with the checksums made right, where anything may be read but
// nothing may crash.
#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "catalogue/catalogue.hpp"
#include "check/checker.hpp"
#include "format/layout.hpp"
#include "sim/image_shelf.hpp"
#include "sim/ram_media.hpp"
#include "specimen/anatomy.hpp"
#include "specimen/checksums.hpp"
#include "specimen/exercise.hpp"
#include "specimen/specimen.hpp"

using namespace pymm;
using namespace pymm::test;
using sim::State;

namespace {

bool thorough() { return std::getenv("PYMM_TEST_LONG") != nullptr; }

enum class Verdict { right, previous, error, wrong };

struct Outcome {
    Verdict verdict = Verdict::wrong;
    std::string text;  // of the error, or what was wrong
};

Shelf open(ShelfImage& image, sim::SimLocks& locks, Mode mode) {
    auto spans = image.spans();
    return sim::open_image(spans, locks, Granularity::cache_line, mode);
}

/// All that a reader can ask; empty when it is as the model says.
std::string read_whole(const Shelf& shelf, const State& model) {
    std::string problem = sim::compare(shelf, model);
    // Names that are not there: through filters and indexes, at each end and in the middle.
    for (const char* absent : {"a", "often/10", "zzzz", "gone"})
        if (problem.empty() && model.count(absent) == 0 && shelf.find(absent))
            problem = std::string("found '") + absent + "'";
    (void)shelf.stat();
    return problem;
}

/// Which of the two states the image reads as.
Outcome look(ShelfImage& image, const Specimen& of, Mode mode) {
    try {
        sim::SimLocks locks;
        const Shelf shelf = open(image, locks, mode);
        std::string problem = read_whole(shelf, of.model);
        if (problem.empty()) return {Verdict::right, {}};
        if (of.before_last && read_whole(shelf, *of.before_last).empty()) return {Verdict::previous, {}};
        return {Verdict::wrong, std::move(problem)};
    } catch (const Error& error) {
        if (error.code() == Code::corrupt || error.code() == Code::version) return {Verdict::error, error.what()};
        return {Verdict::wrong, std::string("another class of error: ") + error.what()};
    }
}

/// Writes to a damaged image: every step does what it says or throws, and what is found afterwards is what the
/// steps that returned have left, or an error.
Outcome write_to(ShelfImage image, State state) {
    struct Step {
        std::function<void(Shelf&)> apply;
        std::function<void(State&)> model;
    };
    const auto put = [](const std::string& name, std::uint64_t size) {
        const sim::Value value = sim::make_value(size, 99);
        return Step{[=](Shelf& s) { s.put(name, value.bytes, value.type); }, [=](State& m) { m[name] = value; }};
    };
    std::vector<Step> steps{put("w/inline", 20), put("w/small", 900), put("w/pages", 5000)};
    if (state.count("pages") && state.count("small")) {
        steps.push_back(put("pages", 6000));
        steps.push_back({[](Shelf& s) { s.erase("small"); }, [](State& m) { m.erase("small"); }});
    }
    for (int i = 0; i < 20; ++i) steps.push_back(put("w/" + std::to_string(i), 200));  // fills the log
    std::optional<State> other;  // where a step threw: perhaps it is done all the same
    std::string thrown;
    try {
        sim::SimLocks locks;
        Shelf shelf = open(image, locks, Mode::read_write);
        for (const Step& step : steps) {
            other = state;
            step.model(*other);
            step.apply(shelf);
            state = std::exchange(other, {}).value();
        }
        if (std::string problem = read_whole(shelf, state); !problem.empty()) return {Verdict::wrong, "after writing: " + problem};
        shelf.close();
    } catch (const Error& error) {
        thrown = error.what();
    }
    try {
        sim::SimLocks locks;
        const Shelf shelf = open(image, locks, Mode::read_only);
        std::string problem = read_whole(shelf, state);
        if (!problem.empty() && other && read_whole(shelf, *other).empty()) problem.clear();
        if (!problem.empty()) return {Verdict::wrong, "opened after writing: " + problem + (thrown.empty() ? "" : " (thrown: " + thrown + ")")};
    } catch (const Error& error) {
        return {Verdict::error, error.what()};
    }
    return {thrown.empty() ? Verdict::right : Verdict::error, thrown};
}

/// What fsck says, without repair, reading all data.
struct Fsck {
    bool errors = false;
    std::string text;  // of all findings, notes too
};

Fsck fsck(ShelfImage& image) {
    sim::RamMedia map("map", image.map, Granularity::cache_line, false), data("data", image.data, Granularity::cache_line, false);
    CheckOptions options;
    options.scrub = true;
    const CheckReport report = check_media({map, data, nullptr, false, {}}, options);
    Fsck said{report.uncorrected() != 0, {}};
    for (const Finding& finding : report.findings) said.text += finding.message() + "\n";
    return said;
}

/// One way to damage: `size` bytes at `at` become others. False where that changes nothing.
bool damage(std::byte* at, int way) {
    std::uint64_t word;
    std::memcpy(&word, at, way < 9 ? 1 : 8);
    const std::uint64_t old = word;
    switch (way) {
        case 0: *at ^= std::byte{0xff}; return true;
        case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: *at ^= std::byte(1u << (way - 1)); return true;
        case 9: word = 0; break;
        case 10: word = ~std::uint64_t{0}; break;
        case 11: word = old + 1; break;
        default: word = old - 1;
    }
    std::memcpy(at, &word, 8);
    return word != old;
}

constexpr int kFirstWordWay = 9, kWays = 12;

struct Row {
    std::uint64_t tried = 0, right = 0, previous = 0, error = 0;
    std::uint64_t checked = 0, found = 0;  // by fsck

    Row& operator+=(const Row& r) {
        tried += r.tried, right += r.right, previous += r.previous, error += r.error;
        checked += r.checked, found += r.found;
        return *this;
    }
};
using Table = std::array<Row, static_cast<std::size_t>(Part::count)>;

void print(const char* title, const Table& table) {
    std::printf("%s\n%-26s %9s %11s %12s %13s %10s %11s\n", title, "", "damages", "right data", "clean error", "state before",
                "fsck runs", "fsck finds");
    for (std::size_t i = 0; i < table.size(); ++i) {
        const Row& r = table[i];
        if (r.tried == 0) continue;
        const auto n = [](std::uint64_t v) { return static_cast<unsigned long>(v); };
        std::printf("%-26s %9lu %11lu %12lu %13lu %10lu %11lu\n", part_name(static_cast<Part>(i)), n(r.tried), n(r.right), n(r.error),
                    n(r.previous), n(r.checked), n(r.found));
    }
    std::fflush(stdout);
}

/// What is known not to be told from sound bytes, part by part; anything else must be an error.
bool may_go_unseen(Part part) {
    switch (part) {
        case Part::superblock_0:  // the other copy holds the same
        case Part::superblock_1:
        case Part::data_header:        // magic and uuid are checked; the rest repeats the superblock
        case Part::data_header_used:   // only asked by who finds no .map
        case Part::extent_header:      // repeats the entry, for salvage
        case Part::extent_update:      // reserved
        case Part::filter_page:        // read by look-ups of names that fall into the damaged page only, and the rest
        case Part::index_page:         // of a run is read by writers only
        case Part::space_page: return true;
        default: return !is_live(part);
    }
}

bool is_page(Part part) { return part >= Part::run_header && part <= Part::space_page; }

/// Fsck has to find damage to all that is live, but for what no checksum covers and nobody reads.
bool fsck_may_miss(Part part) {
    return !is_live(part) || part == Part::extent_update || part == Part::data_header_used;
}

struct Sweep {
    Specimen specimen;
    Anatomy anatomy;
    Fsck sound;
    Table table{};
    std::uint64_t number = 0, written = 0, failures = 0;

    explicit Sweep(Specimen s) : specimen(std::move(s)), anatomy(dissect(specimen.image)), sound(fsck(specimen.image)) {}

    void run() {
        file(specimen.image.map, anatomy.map, "map");
        file(specimen.image.data, anatomy.data, "data");
    }

    void file(PageBytes& bytes, const std::vector<Part>& parts, const char* name) {
        for (std::uint64_t at = 0; at < bytes.size() && failures < 20; ++at) {
            const Part part = parts[at];
            if (part == Part::blob_data) continue;
            // What nothing refers to is looked at here and there.
            if (!is_live(part) && part != Part::live_page && at % 61 != 0 && !thorough()) continue;
            for (int way = 0; way < kWays; ++way) {
                if (way >= kFirstWordWay && at % 8 != 0) continue;
                // Under one checksum for the whole page, two damages a word will do.
                if (is_page(part) && way == 0 && at % 5 != 0 && !thorough()) continue;
                if (is_page(part) && way > 0 && way < kFirstWordWay && at % 7 != 0 && !thorough()) continue;
                if (way > 0 && way < kFirstWordWay && !thorough() && static_cast<int>(at % 8) + 1 != way) continue;
                one(bytes.data() + at, part, way, name, at);
            }
        }
    }

    void one(std::byte* at, Part part, int way, const char* name, std::uint64_t offset) {
        std::byte saved[8];
        const std::size_t size = way >= kFirstWordWay ? 8 : 1;
        std::memcpy(saved, at, size);
        if (!damage(at, way)) return;
        Row& row = table[static_cast<std::size_t>(part)];
        ++row.tried;
        const Outcome seen = look(specimen.image, specimen, ++number % 4 == 0 ? Mode::read_write : Mode::read_only);
        bool good = true;
        switch (seen.verdict) {
            case Verdict::right: ++row.right, good = may_go_unseen(part); break;
            case Verdict::error: ++row.error, good = is_live(part); break;
            case Verdict::previous: ++row.previous, good = part == Part::last_commit; break;
            case Verdict::wrong: good = false; break;
        }
        if (good && number % (thorough() ? 7 : 97) == 0) {
            ++row.checked;
            const Fsck said = fsck(specimen.image);
            // A sound image that was not closed has notes of its own.
            const bool found = said.text != sound.text;
            row.found += found;
            if (!found && !fsck_may_miss(part)) fail({seen.verdict, "fsck finds nothing"}, part, way, name, offset);
            // No false alarm about bytes that mean nothing.
            if (said.errors && !is_live(part)) fail({seen.verdict, "fsck: " + said.text}, part, way, name, offset);
        }
        if (good && number % (thorough() ? 5 : 41) == 0 && seen.verdict != Verdict::error) {
            ++written;
            const Outcome after = write_to(specimen.image, seen.verdict == Verdict::previous ? *specimen.before_last : specimen.model);
            good = after.verdict != Verdict::wrong;
            if (!good) fail(after, part, way, name, offset);
        } else if (!good) {
            fail(seen, part, way, name, offset);
        }
        std::memcpy(at, saved, size);
    }

    void fail(const Outcome& outcome, Part part, int way, const char* name, std::uint64_t offset) {
        ++failures;
        FAIL_CHECK(specimen.name << ": " << name << " at " << offset << " (" << part_name(part) << "), damage " << way << ": verdict "
                                 << static_cast<int>(outcome.verdict) << " " << outcome.text);
    }
};

}  // namespace

TEST_CASE("specimens are sound and hold every structure") {
    std::array<std::uint64_t, static_cast<std::size_t>(Part::count)> bytes{};
    for (Specimen& s : all_specimens()) {
        CAPTURE(s.name);
        for (const Mode mode : {Mode::read_only, Mode::read_write}) CHECK(look(s.image, s, mode).verdict == Verdict::right);
        const Fsck said = fsck(s.image);  // at most that it was not closed, and of a tail
        CHECK_MESSAGE(!said.errors, said.text);
        const Outcome written = write_to(s.image, s.model);
        CHECK(written.text == "");
        CHECK(written.verdict == Verdict::right);
        const Anatomy anatomy = dissect(s.image);
        for (const Part p : anatomy.map) ++bytes[static_cast<std::size_t>(p)];
        for (const Part p : anatomy.data) ++bytes[static_cast<std::size_t>(p)];
        CHECK((anatomy.commits != 0) == s.before_last.has_value());
        CHECK(anatomy.commits == (s.name == "open" ? 11 : s.name == "small" || s.name == "checksum" ? 3 : 0));
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        CAPTURE(part_name(static_cast<Part>(i)));
        CHECK(bytes[i] != 0);
    }
}

TEST_CASE("every byte of every structure") {
    Table sum{};
    std::uint64_t number = 0, written = 0;
    for (Specimen& s : all_specimens()) {
        Sweep sweep(std::move(s));
        sweep.run();
        for (std::size_t i = 0; i < sum.size(); ++i)
            sum[i] += sweep.table[i];
        number += sweep.number;
        written += sweep.written;
    }
    print("damage to one byte or word", sum);
    std::printf("%lu damages, %lu of the shelves written to\n", static_cast<unsigned long>(number), static_cast<unsigned long>(written));
}

TEST_CASE("both superblocks damaged: refused, whatever the damage") {
    Specimen s = clean_specimen();
    for (std::uint64_t at = 0; at < format::kSuperblockSize; at += thorough() ? 1 : 7) {
        std::byte* const copies[] = {s.image.map.data() + at, s.image.map.data() + format::kSuperblockSize + at};
        for (std::byte* b : copies) *b ^= std::byte{0x10};
        const Outcome seen = look(s.image, s, Mode::read_only);
        CAPTURE(at);
        CHECK(seen.verdict == Verdict::error);
        CHECK(seen.text.find("no usable superblock") != std::string::npos);
        for (std::byte* b : copies) *b ^= std::byte{0x10};
    }
}

TEST_CASE("the checksums made right: an error or some data, never a crash") {
    std::uint64_t number = 0, opened = 0;
    for (Specimen& s : all_specimens()) {
        const Anatomy anatomy = dissect(s.image);
        ShelfImage image;
        const auto sweep = [&](PageBytes ShelfImage::*file, const std::vector<Part>& parts, const PageBytes& sound) {
            for (std::uint64_t at = 0; at < sound.size(); at += 8) {
                const Part part = parts[at];
                if (!is_live(part) || part == Part::blob_data || part == Part::filter_page) continue;
                std::uint64_t word;
                std::memcpy(&word, sound.data() + at, 8);
                const std::uint64_t capacity = s.image.data.size();
                const std::uint64_t values[] = {0, ~std::uint64_t{0}, word + 1, word - 1, word << 32 | word >> 32, word ^ 1ull << 31,
                                                word ^ 0xff, capacity, capacity - 64, word + (1ull << 32), 1ull << 63, word * 2};
                // All of it for what the superblocks say; elsewhere a part, of long rows of zeros and of names a smaller one.
                const bool root = part == Part::superblock_1 && word != 0;
                const bool field = word != 0 && part != Part::leaf_page;
                for (std::size_t i = 0; i < std::size(values); ++i) {
                    if (!thorough() && (part == Part::superblock_0 || (!root && (i + at / 8) % (field ? 17 : 53) != 0))) continue;
                    if (values[i] == word) continue;
                    image = s.image;
                    std::memcpy((image.*file).data() + at, &values[i], 8);
                    // A superblock counts only if it is the newer one or both say the same.
                    if (part == Part::superblock_0)
                        std::memcpy(image.map.data() + format::kSuperblockSize, image.map.data(), format::kSuperblockSize);
                    if (part == Part::superblock_1)
                        std::memcpy(image.map.data(), image.map.data() + format::kSuperblockSize, format::kSuperblockSize);
                    fix_checksums(image.map, image.data);
                    CAPTURE(s.name);
                    CAPTURE(part_name(part));
                    CAPTURE(at);
                    CAPTURE(values[i]);
                    try {
                        const Exercise half = number % 2 != 0 ? Exercise::repair_only : Exercise::write_only;
                        opened += exercise(image, thorough() ? Exercise::all : half).opened;
                    } catch (const std::exception& e) {
                        FAIL_CHECK("threw " << e.what());
                    }
                    ++number;
                }
            }
        };
        sweep(&ShelfImage::map, anatomy.map, s.image.map);
        sweep(&ShelfImage::data, anatomy.data, s.image.data);
    }
    MESSAGE(number << " hostile shelves, " << opened << " of them opened");
    CHECK(opened != 0);
    CHECK(opened < number);
}

TEST_CASE("damage beside a live writer: what it acknowledged, or an error") {
    Specimen s = open_specimen();
    sim::SimLocks locks;
    Shelf writer = open(s.image, locks, Mode::read_write);
    std::vector<State> acknowledged{s.model};  // oldest first
    for (int i = 0; i < 5; ++i) {
        const std::string name = "live/" + std::to_string(i);
        const sim::Value value = sim::make_value(i == 3 ? 700 : 30, 500 + static_cast<std::uint64_t>(i));
        writer.put(name, value.bytes, value.type);
        State next = acknowledged.back();
        next[name] = value;
        acknowledged.push_back(std::move(next));
    }
    std::uint64_t log = 0, log_bytes = 0;
    sim::inspect_shelf(writer, [&](Catalogue& c) { log = c.root().log_offset, log_bytes = c.log_bytes(); });
    REQUIRE(log_bytes != 0);
    std::uint64_t right = 0, errors = 0, older = 0;
    const auto one = [&](std::byte* at, int way, bool live_page) {
        std::byte saved[8];
        std::memcpy(saved, at, way >= kFirstWordWay ? 8 : 1);
        if (!damage(at, way)) return;
        try {
            const Shelf reader = open(s.image, locks, Mode::read_only);
            std::string problem = read_whole(reader, acknowledged.back());
            if (problem.empty()) ++right;
            else {
                // What the live page says holds back what may not be durable yet: less may be seen, no more.
                bool known = false;
                for (const State& state : acknowledged) known = known || read_whole(reader, state).empty();
                ++older;
                if (!live_page || !known) FAIL_CHECK("byte " << (at - s.image.data.data()) << ", damage " << way << ": " << problem);
            }
        } catch (const Error& error) {
            CHECK(error.code() == Code::corrupt);
            ++errors;
        }
        std::memcpy(at, saved, way >= kFirstWordWay ? 8 : 1);
    };
    for (std::uint64_t i = 0; i < log_bytes; ++i)
        for (int way = 0; way < kWays; ++way)
            if (way < kFirstWordWay || i % 8 == 0) one(s.image.data.data() + log + i, way, false);
    CHECK(errors != 0);
    for (std::uint64_t i = 0; i < sizeof(format::LivePage); ++i)
        for (int way = 0; way < kWays; ++way)
            if (way < kFirstWordWay || i % 8 == 0) one(s.image.map.data() + format::kLivePageOffset + i, way, true);
    MESSAGE(right << " read right, " << errors << " errors, " << older << " an older state");
    CHECK(read_whole(open(s.image, locks, Mode::read_only), acknowledged.back()).empty());
    writer.close();
    CHECK(read_whole(open(s.image, locks, Mode::read_only), acknowledged.back()).empty());
}
