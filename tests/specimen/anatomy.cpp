#include "specimen/anatomy.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

#include "catalogue/commit.hpp"
#include "format/entry.hpp"
#include "sim/image_shelf.hpp"

namespace pymm::test {

using namespace format;

namespace {

template <class T>
T load(const PageBytes& bytes, std::uint64_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

void mark(std::vector<Part>& parts, std::uint64_t offset, std::uint64_t size, Part part) {
    std::fill_n(parts.begin() + static_cast<std::ptrdiff_t>(offset), size, part);
}

void mark_log(Anatomy& a, const PageBytes& data, const Superblock& root) {
    mark(a.data, root.log_offset, root.log_size, Part::log_rest);
    const Bytes log(data.data() + root.log_offset, root.log_size);
    std::uint64_t at = 0, last = 0, last_size = 0;
    std::size_t size = 0;
    while (at < log.size() && check_commit(log.subspan(at), root.sequence + a.commits + 1, root.log_salt, size) == nullptr) {
        mark(a.data, root.log_offset + at, size, Part::commit);
        last = at, last_size = size;
        at += round_up(size, kLine);
        ++a.commits;
    }
    mark(a.data, root.log_offset + last, last_size, Part::last_commit);
}

void mark_run(Anatomy& a, const PageBytes& data, const RunRef& run) {
    for (std::uint64_t at = run.offset; at < run.offset + run.size; at += kPage) {
        Part part;
        switch (load<PageHeader>(data, at).type) {
            case PageType::run: part = Part::run_header; break;
            case PageType::leaf: part = Part::leaf_page; break;
            case PageType::index: part = Part::index_page; break;
            case PageType::space: part = Part::space_page; break;
            case PageType::filter: part = Part::filter_page; break;
            default: throw std::logic_error("a page of no type");
        }
        mark(a.data, at, kPage, part);
    }
}

void mark_blob(Anatomy& a, const PageBytes& data, const Entry& e) {
    const auto header = load<ExtentHeader>(data, e.header_offset);
    mark(a.data, e.header_offset, e.header_size, Part::padding);
    mark(a.data, e.header_offset, sizeof header + header.name_size + header.type_size,
         (e.flags & kEntryTypeInHeader) != 0 ? Part::type_in_header : Part::extent_header);
    mark(a.data, e.header_offset + offsetof(ExtentHeader, update), 8, Part::extent_update);
    mark(a.data, e.offset, e.extent, Part::free_space);  // behind the data
    mark(a.data, e.offset, e.size, Part::blob_data);
}

}  // namespace

const char* part_name(Part part) noexcept {
    static const char* const names[] = {
        "superblock copy 0", "superblock copy 1", "live page", "data header", "data header: used", "log: commit", "log: last commit",
        "run: header page", "run: leaf page", "run: index page", "run: filter page", "run: space page", "zone table",
        "extent header with type", "extent header", "extent header: update", "blob data", "map, reserved", "data page 0, reserved",
        "log: unused", "padding", "free space"};
    static_assert(std::size(names) == static_cast<std::size_t>(Part::count));
    return names[static_cast<std::size_t>(part)];
}

Anatomy dissect(ShelfImage& image) {
    Anatomy a;
    a.map.assign(image.map.size(), Part::map_reserved);
    a.data.assign(image.data.size(), Part::free_space);
    mark(a.map, kSuperblockOffset[0], kSuperblockSize, Part::superblock_0);
    mark(a.map, kSuperblockOffset[1], kSuperblockSize, Part::superblock_1);
    mark(a.map, kLivePageOffset, sizeof(LivePage), Part::live_page);
    mark(a.data, 0, kDataStart, Part::data_reserved);
    mark(a.data, 0, sizeof(DataHeader), Part::data_header);
    mark(a.data, offsetof(DataHeader, used), 4, Part::data_header_used);
    sim::SimLocks locks;
    auto spans = image.spans();
    const Shelf shelf = sim::open_image(spans, locks, Granularity::cache_line, Mode::read_only);
    sim::inspect_shelf(shelf, [&](Catalogue& catalogue) {
        const Superblock& root = catalogue.root();
        catalogue.for_each("", [&](const EntryView& entry) {
            if (!entry.inlined()) mark_blob(a, image.data, entry.fixed);
            return true;
        });
        for (std::uint32_t i = 0; i < root.run_count; ++i) mark_run(a, image.data, root.runs[i]);
        if (root.zone_size != 0) {
            const std::uint64_t zones = ((root.capacity - 1) >> root.zone_shift) + 1;
            mark(a.data, root.zone_offset, root.zone_size, Part::padding);
            mark(a.data, root.zone_offset, zones * sizeof(Zone), Part::zone_table);
        }
        mark_log(a, image.data, root);
    });
    return a;
}

}  // namespace pymm::test
