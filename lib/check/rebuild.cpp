#include "check/rebuild.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "catalogue/random.hpp"
#include "catalogue/run.hpp"
#include "catalogue/space_map.hpp"
#include "check/entry_check.hpp"
#include "check/entry_stream.hpp"
#include "format/crc32c.hpp"
#include "format/names.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

bool by_offset(const Extent& a, const Extent& b) { return a.offset < b.offset; }

// What nobody uses, and no reader elsewhere looks at. However many pieces there are, and however large a marked one is, a
// call costs little: the smallest piece that does is taken, and what turns out to be marked is left out from then on.
class FreeSpace {
public:
    FreeSpace(std::vector<Extent> used, std::uint64_t capacity, Lease* lease) : lease_(lease) {
        std::sort(used.begin(), used.end(), by_offset);
        std::uint64_t at = kDataStart;
        for (const Extent& e : used) {
            if (e.offset > at) add(at, std::min(e.offset, capacity));
            at = std::max(at, std::min(capacity, e.offset + e.size));
        }
        if (at < capacity) add(at, capacity);
    }

    Extent take(std::uint64_t size, std::uint64_t align, const std::string& shelf) {
        for (auto it = free_.lower_bound({size, 0}); it != free_.end();) {
            const auto [room, begin] = *it;
            const std::uint64_t end = begin + room;
            const std::uint64_t at = round_up(begin, align);
            if (at > end || size > end - at) {  // only pages are aligned like that, and few extents of pages are taken
                ++it;
                continue;
            }
            free_.erase(it);
            if (lease_ != nullptr) {
                if (const auto mark = lease_->mark_in(at, size)) {
                    // Up to 64-byte lines. The mark has bytes of [at, at + size), so each round leaves less.
                    add(begin, std::min(end, mark->offset & ~(kLine - 1)));
                    add(std::max(begin, round_up(mark->offset + mark->size, kLine)), end);
                    it = free_.lower_bound({size, 0});
                    continue;
                }
            }
            add(begin, at);
            add(at + size, end);
            return {at, size};
        }
        throw NoSpaceError(fmt::format("{}: no {} contiguous bytes are free for a new catalogue; nothing was repaired: "
                                       "copy what is readable to another shelf", shelf, size));
    }

private:
    void add(std::uint64_t begin, std::uint64_t end) {
        if (begin < end) free_.emplace(end - begin, begin);
    }

    Lease* lease_;
    std::set<std::pair<std::uint64_t, std::uint64_t>> free_;  // size, offset
};

// All entries of the new catalogue, by name.
template <class F>
void for_each_entry(const Image& image, const Plan& plan, F&& visit) {
    auto extra = plan.extra.begin();
    std::vector<std::byte> encoded;
    const auto emit = [&](const NewEntry& e) {
        const bool outside = (e.fixed.flags & kEntryTypeInHeader) != 0;
        const Bytes type = outside ? Bytes{} : Bytes(e.type);
        encoded.resize(encoded_entry_size(e.name.size(), type.size(), e.value.size()));
        encode_entry(e.fixed, e.name, type, e.value, encoded.data());
        visit(std::string_view(e.name), Bytes(encoded), e.fixed);
    };
    for (EntryStream stream(image); stream.next();) {
        const EntryView& entry = stream.entry();
        if (entry.tombstone()) continue;
        while (extra != plan.extra.end() && std::string_view(extra->name) < entry.name) emit(*extra++);
        if (!plan.left_out.empty() && plan.left_out.contains(std::string(entry.name))) continue;
        visit(entry.name, stream.encoded(), entry.fixed);
    }
    for (; extra != plan.extra.end(); ++extra) emit(*extra);
}

void encode_new_header(const NewEntry& e, const Uuid& uuid, std::vector<std::byte>& out) {
    ExtentHeader h{};
    h.uuid = uuid;
    h.own_offset = e.fixed.header_offset;
    h.offset = e.fixed.offset;
    h.extent = e.fixed.extent;
    h.size = e.fixed.size;
    h.id = e.fixed.id;
    h.sequence = e.fixed.sequence - 1;
    h.created_ns = e.fixed.modified_ns;
    h.mode = e.fixed.mode;
    out.clear();
    encode_extent_header(h, e.name, e.type, out);
}

}  // namespace

void save_replaced(Image& image, const std::vector<Extent>& data) {
    if (image.saved || !image.target.save) return;
    Replaced replaced;
    // What is found without a root may overlap: each byte is saved once.
    std::vector<Extent> sorted = data;
    std::sort(sorted.begin(), sorted.end(), by_offset);
    for (const Extent& e : joined_ranges(sorted))
        if (e.offset < image.target.data.size())
            replaced.data.push_back({e.offset, std::min(e.size, image.target.data.size() - e.offset)});
    image.report.backup = image.target.save(replaced);
    image.saved = true;
}

void write_data_header(Image& image, const Uuid& uuid, std::uint64_t capacity) {
    DataHeader header{};
    header.magic = kDataMagic;
    header.version = kVersion;
    header.uuid = uuid;
    header.capacity = capacity;
    header.crc = crc32c(&header, offsetof(DataHeader, crc));
    header.used = 1;
    Media& data = image.target.data;
    data.reserve(0, kPage);
    data.write(0, &header, sizeof header);
    data.drain();
}

void rebuild(Image& image, Plan& plan) {
    Media& data = image.target.data;
    Superblock next = plan.base;
    std::vector<Extent> old = plan.keep;
    if (image.root)
        for (const Extent& e : root_extents(*image.root)) old.push_back(e);

    // Everything that is in use: data of the new catalogue's blobs, what the old one stands on, evidence.
    std::vector<Extent> taken;
    for_each_entry(image, plan, [&](std::string_view, Bytes, const Entry& e) {
        if ((e.flags & kEntryInline) == 0) append_extents(e, taken);
    });
    std::vector<Extent> used = taken;
    used.insert(used.end(), old.begin(), old.end());
    used.insert(used.end(), image.owned.begin(), image.owned.end());
    FreeSpace space(std::move(used), plan.capacity, image.target.lease);

    save_replaced(image, old);
    std::vector<std::byte> bytes;
    for (NewEntry& e : plan.extra) {
        if (!e.new_header) continue;
        if (e.type.size() > kMaxEntryType) e.fixed.flags |= kEntryTypeInHeader;
        e.fixed.sequence = std::max<std::uint64_t>(e.fixed.sequence, 1);
        const Extent at = space.take(extent_header_size(e.name.size(), e.type.size()), kLine, data.name());
        e.fixed.header_offset = at.offset;
        e.fixed.header_size = static_cast<std::uint32_t>(at.size);
        encode_new_header(e, next.uuid, bytes);
        data.reserve(at.offset, at.size);
        data.write(at.offset, bytes.data(), bytes.size());
        image.report.repaired = true;
    }

    RunWriter::Bound bound;
    std::uint64_t max_id = image.max_id;
    bool journals = false;
    taken.clear();
    for_each_entry(image, plan, [&](std::string_view name, Bytes encoded, const Entry& e) {
        ++bound.names;
        journals |= is_journal_name(name);
        bound.bytes += encoded.size();
        bound.max_entry = std::max<std::uint64_t>(bound.max_entry, encoded.size());
        bound.max_name = std::max<std::uint64_t>(bound.max_name, name.size());
        if (e.id < kIdLimit) max_id = std::max(max_id, e.id);
        next.sequence = std::max(next.sequence, e.sequence);
        if ((e.flags & kEntryInline) == 0) append_extents(e, taken);
    });
    std::sort(taken.begin(), taken.end(), by_offset);
    taken = joined_ranges(taken);
    bound.events = taken.size();

    next.capacity = plan.capacity;
    next.zone_shift = zone_shift_for(plan.capacity);
    next.run_count = 0;
    std::fill(std::begin(next.runs), std::end(next.runs), RunRef{});
    if (next.next_run_id >= kIdLimit) {
        next.next_run_id = 1;
        for (const RunImage& run : image.runs)
            if (run.ref.run_id < kIdLimit) next.next_run_id = std::max(next.next_run_id, run.ref.run_id + 1);
    }
    std::vector<Extent> metadata;
    if (bound.names != 0) {
        const std::uint64_t pages = RunWriter::pages_bound(bound);
        const Extent at = space.take(pages * kPage, kPage, data.name());
        data.reserve(at.offset, at.size);
        RunWriter writer(data, at.offset, pages, next.uuid, next.next_run_id, bound.names);
        for_each_entry(image, plan, [&](std::string_view name, Bytes encoded, const Entry&) { writer.add(name, encoded); });
        for (const Extent& e : taken) writer.add_event({e.offset, e.size, true});
        next.runs[0] = writer.finish(0, next.sequence);
        next.run_count = 1;
        ++next.next_run_id;
        metadata.push_back({at.offset, next.runs[0].size});
    }
    const Extent log = space.take(next.base_log_size, kPage, data.name());
    data.reserve(log.offset, log.size);
    next.log_offset = log.offset;
    next.log_size = log.size;
    next.log_salt = random_u64();
    metadata.push_back(log);
    const std::uint64_t zones = ((plan.capacity - 1) >> next.zone_shift) + 1;
    const Extent table_at = space.take(round_up(zones * sizeof(Zone), kLine), kLine, data.name());
    metadata.push_back(table_at);
    next.zone_offset = table_at.offset;
    next.zone_size = table_at.size;

    std::vector<Extent> all = taken;
    all.insert(all.end(), metadata.begin(), metadata.end());
    std::sort(all.begin(), all.end(), by_offset);
    const std::vector<std::uint64_t> free = free_in_zones(plan.capacity, next.zone_shift, joined_ranges(all));
    std::vector<std::byte> padded(table_at.size);
    next.used = plan.capacity;
    for (std::uint64_t z = 0; z < zones; ++z) {
        const Zone zone{free[z], free[z]};
        std::memcpy(padded.data() + z * sizeof zone, &zone, sizeof zone);
        next.used -= free[z];
    }
    next.zone_crc = crc32c(padded.data(), zones * sizeof(Zone));
    data.reserve(table_at.offset, table_at.size);
    data.write(table_at.offset, padded.data(), padded.size());
    data.drain();
    image.report.repaired = true;

    // All that the new root names is durable. The data header says nothing that the old root contradicts.
    write_data_header(image, next.uuid, plan.capacity);
    next.blobs = bound.names;
    // Ids of blobs that were erased must not come again, either.
    if (next.next_id < kIdLimit) max_id = std::max(max_id, next.next_id);
    next.next_id = ((max_id >> 32) + 1) << 32;
    // After a clean end nobody looks for a transaction to be undone.
    next.flags = journals ? next.flags & ~kSuperblockClean : next.flags | kSuperblockClean;
    // Near the end the next session would be refused. Started anew it is lower than the one that is replaced, and counts
    // only when both copies are written: until then the old root does, which nothing was taken from.
    next.generation = next.generation < kPlausibleSequence ? next.generation + 1 : 1;
    seal_superblock(next);
    Media& map = image.target.map;
    const int first = image.root_index >= 0 ? 1 - image.root_index : 0;
    for (const int i : {first, 1 - first}) {
        map.write(kSuperblockOffset[i], &next, sizeof next);
        map.drain();
    }
}

}  // namespace pymm
