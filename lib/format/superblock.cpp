#include "format/superblock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "format/crc32c.hpp"

namespace pymm::format {

void seal_superblock(Superblock& sb) noexcept {
    sb.magic = kSuperblockMagic;
    sb.version = kVersion;
    sb.size = sizeof sb;
    sb.crc = crc32c(&sb, offsetof(Superblock, crc));
}

SuperblockChoice choose_superblock(std::span<const std::byte> map) {
    SuperblockChoice choice;
    for (int i = 0; i < 2; ++i) {
        if (map.size() < kSuperblockOffset[i] + kSuperblockSize) {
            choice.problem[i] = "the file is too short";
            continue;
        }
        Superblock sb;
        std::memcpy(&sb, map.data() + kSuperblockOffset[i], sizeof sb);
        if (sb.magic != kSuperblockMagic) {
            choice.problem[i] = fmt::format("magic is {:#018x}, not {:#018x}", sb.magic, kSuperblockMagic);
            continue;
        }
        if (const std::uint32_t crc = crc32c(&sb, offsetof(Superblock, crc)); sb.crc != crc) {
            choice.problem[i] = fmt::format("checksum is {:#010x}, computed {:#010x}", sb.crc, crc);
            continue;
        }
        if (!choice.best || sb.generation > choice.best->generation) {
            choice.best = sb;
            choice.index = i;
        }
    }
    return choice;
}

Support superblock_support(const Superblock& sb, std::string& why) {
    if (sb.version != kVersion) {
        why = fmt::format("format version {}, this library knows {}", sb.version, kVersion);
        return Support::none;
    }
    if (const auto unknown = sb.incompat & ~kIncompatKnown) {
        why = fmt::format("unknown incompatible features {:#x}", unknown);
        return Support::none;
    }
    if (const auto unknown = sb.ro_compat & ~kRoCompatKnown) {
        why = fmt::format("unknown features {:#x} that allow reading only", unknown);
        return Support::read_only;
    }
    return Support::full;
}

std::string superblock_problem(const Superblock& sb, std::uint64_t data_size) {
    const auto inside = [&](std::uint64_t offset, std::uint64_t size, std::uint64_t unit) {
        return offset % unit == 0 && size % unit == 0 && size != 0 && offset >= kDataStart &&
               offset <= sb.capacity && size <= sb.capacity - offset;
    };
    if (sb.size != sizeof sb) return fmt::format("superblock size {}", sb.size);
    if (sb.capacity != data_size)
        return fmt::format("capacity is {} but the data file has {} bytes", sb.capacity, data_size);
    if (sb.capacity % kPage != 0 || sb.capacity < 2 * kPage) return "capacity is no number of pages";
    if (!inside(sb.log_offset, sb.log_size, kLine) || sb.log_size < kPage)
        return fmt::format("log segment {}+{} is outside the data area", sb.log_offset, sb.log_size);
    if (sb.base_log_size < kPage || sb.base_log_size % kPage != 0 || sb.base_log_size > sb.capacity)
        return fmt::format("log size {}", sb.base_log_size);
    if (sb.run_count > kMaxRuns) return fmt::format("{} runs", sb.run_count);
    if (sb.sequence >= kSequenceLimit) return fmt::format("sequence {}, sequences end at {}", sb.sequence, kSequenceLimit);
    if (sb.generation >= kSequenceLimit)
        return fmt::format("generation {}, generations end at {}", sb.generation, kSequenceLimit);
    for (std::uint32_t i = 0; i < sb.run_count; ++i) {
        const RunRef& r = sb.runs[i];
        if (!inside(r.offset, r.size, kPage))
            return fmt::format("run {} at {}+{} is outside the data area", i, r.offset, r.size);
        if (r.sequence > sb.sequence || (i > 0 && r.sequence < sb.runs[i - 1].sequence))
            return fmt::format("run {} has sequence {}, out of order", i, r.sequence);
    }
    if (sb.zone_shift < kMinZoneShift || sb.zone_shift > 46) return fmt::format("zone shift {}", sb.zone_shift);
    const std::uint64_t zones = ((sb.capacity - 1) >> sb.zone_shift) + 1;
    if (zones > kMaxZones) return fmt::format("{} zones", zones);
    if (sb.zone_size != 0 &&
        (!inside(sb.zone_offset, sb.zone_size, kLine) || sb.zone_size < zones * sizeof(Zone)))
        return fmt::format("zone table {}+{} is outside the data area", sb.zone_offset, sb.zone_size);
    std::vector<Extent> all{{sb.log_offset, sb.log_size}, {sb.zone_offset, sb.zone_size}};
    for (std::uint32_t i = 0; i < sb.run_count; ++i) all.push_back({sb.runs[i].offset, sb.runs[i].size});
    std::sort(all.begin(), all.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    for (std::size_t i = 1; i < all.size(); ++i)
        if (all[i].offset < all[i - 1].offset + all[i - 1].size)
            return fmt::format("metadata at offset {} overlaps what is at offset {}", all[i].offset, all[i - 1].offset);
    return {};
}

std::string uuid_text(const Uuid& u) {
    std::string text;
    for (std::size_t i = 0; i < u.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", u[i]);
    }
    return text;
}

}  // namespace pymm::format
