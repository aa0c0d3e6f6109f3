#include "specimen/checksums.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "format/crc32c.hpp"
#include "format/entry.hpp"
#include "format/layout.hpp"

namespace pymm::test {

using namespace format;

namespace {

template <class T>
T load(std::span<const std::byte> bytes, std::uint64_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

template <class T>
void store(std::span<std::byte> bytes, std::uint64_t at, const T& value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

bool inside(std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t size) {
    return offset <= bytes.size() && size <= bytes.size() - offset;
}

void fix_run(std::span<std::byte> data, const RunRef& run) {
    if (!inside(data, run.offset, kPage)) return;
    const std::uint64_t pages = std::min<std::uint64_t>(run.size, data.size() - run.offset) / kPage;
    for (std::uint64_t i = 0; i < pages; ++i) {
        const std::uint64_t at = run.offset + i * kPage;
        auto header = load<PageHeader>(data, at);
        if (header.magic != kPageMagic) continue;
        header.crc = 0;
        store(data, at, header);
        header.crc = crc32c(data.data() + at, kPage);
        store(data, at, header);
    }
}

void fix_log(std::span<std::byte> data, const Superblock& sb) {
    if (!inside(data, sb.log_offset, sizeof(CommitHeader))) return;
    const std::span<std::byte> log =
        data.subspan(sb.log_offset, std::min<std::uint64_t>(sb.log_size, data.size() - sb.log_offset));
    for (std::uint64_t at = 0; inside(log, at, sizeof(CommitHeader));) {
        auto header = load<CommitHeader>(log, at);
        if (header.magic != kCommitMagic || header.size < sizeof header || !inside(log, at, header.size)) return;
        header.crc = 0;
        store(log, at, header);
        header.crc = crc32c(log.data() + at, header.size);
        store(log, at, header);
        at += round_up(header.size, kLine);
    }
}

void fix_extent_header(std::span<std::byte> data, std::uint64_t at) {
    const auto header = load<ExtentHeader>(data, at);
    const std::uint64_t tail = std::uint64_t{header.name_size} + header.type_size;
    if (!inside(data, at + sizeof header, tail)) return;
    ExtentHeader clean = header;
    clean.update = 0;
    clean.crc = 0;
    ExtentHeader fixed = header;
    fixed.crc = crc32c(data.data() + at + sizeof header, tail, crc32c(&clean, sizeof clean));
    store(data, at, fixed);
}

// What follows is data of blobs, found by its magic; its sizes are hostile.

void fix_tree(std::span<std::byte> data, std::uint64_t at) {
    auto header = load<TreeHeader>(data, at);
    header.crc = 0;
    header.crc = crc32c(&header, sizeof header);
    store(data, at, header);
    if (!inside(data, at, header.meta)) return;
    for (std::uint64_t begin = 0, sum = at + header.meta; begin < header.meta && inside(data, sum, 4); begin += kPage, sum += 4)
        store(data, sum, crc32c(data.data() + at + begin, std::min(kPage, header.meta - begin)));
}

void fix_list_node(std::span<std::byte> list, std::uint64_t at, unsigned& budget) {
    if (budget == 0 || at % 8 != 0 || !inside(list, at, sizeof(ListNode))) return;
    --budget;
    auto node = load<ListNode>(list, at);
    const std::uint64_t size = sizeof node + sizeof(ListChild) * std::uint64_t{node.items};
    if (node.items > kListFanout || !inside(list, at, size)) return;
    if (node.level != 0)
        for (std::uint64_t i = 0; i < node.items; ++i) {
            const auto child = load<ListChild>(list, at + sizeof node + i * sizeof(ListChild));
            if (child.offset < at) fix_list_node(list, child.offset, budget);
        }
    node.crc = 0;
    store(list, at, node);
    node.crc = crc32c(list.data() + at, size);
    store(list, at, node);
}

void fix_list(std::span<std::byte> data, std::uint64_t at) {
    auto root = load<ListRoot>(data, at);
    if (root.size >= sizeof root && root.size <= at + sizeof root) {
        unsigned budget = 200;
        fix_list_node(data.subspan(at + sizeof root - root.size, root.size), root.top, budget);
    }
    root.crc = 0;
    root.crc = crc32c(&root, sizeof root);
    store(data, at, root);
}

void fix_journal(std::span<std::byte> data, std::uint64_t at) {
    auto header = load<JournalHeader>(data, at);
    header.crc = 0;
    store(data, at, header);
    if (inside(data, at, header.size)) header.crc = crc32c(data.data() + at, header.size);
    store(data, at, header);
}

}  // namespace

void fix_checksums(std::span<std::byte> map, std::span<std::byte> data) {
    for (std::uint64_t at = 0; inside(data, at, sizeof(ExtentHeader)); at += kLine)
        switch (load<std::uint64_t>(data, at)) {
            case kExtentMagic: fix_extent_header(data, at); break;
            case kTreeMagic: fix_tree(data, at); break;
            case kListMagic: fix_list(data, at); break;
            case kJournalMagic: fix_journal(data, at); break;
            default: break;
        }
    if (inside(data, 0, sizeof(DataHeader))) {
        auto header = load<DataHeader>(data, 0);
        DataHeader clean = header;
        clean.used = 0;
        header.crc = crc32c(&clean, offsetof(DataHeader, crc));
        if (header.magic == kDataMagic) store(data, 0, header);
    }
    for (const std::uint64_t at : kSuperblockOffset) {
        if (!inside(map, at, sizeof(Superblock))) continue;
        auto sb = load<Superblock>(map, at);
        if (sb.magic != kSuperblockMagic) continue;
        for (std::uint32_t i = 0; i < std::min(sb.run_count, kMaxRuns); ++i) fix_run(data, sb.runs[i]);
        fix_log(data, sb);
        if (sb.zone_shift < 64 && sb.capacity != 0) {
            const std::uint64_t zones = ((sb.capacity - 1) >> sb.zone_shift) + 1;
            if (zones <= kMaxZones && inside(data, sb.zone_offset, zones * sizeof(Zone)))
                sb.zone_crc = crc32c(data.data() + sb.zone_offset, zones * sizeof(Zone));
        }
        sb.crc = crc32c(&sb, offsetof(Superblock, crc));
        store(map, at, sb);
    }
}

}  // namespace pymm::test
