// Superblocks and data header.
#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "catalogue/catalogue.hpp"
#include "check/image.hpp"
#include "format/crc32c.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

// How often a copy is looked at that a live writer may just be writing, a millisecond apart.
constexpr int kLooks = 200;

std::string hex(std::uint64_t value) { return fmt::format("{:#x}", value); }

Superblock copy_of(const Media& map, int index) {
    Superblock sb;
    guarded_copy(&sb, map, kSuperblockOffset[index], sizeof sb, "superblock");
    return sb;
}

struct Copies {
    Superblock copy[2];
    bool sound[2];
    SuperblockChoice choice;
};

bool fits(const Image& image, const Superblock& sb) {
    if (!superblock_problem(sb, sb.capacity).empty()) return false;
    DataHeader header;
    return !image.read(0, sizeof header, &header) || header.magic != kDataMagic || header.uuid == sb.uuid;
}

// Of two copies of one generation that differ, the one counts that fits the data file.
void prefer_the_fitting(const Image& image, Copies& c) {
    if (!c.sound[0] || !c.sound[1] || c.copy[0].generation != c.copy[1].generation) return;
    const int other = 1 - c.choice.index;
    if (fits(image, *c.choice.best) || !fits(image, c.copy[other])) return;
    c.choice.best = c.copy[other];
    c.choice.index = other;
}

Copies look(const Media& map) {
    // One picture of both, so that what is judged is what is reported.
    std::vector<std::byte> bytes(2 * kSuperblockSize);
    guarded_copy(bytes.data(), map, 0, bytes.size(), "superblocks");
    Copies c{};
    c.choice = choose_superblock(bytes);
    for (int i = 0; i < 2; ++i) {
        std::memcpy(&c.copy[i], bytes.data() + kSuperblockOffset[i], sizeof c.copy[i]);
        c.sound[i] = c.choice.problem[i].empty();
    }
    return c;
}

bool settled(const Copies& c) {
    if (!c.sound[0] || !c.sound[1]) return false;
    const std::uint64_t a = c.copy[0].generation, b = c.copy[1].generation;
    return a == b || a + 1 == b || b + 1 == a;
}

// A live writer changes copies while we look: what is wrong only for a moment is not wrong.
Copies look_patiently(Image& image) {
    Copies c = look(image.target.map);
    for (int i = 0; i < kLooks && !settled(c); ++i) {
        if (image.target.lease == nullptr || !image.target.lease->writer_alive()) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        c = look(image.target.map);
    }
    return c;
}

void report_copies(Image& image, const Copies& c) {
    const auto name = [](int i) { return fmt::format("superblock copy {}", i); };
    const bool both_bad = !c.sound[0] && !c.sound[1];
    for (int i = 0; i < 2; ++i) {
        if (c.sound[i]) continue;
        const Superblock& sb = c.copy[i];
        const Cure cure = both_bad ? Cure::catalogue : Cure::superblock;
        if (sb.magic != kSuperblockMagic)
            image.map_finding(cure, Severity::error, name(i), kSuperblockOffset[i],
                              "magic " + hex(kSuperblockMagic), hex(sb.magic));
        else
            image.map_finding(cure, Severity::error, name(i), kSuperblockOffset[i] + offsetof(Superblock, crc),
                              "checksum " + hex(crc32c(&sb, offsetof(Superblock, crc))), hex(sb.crc));
    }
    if (!c.sound[0] || !c.sound[1]) return;
    const std::uint64_t a = c.copy[0].generation, b = c.copy[1].generation;
    const int older = a < b ? 0 : 1;
    const std::uint64_t at = kSuperblockOffset[older] + offsetof(Superblock, generation);
    if (a == b) {
        if (std::memcmp(&c.copy[0], &c.copy[1], sizeof(Superblock)) != 0)
            image.map_finding(Cure::superblock, Severity::error, name(1 - c.choice.index),
                              kSuperblockOffset[1 - c.choice.index],
                              fmt::format("the bytes of copy {}, which has generation {}, too", c.choice.index, a),
                              "others");
    } else if (a + 1 == b || b + 1 == a) {
        // Beside a writer this is the moment between its two writes.
        if (!image.live)
            image.map_finding(Cure::superblock, Severity::note, name(older), at,
                              fmt::format("generation {}", std::max(a, b)),
                              fmt::format("{}: a crash came between the writes of the two copies", std::min(a, b)));
    } else {
        image.map_finding(Cure::superblock, Severity::error, name(older), at,
                          fmt::format("generation {}", std::max(a, b)), fmt::format("{}", std::min(a, b)));
    }
}

}  // namespace

// Newer formats are no damage: refused before anything is judged.
static void require_known(const Image& image, const Superblock& sb) {
    std::string why;
    const Support support = superblock_support(sb, why);
    if (support == Support::none)
        throw VersionError(fmt::format("{}: {}; check it with a newer version of PyMM", image.target.map.name(), why));
    if (support == Support::read_only && image.options.repair != Repair::none)
        throw VersionError(fmt::format("{}: {}; repair it with a newer version of PyMM, or check it without repair",
                                       image.target.map.name(), why));
}

static void check_data_header(Image& image) {
    const auto bad = [&](Cure cure, std::size_t field, std::string expected, std::string found,
                         std::string action = {}) {
        image.data_finding(cure, Severity::error, "data header", field, std::move(expected), std::move(found), {},
                           std::move(action));
    };
    DataHeader header;
    if (!image.read(0, sizeof header, &header))
        return bad(Cure::none, 0, fmt::format("{} bytes", sizeof header), "none that can be read");
    DataHeader clean = header;
    clean.used = 0;
    const std::uint32_t crc = crc32c(&clean, offsetof(DataHeader, crc));
    const Cure cure = image.root ? Cure::data_header : Cure::catalogue;
    if (header.magic != kDataMagic)
        return bad(cure, 0, "magic " + hex(kDataMagic), hex(header.magic));
    if (header.crc != crc) return bad(cure, offsetof(DataHeader, crc), "checksum " + hex(crc), hex(header.crc));
    if (header.version != kVersion)
        throw VersionError(fmt::format("{}: format version {}, this library knows {}; check it with a newer version of "
                                       "PyMM", image.target.data.name(), header.version, kVersion));
    image.header_uuid = header.uuid;
    if (!image.root) return;
    if (header.uuid != image.root->uuid) {
        image.mixed = true;
        return bad(Cure::none, offsetof(DataHeader, uuid), "uuid " + uuid_text(image.root->uuid),
                   uuid_text(header.uuid), "the two files belong to different shelves; put the right one here");
    }
    if (header.capacity != image.root->capacity)
        bad(Cure::data_header, offsetof(DataHeader, capacity), fmt::format("capacity {}", image.root->capacity),
            fmt::format("{}", header.capacity));
    // Set before the first change of the root.
    if (header.used == 0 && image.root->generation > 1)
        bad(Cure::data_header, offsetof(DataHeader, used), "the mark that data was committed", "none");
}

void check_root(Image& image) {
    const Media& map = image.target.map;
    Lease* lease = image.target.lease;
    image.live = lease != nullptr && lease->writer_alive();
    Copies c{};
    for (;;) {
        c = look_patiently(image);
        prefer_the_fitting(image, c);
        if (c.choice.best) require_known(image, *c.choice.best);
        // As a reader does: mark what the root names, then look again.
        if (lease == nullptr || !c.choice.best || !superblock_problem(*c.choice.best, c.choice.best->capacity).empty())
            break;
        for (const Extent& e : root_extents(*c.choice.best)) image.mark(e);
        const Superblock& sb = *c.choice.best;
        bool same = false;
        for (int i = 0; i < 2; ++i) {
            const Superblock now = copy_of(map, i);
            same |= now.generation == sb.generation && now.crc == sb.crc;
        }
        const Copies again = look(map);
        if (same && (!again.choice.best || again.choice.best->generation == sb.generation)) break;
        image.unmark_all();
    }
    image.live = image.live || (lease != nullptr && lease->writer_alive());
    if (!image.target.map_missing) report_copies(image, c);
    else image.map_finding(Cure::catalogue, Severity::error, "map file", 0, "two superblocks", "no file");

    image.capacity = image.target.data.size();
    if (c.choice.best) {
        const Superblock& sb = *c.choice.best;
        if (const std::string problem = superblock_problem(sb, sb.capacity); !problem.empty()) {
            image.map_finding(Cure::catalogue, Severity::error, fmt::format("superblock copy {}", c.choice.index),
                              kSuperblockOffset[c.choice.index], "numbers in range", problem);
            image.generation = sb.generation;
        } else {
            image.root = sb;
            image.root_index = c.choice.index;
            const auto implausible = [&](Cure cure, const char* what, std::size_t field, std::uint64_t value) {
                if (value >= kPlausibleSequence)
                    image.map_finding(cure, Severity::error, fmt::format("superblock copy {}", c.choice.index),
                                      kSuperblockOffset[c.choice.index] + field,
                                      fmt::format("a {} below {}", what, kPlausibleSequence), fmt::format("{}", value));
            };
            implausible(Cure::accounts, "generation", offsetof(Superblock, generation), sb.generation);
            implausible(Cure::catalogue, "sequence", offsetof(Superblock, sequence), sb.sequence);
            if (sb.capacity != image.target.data.size()) {
                const bool shorter = image.target.data.size() < sb.capacity;
                image.data_finding(Cure::catalogue, Severity::error, "data file", image.target.data.size(),
                                   fmt::format("{} bytes", sb.capacity),
                                   fmt::format("{} bytes", image.target.data.size()), {},
                                   shorter ? "it was cut short" : "it has grown");
            }
        }
    }
    check_data_header(image);
}

}  // namespace pymm
