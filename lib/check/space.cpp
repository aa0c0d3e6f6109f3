// Space: no two extents share a byte, and events, zones and counters say exactly what is in use.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "check/entry_check.hpp"
#include "check/entry_stream.hpp"
#include "check/image.hpp"
#include "format/crc32c.hpp"

namespace pymm {

using namespace format;

using Ranges = std::vector<Extent>;  // sorted, disjoint, neighbours joined

Ranges taken_by_events(const Image& image, bool with_tail) {
    Ranges taken;
    if (image.runs.size() > kMaxRuns) {
        // Found without a root, perhaps forged: a merge of so many would ask each of them at each step.
        EventMap map;
        for (const RunImage& run : image.runs)
            for (const Event& e : run.events) map.set(e.offset, e.size, e.taken);
        if (with_tail)
            for (const Event& e : image.tail.events().all()) map.set(e.offset, e.size, e.taken);
        for (const Event& e : map.all())
            if (e.taken) taken.push_back({e.offset, e.size});
        return taken;
    }
    std::vector<std::unique_ptr<EventCursor>> sources;
    for (const RunImage& run : image.runs) sources.push_back(std::make_unique<VectorEventCursor>(run.events));
    if (with_tail) sources.push_back(std::make_unique<VectorEventCursor>(image.tail.events().all()));
    EventMerge merge(std::move(sources), true);
    Event event;
    while (merge.next(event)) {
        if (!event.taken) continue;
        if (!taken.empty() && taken.back().offset + taken.back().size == event.offset) taken.back().size += event.size;
        else taken.push_back({event.offset, event.size});
    }
    return taken;
}

Ranges joined_ranges(const Ranges& sorted) {
    Ranges out;
    for (const Extent& e : sorted) {
        if (!out.empty() && e.offset <= out.back().offset + out.back().size)
            out.back().size = std::max(out.back().offset + out.back().size, e.offset + e.size) - out.back().offset;
        else
            out.push_back(e);
    }
    return out;
}

std::vector<std::uint64_t> free_in_zones(std::uint64_t capacity, std::uint32_t shift, const Ranges& used) {
    const std::uint64_t zones = ((capacity - 1) >> shift) + 1;
    std::vector<std::uint64_t> free(zones);
    for (std::uint64_t z = 0; z < zones; ++z)
        free[z] = std::min(capacity, (z + 1) << shift) - (z == 0 ? kDataStart : z << shift);
    for (const Extent& e : used) {
        for (std::uint64_t at = e.offset, end = e.offset + e.size; at < end;) {
            const std::uint64_t z = at >> shift;
            const std::uint64_t next = std::min(end, (z + 1) << shift);
            free[z] -= std::min(free[z], next - at);
            at = next;
        }
    }
    return free;
}

std::vector<Extent> root_extents(const Superblock& sb) {
    std::vector<Extent> all{{sb.log_offset, sb.log_size}};
    if (sb.zone_size != 0) all.push_back({sb.zone_offset, sb.zone_size});
    for (std::uint32_t i = 0; i < sb.run_count; ++i) all.push_back({sb.runs[i].offset, sb.runs[i].size});
    return all;
}

namespace {

void check_overlaps(Image& image) {
    std::vector<Extent>& owned = image.owned;
    Ranges all = owned;
    for (const Extent& e : root_extents(*image.root)) all.push_back(e);
    std::sort(all.begin(), all.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    // Names are found in another pass, and only if there is something to name.
    std::map<std::uint64_t, std::string> names;
    std::vector<std::pair<Extent, Extent>> pairs;
    constexpr std::size_t most = 1000;
    Extent far{};  // of those before, the one that reaches furthest
    for (const Extent& e : all) {
        if (far.size != 0 && e.offset < far.offset + far.size && pairs.size() < most) pairs.emplace_back(far, e);
        if (e.offset + e.size > far.offset + far.size) far = e;
    }
    if (pairs.empty()) return;
    for (const auto& [a, b] : pairs) names[a.offset], names[b.offset];
    for (EntryStream stream(image); stream.next();) {
        const EntryView& entry = stream.entry();
        if (entry.tombstone() || entry.inlined()) continue;
        for (const std::uint64_t offset : {entry.fixed.header_offset, entry.fixed.offset})
            if (const auto it = names.find(offset); it != names.end())
                it->second += fmt::format("{}blob '{}'", it->second.empty() ? "" : " and ", printable(entry.name));
    }
    for (const auto& [a, b] : pairs) {
        const auto who = [&](const Extent& e) {
            const std::string& name = names[e.offset];
            return fmt::format("{} at {}+{}", name.empty() ? "the catalogue" : name, e.offset, e.size);
        };
        image.data_finding(Cure::catalogue, Severity::error, "extents", b.offset,
                           fmt::format("bytes of {} alone", who(a)), fmt::format("also of {}", who(b)));
    }
}

void check_events(Image& image) {
    for (const RunImage& run : image.runs)
        if (!run.events_complete) return;  // reported already, and nothing can be said
    const Ranges taken = taken_by_events(image, true);
    const Ranges owned = joined_ranges(image.owned);
    // While entries are missing, what nobody has may be theirs: then it must not be given back.
    const Cure cure = image.incomplete ? Cure::catalogue : Cure::accounts;
    for_each_missing(taken, owned, [&](Extent e) {
        image.report.leaked += e.size;
        image.data_finding(cure, Severity::error, "free space", e.offset, fmt::format("{} free bytes", e.size),
                           image.incomplete ? "bytes that are taken, of a blob whose entry is damaged or lost"
                                            : "bytes that are taken, but no blob has them");
    });
    for_each_missing(owned, taken, [&](Extent e) {
        image.data_finding(cure, Severity::error, "free space", e.offset,
                           fmt::format("{} bytes taken by a blob", e.size), "bytes that are called free");
    });
}

// The zone table describes the runs without the log.
void check_zones(Image& image) {
    const Superblock& root = *image.root;
    const std::uint64_t zones = ((root.capacity - 1) >> root.zone_shift) + 1;
    Ranges taken = taken_by_events(image, false);
    for (const Extent& e : root_extents(root)) taken.push_back(e);
    std::sort(taken.begin(), taken.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    const std::vector<std::uint64_t> free = free_in_zones(root.capacity, root.zone_shift, joined_ranges(taken));
    std::uint64_t used = root.capacity;
    for (const std::uint64_t f : free) used -= f;

    if (root.zone_size != 0) {
        std::vector<Zone> table(zones);
        if (!image.read(root.zone_offset, zones * sizeof(Zone), table.data())) {
            image.data_finding(Cure::accounts, Severity::error, "zone table", root.zone_offset, "a readable table",
                               "none");
        } else if (const std::uint32_t crc = crc32c(table.data(), zones * sizeof(Zone)); crc != root.zone_crc) {
            image.data_finding(Cure::accounts, Severity::error, "zone table", root.zone_offset,
                               fmt::format("checksum {:#x}", root.zone_crc), fmt::format("{:#x}", crc));
        } else {
            for (std::uint64_t z = 0; z < zones; ++z)
                if (table[z].free != free[z] && image.events_known())
                    image.data_finding(Cure::accounts, Severity::error, fmt::format("zone {}", z),
                                       root.zone_offset + z * sizeof(Zone), fmt::format("{} free bytes", free[z]),
                                       fmt::format("{}", table[z].free));
        }
    }
    if (root.used != used && image.events_known())
        image.map_finding(Cure::accounts, Severity::error, fmt::format("superblock copy {}", image.root_index),
                          kSuperblockOffset[image.root_index] + offsetof(Superblock, used),
                          fmt::format("{} bytes in use", used), fmt::format("{}", root.used));
}

}  // namespace

void check_space(Image& image) {
    std::sort(image.owned.begin(), image.owned.end(),
              [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
    for (const Extent& e : root_extents(*image.root)) image.report.metadata += e.size;
    check_overlaps(image);
    check_events(image);
    check_zones(image);
    const auto counted = static_cast<std::int64_t>(image.root->blobs) + image.new_names;
    if (!image.incomplete && counted != static_cast<std::int64_t>(image.report.blobs))
        image.map_finding(Cure::accounts, Severity::error, fmt::format("superblock copy {}", image.root_index),
                          kSuperblockOffset[image.root_index] + offsetof(Superblock, blobs),
                          fmt::format("{} blobs counted", image.report.blobs), fmt::format("{}", counted));
}

}  // namespace pymm
