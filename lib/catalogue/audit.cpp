#include "catalogue/audit.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "format/entry.hpp"

namespace pymm {

using namespace format;

namespace {

struct Owned {
    std::uint64_t begin;
    std::uint64_t end;
    std::string owner;
};

}  // namespace

AuditReport audit(const Catalogue& catalogue, const Media& data) {
    AuditReport report;
    const Superblock& root = catalogue.root();
    std::vector<Owned> owned;
    const auto own = [&](std::uint64_t offset, std::uint64_t size, std::string owner) {
        owned.push_back({offset, offset + size, std::move(owner)});
    };

    catalogue.for_each("", [&](const EntryView& entry) {
        ++report.blobs;
        const Entry& e = entry.fixed;
        const Bytes header = entry.inlined() ? Bytes{}
                                             : Bytes(data.data() + e.header_offset, e.header_size);
        try {
            (void)blob_info(entry, header, root.uuid);
        } catch (const CorruptError& error) {
            report.problems.emplace_back(error.what());
        }
        if (entry.inlined()) return true;
        ExtentHeaderView view;
        const char* problem = decode_extent_header(header, e.header_offset, root.uuid, view);
        if (problem == nullptr && (view.fixed.offset != e.offset || view.fixed.id != e.id ||
                                   view.fixed.extent != e.extent || view.fixed.size != e.size))
            problem = "extent header: disagrees with the catalogue";
        if (problem != nullptr)
            report.problems.push_back(
                fmt::format("blob '{}', header at offset {}: {}", entry.name, e.header_offset, problem));
        own(e.header_offset, e.header_size, fmt::format("header of '{}'", entry.name));
        own(e.offset, e.extent, fmt::format("data of '{}'", entry.name));
        report.bytes += e.header_size + e.extent;
        return true;
    });

    RangeSet referred;
    for (const Owned& o : owned) referred.add(o.begin, o.end - o.begin);

    // What the events call taken must be what the blobs occupy, to the byte.
    RangeSet taken;
    const auto cursor = catalogue.space_events();
    Event event;
    while (cursor->next(event))
        if (event.taken) taken.add(event.offset, event.size);
    RangeSet leaked = taken;
    for (const auto& [begin, end] : referred.ranges()) leaked.remove(begin, end - begin);
    for (const auto& [begin, end] : leaked.ranges()) {
        report.leaked += end - begin;
        report.problems.push_back(fmt::format("{} bytes at offset {} are taken, but no blob has them", end - begin, begin));
    }
    RangeSet missing = referred;
    for (const auto& [begin, end] : taken.ranges()) missing.remove(begin, end - begin);
    for (const auto& [begin, end] : missing.ranges())
        report.problems.push_back(fmt::format("{} bytes at offset {} belong to a blob, but are called free",
                                              end - begin, begin));

    std::uint64_t metadata = 0;
    for (const Extent& e : catalogue.metadata_extents()) {
        own(e.offset, e.size, "catalogue");
        metadata += e.size;
    }
    std::sort(owned.begin(), owned.end(), [](const Owned& a, const Owned& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < owned.size(); ++i)
        if (owned[i].begin < owned[i - 1].end)
            report.problems.push_back(fmt::format("{} at offset {} overlaps {} at offset {}", owned[i].owner,
                                                  owned[i].begin, owned[i - 1].owner, owned[i - 1].begin));

    if (report.blobs != catalogue.blobs())
        report.problems.push_back(fmt::format("{} blobs are counted, {} are there", catalogue.blobs(), report.blobs));
    const std::uint64_t used = kDataStart + report.bytes + metadata + report.leaked;
    if (catalogue.space().used() != used)
        report.problems.push_back(fmt::format("{} bytes are accounted as used, {} are", catalogue.space().used(), used));
    return report;
}

}  // namespace pymm
