// The parts of a dump at fixed places, and the zone table.
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "check/dump_items.hpp"
#include "format/crc32c.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

void superblock(const DumpFile& map, const DumpFile& data, const SuperblockChoice& choice, int index,
                DumpSink& sink) {
    const std::uint64_t at = kSuperblockOffset[index];
    DumpMaker made("superblock", 0, at, kSuperblockSize, true);
    made.number("copy", static_cast<std::uint64_t>(index));
    Superblock sb;
    if (std::string problem = map.read(at, std::as_writable_bytes(std::span(&sb, 1))); !problem.empty())
        return sink.item(made.problem(std::move(problem)).item);
    made.text("in_use", choice.index == index ? "yes" : "no");
    if (!choice.problem[index].empty()) made.problem(choice.problem[index]);
    std::string why;
    if (superblock_support(sb, why) != Support::full) made.problem(why);
    else made.problem(superblock_problem(sb, data.size()));
    made.hex("magic", sb.magic).number("version", sb.version).number("size", sb.size).hex("compat", sb.compat)
        .hex("ro_compat", sb.ro_compat).hex("incompat", sb.incompat).text("uuid", uuid_text(sb.uuid))
        .number("generation", sb.generation).number("sequence", sb.sequence).number("capacity", sb.capacity)
        .time("created_ns", sb.created_ns).number("next_id", sb.next_id).number("log_offset", sb.log_offset)
        .number("log_size", sb.log_size).hex("log_salt", sb.log_salt)
        .hex("flags", sb.flags).number("run_count", sb.run_count)
        .number("blobs", sb.blobs).number("used", sb.used).number("zone_offset", sb.zone_offset)
        .number("zone_size", sb.zone_size).number("zone_shift", sb.zone_shift).hex("zone_crc", sb.zone_crc)
        .number("next_run_id", sb.next_run_id).number("base_log_size", sb.base_log_size)
        .number("unsafe_shutdowns", sb.unsafe_shutdowns).hex("crc", sb.crc);
    sink.item(made.item);
    for (std::uint32_t i = 0; i < std::min(sb.run_count, kMaxRuns); ++i) {
        const RunRef& r = sb.runs[i];
        sink.item(DumpMaker("run reference", 1, at + offsetof(Superblock, runs) + i * sizeof(RunRef), sizeof(RunRef), true)
                      .number("run_id", r.run_id).number("offset", r.offset).number("size", r.size)
                      .number("entries", r.entries).number("sequence", r.sequence).number("level", r.level).item);
    }
}

void live_page(const DumpFile& map, DumpSink& sink) {
    DumpMaker made("live page", 0, kLivePageOffset, sizeof(LivePage), true);
    LivePage live{};
    if (std::string problem = map.read(kLivePageOffset, std::as_writable_bytes(std::span(&live, 1))); !problem.empty())
        made.problem(std::move(problem));
    else made.hex("boot", live.boot).hex("salt", live.salt).number("sequence", live.sequence);
    sink.item(made.item);
}

void data_header(const DumpFile& data, const SuperblockChoice& choice, DumpSink& sink) {
    DumpMaker made("data header", 0, 0, sizeof(DataHeader));
    DataHeader h;
    if (std::string problem = data.read(0, std::as_writable_bytes(std::span(&h, 1))); !problem.empty())
        return sink.item(made.problem(std::move(problem)).item);
    DataHeader unused = h;
    unused.used = 0;
    if (const std::uint32_t crc = crc32c(&unused, offsetof(DataHeader, crc)); h.magic != kDataMagic)
        made.problem(fmt::format("magic is not {:#018x}", kDataMagic));
    else if (crc != h.crc) made.problem(fmt::format("checksum is {:#010x}, computed {:#010x}", h.crc, crc));
    else if (choice.best && choice.best->uuid != h.uuid) made.problem("belongs to another shelf than the superblock");
    else if (h.capacity != data.size()) made.problem(fmt::format("the file has {} bytes", data.size()));
    sink.item(made.hex("magic", h.magic).number("version", h.version).number("used", h.used)
                  .text("uuid", uuid_text(h.uuid)).number("capacity", h.capacity).hex("crc", h.crc).item);
}

}  // namespace

void dump_superblocks(const DumpFile& map, const DumpFile& data, DumpSink& sink) {
    std::vector<std::byte> bytes(std::min<std::uint64_t>(map.size(), kMapSize));
    if (!map.read(0, bytes).empty()) bytes.clear();
    const SuperblockChoice choice = choose_superblock(bytes);
    for (const int index : {0, 1}) superblock(map, data, choice, index, sink);
    live_page(map, sink);
    data_header(data, choice, sink);
}

void dump_zones(const Superblock& sb, const DumpFile& data, DumpSink& sink) {
    DumpMaker made("zone table", 0, sb.zone_offset, sb.zone_size);
    made.number("zone_shift", sb.zone_shift).hex("zone_crc", sb.zone_crc);
    if (sb.zone_size == 0) return sink.item(made.text("state", "none yet").item);
    const std::uint64_t zones = sb.zone_shift < 64 && sb.capacity != 0 ? ((sb.capacity - 1) >> sb.zone_shift) + 1 : 0;
    if (zones == 0 || zones > kMaxZones) return sink.item(made.problem(fmt::format("{} zones", zones)).item);
    std::vector<Zone> table(zones);
    if (std::string problem = data.read(sb.zone_offset, std::as_writable_bytes(std::span(table))); !problem.empty())
        return sink.item(made.problem(std::move(problem)).item);
    if (const std::uint32_t crc = crc32c(table.data(), table.size() * sizeof(Zone)); crc != sb.zone_crc)
        made.problem(fmt::format("checksum computed {:#010x}", crc));
    sink.item(made.number("zones", zones).item);
    for (std::uint64_t i = 0; i < zones; ++i)
        sink.item(DumpMaker("zone", 1, sb.zone_offset + i * sizeof(Zone), sizeof(Zone))
                      .number("number", i).number("free", table[i].free).number("largest", table[i].largest).item);
}

}  // namespace pymm
