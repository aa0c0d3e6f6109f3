// The simulator itself, on toy protocols: a right one must survive every image, each broken one must be
// caught.
#include <doctest/doctest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>

#include <pymm/error.hpp>

#include "sim/cut_point.hpp"
#include "sim/machine.hpp"
#include "sim/ram_media.hpp"
#include "sim/sim_lease.hpp"

using namespace pymm;
using namespace pymm::sim;

namespace {

constexpr std::uint64_t kBudget = 2000;

std::uint64_t word(std::span<const std::byte> bytes, std::uint64_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + offset, 8);
    return value;
}

void store(Media& media, std::uint64_t offset, std::uint64_t value) {
    std::memcpy(media.data() + offset, &value, 8);
}

/// The toy: two copies of a record that are written alternately; the newer valid one counts.
struct Record {
    static constexpr std::size_t kWords = 160;  // several lines, several sectors
    std::uint64_t sequence = 0;
    std::uint64_t words[kWords] = {};
    std::uint64_t checksum = 0;

    static Record of(std::uint64_t sequence) {
        Record record;
        record.sequence = sequence;
        for (std::size_t i = 0; i < kWords; ++i) record.words[i] = sequence * 1'000'003 + i;
        record.checksum = record.sum();
        return record;
    }
    std::uint64_t sum() const {
        std::uint64_t hash = sequence * 31 + 7;
        for (const std::uint64_t w : words) hash = (hash ^ w) * 0x100000001b3;
        return hash;
    }
};
constexpr std::uint64_t kCopy = 4096;

enum class Bug { none, no_drain, no_flush, one_copy, no_checksum };

void commit(Media& media, std::uint64_t sequence, Bug bug) {
    const Record record = Record::of(sequence);
    const std::uint64_t at = bug == Bug::one_copy ? 0 : sequence % 2 * kCopy;
    if (bug == Bug::no_flush)
        std::memcpy(media.data() + at, &record, sizeof record);
    else
        media.write(at, &record, sizeof record);
    if (bug != Bug::no_drain) media.drain();
}

/// What recovery makes of an image: the sequence found, or nothing when it is garbage.
std::optional<std::uint64_t> recover(std::span<const std::byte> image, Bug bug) {
    std::optional<Record> best;
    for (const std::uint64_t at : {std::uint64_t{0}, kCopy}) {
        Record record;
        std::memcpy(&record, image.data() + at, sizeof record);
        if (bug != Bug::no_checksum && record.sum() != record.checksum) continue;
        if (!best || record.sequence > best->sequence) best = record;
    }
    if (!best) return 0;
    const Record right = Record::of(best->sequence);
    if (best->sequence != 0 && std::memcmp(&*best, &right, sizeof right) != 0) return std::nullopt;
    return best->sequence;
}

struct Outcome {
    std::uint64_t cuts = 0;
    std::uint64_t images = 0;
    std::uint64_t wrong = 0;
    std::uint64_t flushes = 0;
    std::uint64_t drains = 0;
    std::optional<ImageId> first_wrong;
};

Outcome run_toy(Options options, Bug bug, std::optional<ImageId> only = std::nullopt) {
    SimMachine machine(options);
    SimMedia media(machine, "toy", std::uint64_t{2} * kCopy);
    Outcome outcome;
    std::uint64_t acknowledged = 0;
    std::uint64_t in_flight = 0;
    machine.on_cut = [&](CutPoint& cut) {
        ++outcome.cuts;
        const auto check = [&](Image& image) {
            ++outcome.images;
            const auto found = recover(image.media[0], bug);
            if (found == acknowledged || (in_flight != 0 && found == in_flight)) return;
            if (!outcome.first_wrong) outcome.first_wrong = image.id;
            ++outcome.wrong;
        };
        if (!only)
            cut.images(kBudget, check);
        else if (only->cut == cut.number())
            cut.image(kBudget, only->image, check);
    };
    for (std::uint64_t sequence = 1; sequence <= 6; ++sequence) {
        in_flight = sequence;
        commit(media, sequence, bug);
        acknowledged = sequence;
        in_flight = 0;
        machine.cut();
    }
    outcome.flushes = machine.flushes();
    outcome.drains = machine.drains();
    return outcome;
}

/// All images at the end of `workload` on a fresh small media, as seen by `visit`.
void images_after(Granularity granularity, const std::function<void(Media&)>& workload,
                  const std::function<void(std::span<const std::byte>)>& visit) {
    Options options;
    options.granularity = granularity;
    SimMachine machine(options);
    SimMedia media(machine, "m", 8192);
    workload(media);
    machine.on_cut = [&](CutPoint& cut) {
        cut.images(kBudget, [&](Image& image) { visit(image.media[0]); });
    };
    machine.cut();
}

}  // namespace

TEST_CASE("sim: the right protocol survives every image, each broken one is caught") {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CAPTURE(static_cast<int>(granularity));
        Options options;
        options.granularity = granularity;
        const Outcome right = run_toy(options, Bug::none);
        CHECK(right.wrong == 0);
        CHECK(right.images > (granularity == Granularity::page ? 50u : 1000u));
        CHECK(run_toy(options, Bug::no_flush).wrong > 0);
        CHECK(run_toy(options, Bug::one_copy).wrong > 0);
        CHECK(run_toy(options, Bug::no_checksum).wrong > 0);
        if (granularity == Granularity::cache_line) CHECK(run_toy(options, Bug::no_drain).wrong > 0);
        // Page granularity: a write is durable when it returns, a drain adds nothing.
        if (granularity == Granularity::page) CHECK(run_toy(options, Bug::no_drain).wrong == 0);
    }
}

TEST_CASE("sim: every flush or fence left out is caught") {
    const Outcome right = run_toy({}, Bug::none);
    REQUIRE(right.flushes == 6);
    REQUIRE(right.drains == 6);
    for (std::uint64_t k = 1; k <= 6; ++k) {
        CAPTURE(k);
        Options no_flush;
        no_flush.skip_flush = k;
        CHECK(run_toy(no_flush, Bug::none).wrong > 0);
        Options no_drain;
        no_drain.skip_drain = k;
        CHECK(run_toy(no_drain, Bug::none).wrong > 0);
        Options no_sync;
        no_sync.granularity = Granularity::page;
        no_sync.skip_flush = k;
        CHECK(run_toy(no_sync, Bug::none).wrong > 0);
    }
}

TEST_CASE("sim: an image's id makes it again") {
    const Outcome broken = run_toy({}, Bug::no_checksum);
    REQUIRE(broken.first_wrong);
    const auto id = ImageId::parse(broken.first_wrong->text());
    REQUIRE(id == broken.first_wrong);
    const Outcome again = run_toy({}, Bug::no_checksum, id);
    CHECK(again.images == 1);
    CHECK(again.wrong == 1);
    CHECK_FALSE(ImageId::parse("1:2").has_value());
}

TEST_CASE("sim: a line may be durable before its flush, so a flag may announce what is not there") {
    // Flushes data and flag in the right order: a tool that only reorders flushed stores sees no harm.
    std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
    SimMachine machine({});
    SimMedia media(machine, "m", 4096);
    machine.on_cut = [&](CutPoint& cut) {
        CHECK(cut.exhaustive(kBudget));
        cut.images(kBudget, [&](Image& image) {
            seen.emplace(word(image.media[0], 0), word(image.media[0], 512));
        });
    };
    store(media, 0, 7);    // data
    store(media, 512, 1);  // flag, stored too early
    media.flush(0, 8);
    media.drain();
    media.flush(512, 8);
    media.drain();
    CHECK(seen.count({0, 1}) == 1);

    // Stored after the fence, it never is.
    seen.clear();
    store(media, 64, 7);
    media.persist(64, 8);
    machine.on_cut = [&](CutPoint& cut) {
        cut.images(kBudget, [&](Image& image) {
            seen.emplace(word(image.media[0], 64), word(image.media[0], 576));
        });
    };
    store(media, 576, 1);
    media.persist(576, 8);
    machine.cut();
    CHECK(seen == std::set<std::pair<std::uint64_t, std::uint64_t>>{{7, 0}, {7, 1}});
}

TEST_CASE("sim: a line tears at 8 bytes and nowhere else") {
    std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
    const std::uint64_t ones = ~std::uint64_t{0};
    images_after(
        Granularity::cache_line,
        [&](Media& media) {
            const std::uint64_t both[2] = {ones, ones};
            media.write(0, both, 16);  // flushed, not fenced
        },
        [&](auto image) { seen.emplace(word(image, 0), word(image, 8)); });
    CHECK(seen == std::set<std::pair<std::uint64_t, std::uint64_t>>{{0, 0}, {0, ones}, {ones, 0}, {ones, ones}});
}

TEST_CASE("sim: a line stored to twice may show the value in between") {
    std::set<std::uint64_t> seen;
    images_after(
        Granularity::cache_line,
        [](Media& media) {
            const std::uint64_t one = 1;
            const std::uint64_t two = 2;
            media.write(0, &one, 8);
            media.write(0, &two, 8);
        },
        [&](auto image) { seen.insert(word(image, 0)); });
    CHECK(seen == std::set<std::uint64_t>{0, 1, 2});

    // A fence takes the older ones away: what was flushed before it is the least that is found.
    seen.clear();
    images_after(
        Granularity::cache_line,
        [](Media& media) {
            for (std::uint64_t value = 1; value <= 3; ++value) {
                media.write(0, &value, 8);
                if (value == 2) media.drain();
            }
            store(media, 0, 4);
        },
        [&](auto image) { seen.insert(word(image, 0)); });
    CHECK(seen == std::set<std::uint64_t>{2, 3, 4});

    // Seen at the fence but flushed by nobody: stays open.
    seen.clear();
    images_after(
        Granularity::cache_line,
        [](Media& media) {
            store(media, 0, 1);
            media.flush(0, 8);
            store(media, 0, 2);
            media.drain();
            media.drain();
        },
        [&](auto image) { seen.insert(word(image, 0)); });
    CHECK(seen == std::set<std::uint64_t>{1, 2});

    // However often it is stored to without a flush: the floor and the latest are kept.
    seen.clear();
    images_after(
        Granularity::cache_line,
        [](Media& media) {
            for (std::uint64_t value = 1; value <= 100; ++value) {
                store(media, 0, value);
                media.flush(4096, 8);
            }
        },
        [&](auto image) { seen.insert(word(image, 0)); });
    CHECK(seen.count(0) == 1);
    CHECK(seen.count(99) == 1);
    CHECK(seen.count(100) == 1);
}

TEST_CASE("sim: the flush of a range covers its unaligned ends, and only them") {
    for (const std::uint64_t size : {std::uint64_t{1}, std::uint64_t{64}, std::uint64_t{65}}) {
        std::set<std::pair<bool, bool>> seen;
        images_after(
            Granularity::cache_line,
            [&](Media& media) {
                std::memset(media.data(), 0xff, 256);
                media.flush(63, size);
                media.drain();
            },
            [&](auto image) { seen.emplace(word(image, 56) != 0, word(image, 64) != 0); });
        CHECK(seen.count({false, false}) == 0);
        CHECK(seen.count({true, false}) == (size == 1 ? 1 : 0));
    }
}

TEST_CASE("sim: page granularity tears at sectors while it writes, is durable when it returns") {
    Options options;
    options.granularity = Granularity::page;
    SimMachine machine(options);
    SimMedia media(machine, "m", 8192);
    std::set<std::pair<std::uint64_t, std::uint64_t>> during;
    machine.on_cut = [&](CutPoint& cut) {
        cut.images(kBudget, [&](Image& image) {
            during.emplace(word(image.media[0], 504), word(image.media[0], 512));
            CHECK(word(image.media[0], 0) == word(image.media[0], 504));  // a sector is atomic
        });
    };
    std::vector<std::uint64_t> ones(128, 1);
    media.write(0, ones.data(), 1024);
    CHECK(during == std::set<std::pair<std::uint64_t, std::uint64_t>>{{0, 0}, {0, 1}, {1, 0}, {1, 1}});
    CHECK(media.open_pieces().empty());

    // A store through the mapping may be written back at any time; msync says when at the latest.
    machine.on_cut = nullptr;
    store(media, 4096, 5);
    machine.cut();
    CHECK(media.open_pieces().size() == 1);
    media.flush(4096, 8);
    CHECK(media.open_pieces().empty());
    CHECK(word(media.durable(), 4096) == 5);
}

TEST_CASE("sim: after a failed sync a second one promises nothing") {
    Options options;
    options.granularity = Granularity::page;
    SimMachine machine(options);
    machine.fail_sync_after(2);
    SimMedia media(machine, "m", 8192);
    const std::uint64_t value = 1;
    media.write(0, &value, 8);
    CHECK_THROWS_AS(media.write(512, &value, 8), IoError);
    media.flush(512, 8);
    CHECK(word(media.durable(), 512) == 0);
    CHECK(media.open_pieces().size() == 1);
    // Newly written, it counts again; the same bytes do.
    media.write(512, &value, 8);
    CHECK(word(media.durable(), 512) == 1);
}

TEST_CASE("sim: leases") {
    SimLocks locks;
    SimLease a(locks);
    CHECK(a.try_acquire_writer());
    {
        SimLease b(locks);
        CHECK_FALSE(b.try_acquire_writer());
        CHECK(b.writer_alive());
        b.mark_extent(64, 64);
        CHECK(a.extent_marked(0, 65));
        CHECK_FALSE(a.extent_marked(0, 64));
    }
    CHECK_FALSE(a.extent_marked(0, 1000));
}

TEST_CASE("sim: how many images a second") {
    SimMachine machine({});
    SimMedia map(machine, "map", 16384);
    SimMedia data(machine, "data", 1 << 20);
    std::uint64_t images = 0;
    std::uint64_t sum = 0;
    machine.on_cut = [&](CutPoint& cut) {
        cut.images(500, [&](Image& image) {
            ++images;
            sum += word(image.media[1], 4096);
        });
    };
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::uint64_t> block(64, 1);
    for (std::uint64_t i = 0; i < 100; ++i) {
        block[0] = i + 1;
        data.write(4096 + i * 512 % (1 << 19), block.data(), 512);
        data.drain();
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    MESSAGE(images << " images in " << seconds << " s: " << static_cast<double>(images) / seconds << "/s");
    CHECK(images > 10'000);
    CHECK(sum > 0);
}
