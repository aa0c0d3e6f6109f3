// The repair itself loses power: whatever it leaves, another repair ends in a sound shelf with the same blobs.
#include <doctest/doctest.h>

#include <cstdlib>
#include <map>

#include "check/checker.hpp"
#include "format/superblock.hpp"
#include "sim/cut_point.hpp"
#include "sim/image_shelf.hpp"
#include "sim/machine.hpp"
#include "sim/ram_media.hpp"

using namespace pymm;
using namespace pymm::sim;
using namespace pymm::format;

namespace {

constexpr std::uint64_t kCapacity = 1 << 20;

struct alignas(4096) Block {
    std::byte bytes[4096];
};

// Files in memory.
struct Pair {
    std::vector<Block> map_blocks = std::vector<Block>(kMapSize / 4096);
    std::vector<Block> data_blocks = std::vector<Block>(kCapacity / 4096);
    std::span<std::byte> map() { return {map_blocks[0].bytes, kMapSize}; }
    std::span<std::byte> data() { return {data_blocks[0].bytes, kCapacity}; }
    std::vector<std::span<std::byte>> both() { return {map(), data()}; }
};

std::vector<std::byte> bytes_of(std::size_t size, unsigned seed) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed * 17 + i * 3);
    return bytes;
}

Pair sample(std::map<std::string, std::vector<std::byte>>& contents) {
    Pair pair;
    RamMedia map("map", pair.map()), data("data", pair.data());
    format_image(map, data, Uuid{1, 2, 3, 4}, 4096);
    auto both = pair.both();
    SimLocks locks;
    Shelf s = open_image(both, locks, Granularity::cache_line, Mode::read_write);
    const auto put = [&](const std::string& name, std::size_t size, unsigned seed, const Type& type) {
        contents[name] = bytes_of(size, seed);
        s.put(name, contents[name], type);
    };
    for (unsigned i = 0; i < 24; ++i) {
        put("value/" + std::to_string(i), 10 + i, i, Type::value(Kind::bytes));
        put("small/" + std::to_string(i), 100 + i, i, Type::raw());
        if (i % 4 == 0) put("page/" + std::to_string(i), 4500, i, Type::raw());
    }
    s.close();
    return pair;
}

Superblock root_of(Pair& pair) { return *choose_superblock(pair.map()).best; }

CheckReport run_check(Media& map, Media& data, Repair repair) {
    CheckOptions options;
    options.repair = repair;
    return check_media({map, data, nullptr, false, {}}, options);
}

std::string text(const CheckReport& report) {
    std::string all;
    for (const Finding& f : report.findings) all += f.message() + "; ";
    return all;
}

struct Totals {
    std::uint64_t cuts = 0;
    std::uint64_t images = 0;
};

// Repairs `damaged` with the power cut at every event.
void cut_repair(Pair& damaged, Repair repair, const std::map<std::string, std::vector<std::byte>>& contents,
                bool inline_values_survive, Granularity granularity, Totals& totals) {
    Options options;
    options.granularity = granularity;
    SimMachine machine(options);
    SimMedia map(machine, "map", damaged.map());
    SimMedia data(machine, "data", damaged.data());
    const std::uint64_t budget = std::getenv("PYMM_TEST_LONG") != nullptr ? 400 : 100;
    std::string problem;
    const auto look = [&](std::vector<std::span<std::byte>>& image) -> std::string {
        RamMedia m("map", image[0], granularity), d("data", image[1], granularity);
        const CheckReport again = run_check(m, d, repair);
        if (again.uncorrected() != 0) return "not mended: " + text(again);
        if (const CheckReport after = run_check(m, d, Repair::none); !after.findings.empty())
            return "not clean after the second repair: " + text(after);
        SimLocks locks;
        const Shelf s = open_image(image, locks, granularity, Mode::read_only);
        for (const auto& [name, bytes] : contents) {
            if (!inline_values_survive && name.starts_with("value/")) continue;
            if (!s.contains(name)) return "'" + name + "' is gone";
            const View view = s.get(name);
            if (!std::equal(view.bytes().begin(), view.bytes().end(), bytes.begin(), bytes.end()))
                return "'" + name + "' has other bytes";
        }
        return {};
    };
    machine.on_cut = [&](CutPoint& cut) {
        ++totals.cuts;
        cut.images(budget, [&](Image& image) {
            ++totals.images;
            if (!problem.empty()) return;
            try {
                problem = look(image.media);
            } catch (const std::exception& error) {
                problem = error.what();
            }
            if (!problem.empty()) problem = image.id.text() + " (" + cut.describe() + "): " + problem;
        });
    };
    const CheckReport report = run_check(map, data, repair);
    machine.on_cut = nullptr;
    INFO(text(report));
    CHECK(report.repaired);
    CHECK(report.uncorrected() == 0);
    CHECK(problem == "");
}

}  // namespace

TEST_CASE("a repair that loses power leaves the old damage or a sound shelf") {
    Totals totals;
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CAPTURE(static_cast<int>(granularity));
        std::map<std::string, std::vector<std::byte>> contents;
        const Pair sound = sample(contents);
        const auto damaged = [&](auto&& damage, Repair repair, bool inline_values_survive = true) {
            Pair pair = sound;
            damage(pair);
            cut_repair(pair, repair, contents, inline_values_survive, granularity, totals);
        };
        const auto rewrite = [](Pair& pair, Superblock sb) {
            seal_superblock(sb);
            for (const std::uint64_t at : kSuperblockOffset) std::memcpy(pair.map().data() + at, &sb, sizeof sb);
        };
        damaged([](Pair& p) { p.map()[100] ^= std::byte{1}; }, Repair::safe);
        damaged([](Pair& p) { p.map()[4096 + 100] ^= std::byte{1}; }, Repair::safe);
        damaged([](Pair& p) { p.data()[20] ^= std::byte{1}; }, Repair::safe);
        damaged([&](Pair& p) {
            Superblock sb = root_of(p);
            ++sb.blobs;
            rewrite(p, sb);
        }, Repair::safe);
        damaged([&](Pair& p) { p.data()[root_of(p).zone_offset] ^= std::byte{1}; }, Repair::safe);
        damaged([](Pair& p) { std::fill(p.map().begin(), p.map().end(), std::byte{0}); }, Repair::all);
        damaged([&](Pair& p) { p.data()[root_of(p).runs[0].offset + 80] ^= std::byte{1}; }, Repair::all);
        damaged([&](Pair& p) { p.data()[root_of(p).runs[0].offset + 4096 + 300] ^= std::byte{1}; }, Repair::all, false);
    }
    MESSAGE(totals.cuts << " cut points, " << totals.images << " images");
}
