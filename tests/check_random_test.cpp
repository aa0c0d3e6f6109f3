// Random damage to every structure: a check survives it, and a repair ends in a shelf that is sound and can be read.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "check/checker.hpp"
#include "format/crc32c.hpp"
#include "format/superblock.hpp"
#include "sim/image_shelf.hpp"
#include "sim/ram_media.hpp"

using namespace pymm;
using namespace pymm::sim;
using namespace pymm::format;

namespace {

constexpr std::uint64_t kCapacity = 1 << 20;

struct alignas(4096) Block {
    std::byte bytes[4096];
};

struct Pair {
    std::vector<Block> map_blocks = std::vector<Block>(kMapSize / 4096);
    std::vector<Block> data_blocks = std::vector<Block>(kCapacity / 4096);
    std::span<std::byte> map() { return {map_blocks[0].bytes, kMapSize}; }
    std::span<std::byte> data() { return {data_blocks[0].bytes, kCapacity}; }
    std::vector<std::span<std::byte>> both() { return {map(), data()}; }
};

// Damaged while open, so that the log holds commits, too.
Pair sample() {
    Pair pair, snapshot;
    RamMedia map("map", pair.map()), data("data", pair.data());
    format_image(map, data, Uuid{1, 2, 3, 4}, 4096);
    auto both = pair.both();
    SimLocks locks;
    Shelf s = open_image(both, locks, Granularity::cache_line, Mode::read_write);
    for (unsigned i = 0; i < 40; ++i) {
        const std::vector<std::byte> bytes(i % 5 == 0 ? 4500 : 90 + i, static_cast<std::byte>(i));
        s.put("small/" + std::to_string(i), bytes);
        s.put("value/" + std::to_string(i), std::span(bytes).first(20), Type::value(Kind::bytes));
        if (i % 6 == 5) s.erase("small/" + std::to_string(i - 3));
        if (i % 7 == 6) s.rename("value/" + std::to_string(i - 2), "renamed/" + std::to_string(i));
    }
    snapshot = pair;
    s.close();
    return snapshot;
}

std::string text(const CheckReport& report) {
    std::string all;
    for (const Finding& f : report.findings) all += f.message() + "\n";
    return all;
}

// Makes the checksum of what lies there right again, so that the damage gets past it.
void fix_checksums(Pair& pair) {
    for (const std::uint64_t at : kSuperblockOffset) {
        Superblock sb;
        std::memcpy(&sb, pair.map().data() + at, sizeof sb);
        sb.crc = crc32c(&sb, offsetof(Superblock, crc));
        std::memcpy(pair.map().data() + at, &sb, sizeof sb);
    }
    for (std::uint64_t at = kDataStart; at < kCapacity; at += kPage) {
        PageHeader page;
        std::memcpy(&page, &pair.data()[at], sizeof page);
        if (page.magic != kPageMagic) continue;
        page.crc = 0;
        std::memcpy(&pair.data()[at], &page, sizeof page);
        page.crc = crc32c(&pair.data()[at], kPage);
        std::memcpy(&pair.data()[at], &page, sizeof page);
    }
    for (std::uint64_t at = kDataStart; at + sizeof(CommitHeader) <= kCapacity; at += kLine) {
        CommitHeader commit;
        std::memcpy(&commit, &pair.data()[at], sizeof commit);
        if (commit.magic != kCommitMagic || commit.size < sizeof commit || commit.size > kCapacity - at) continue;
        commit.crc = 0;
        std::memcpy(&pair.data()[at], &commit, sizeof commit);
        commit.crc = crc32c(&pair.data()[at], commit.size);
        std::memcpy(&pair.data()[at], &commit, sizeof commit);
    }
}

}  // namespace

TEST_CASE("random damage is survived, and repaired to a sound shelf") {
    const Pair sound = sample();
    const std::uint64_t rounds = std::getenv("PYMM_TEST_LONG") != nullptr ? 100'000 : 3'000;
    std::uint64_t found = 0, refused = 0, mended = 0, left = 0;
    for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
        CAPTURE(seed);
        std::mt19937_64 random(seed);
        Pair pair = sound;
        // Most places of a megabyte hold nothing: the used ones are sought out.
        std::vector<std::uint64_t> lines;
        for (std::uint64_t at = 0; at < kCapacity; at += kLine)
            if (std::any_of(&pair.data()[at], &pair.data()[at] + kLine, [](std::byte b) { return b != std::byte{0}; }))
                lines.push_back(at);
        const std::uint64_t damages = 1 + random() % 4;
        for (std::uint64_t i = 0; i < damages; ++i) {
            const bool map = random() % 4 == 0;
            const auto bytes = map ? pair.map().first(2 * kPage) : pair.data();
            std::uint64_t at = map ? random() % 512 + kPage * (random() % 2) : lines[random() % lines.size()] + random() % kLine;
            const std::uint64_t values[] = {0, ~std::uint64_t{0}, random(), random() % kCapacity, 1};
            if (random() % 2 == 0) {
                bytes[at] ^= static_cast<std::byte>(1u << random() % 8);
            } else {
                at &= ~std::uint64_t{7};
                std::uint64_t word;
                std::memcpy(&word, &bytes[at], 8);
                word = random() % 2 == 0 ? word + random() % 3 - 1 : values[random() % 5];
                std::memcpy(&bytes[at], &word, 8);
            }
        }
        if (seed % 2 == 0) fix_checksums(pair);
        RamMedia map("map", pair.map()), data("data", pair.data());
        const auto run = [&](Repair repair) {
            CheckOptions options;
            options.repair = repair;
            options.scrub = true;
            return check_media({map, data, nullptr, false, {}}, options);
        };
        try {
            const CheckReport before = run(Repair::none);
            found += before.uncorrected() != 0;
            const CheckReport report = run(Repair::all);
            INFO(text(report));
            if (report.uncorrected() != 0) {
                // Only what no repair can decide: whose files these are, and data that is wrong.
                ++left;
                for (const Finding& f : report.findings)
                    if (f.severity == Severity::error && !f.corrected)
                        CHECK((f.structure == "data header" || f.structure.find("content") != std::string::npos));
                continue;
            }
            mended += report.corrected() != 0;
            const CheckReport after = run(Repair::none);
            INFO("after: " << text(after));
            CHECK(after.clean());
            auto both = pair.both();
            SimLocks locks;
            const Shelf s = open_image(both, locks, Granularity::cache_line, Mode::read_only);
            std::uint64_t bytes = 0;
            for (const BlobInfo& info : s.list()) bytes += s.get(info.name).bytes().size();
            CHECK(s.size() == after.blobs);
            CHECK(bytes > 0);
        } catch (const VersionError&) {
            ++refused;
        } catch (const NoSpaceError&) {
            ++refused;
        }
    }
    MESSAGE(rounds << " images: damage found in " << found << ", mended " << mended << ", left " << left
                   << ", refused " << refused);
    CHECK(mended > rounds / 4);
}
