#include "catalogue/catalogue.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>

#include "catalogue/commit_sweep.hpp"
#include "catalogue/entry_merge.hpp"
#include "catalogue/filter.hpp"
#include "catalogue/random.hpp"
#include "format/crc32c.hpp"
#include "media/guarded_read.hpp"

namespace pymm {

using namespace format;

namespace {

// A hash of the kernel's boot id: what the live page says is worth nothing after a reboot.
std::uint64_t boot_hash() {
    static const std::uint64_t hash = [] {
        char text[64]{};
        const int fd = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        const ssize_t n = fd < 0 ? -1 : ::read(fd, text, sizeof text);
        if (fd >= 0) ::close(fd);
        // Where the boot id cannot be read nothing may be believed: a value that never matches.
        return n <= 0 ? random_u64() | 1 : name_hash({text, static_cast<std::size_t>(n)});
    }();
    return hash;
}

std::uint64_t* live_word(const Media& map, std::size_t field) {
    return reinterpret_cast<std::uint64_t*>(map.data() + kLivePageOffset + field);
}

std::uint64_t load_word(const Media& map, std::uint64_t offset, std::string_view what) {
    std::uint64_t value = 0;
    auto* word = reinterpret_cast<std::uint64_t*>(map.data() + offset);
    guarded_read(map, offset, sizeof *word, what,
                 [&]() noexcept { value = std::atomic_ref(*word).load(std::memory_order_acquire); });
    return value;
}

std::uint64_t load_live(const Media& map, std::size_t field) {
    return load_word(map, kLivePageOffset + field, "live page");
}

// The raw generation words of the two superblocks: enough to see that something changed.
std::uint64_t peek_generation(const Media& map) {
    std::uint64_t best = 0;
    for (const std::uint64_t copy : kSuperblockOffset)
        best = std::max(best, load_word(map, copy + offsetof(Superblock, generation), "superblock"));
    return best;
}

SuperblockChoice read_root(const Media& map) {
    std::vector<std::byte> copies(std::min<std::uint64_t>(map.size(), kSuperblockOffset[1] + kSuperblockSize));
    guarded_copy(copies.data(), map, 0, copies.size(), "superblocks");
    return choose_superblock(copies);
}

/// check_commit() of what lies at `at` in a log segment.
const char* look_at_commit(const Media& data, std::uint64_t log, Bytes bytes, std::uint64_t at, std::uint64_t sequence,
                           std::uint64_t salt, std::size_t& size) {
    const char* problem = nullptr;
    guarded_read(data, log + at, bytes.size() - at, "redo log",
                 [&]() noexcept { problem = check_commit(bytes.subspan(at), sequence, salt, size); });
    return problem;
}

}  // namespace

void Catalogue::format(Media& map, Media& data, const FormatOptions& options) {
    const std::uint64_t capacity = data.size();
    assert(capacity % kPage == 0 && map.size() >= kMapSize);
    DataHeader header{};
    header.magic = kDataMagic;
    header.version = kVersion;
    header.uuid = options.uuid;
    header.capacity = capacity;
    header.crc = crc32c(&header, offsetof(DataHeader, crc));
    data.reserve(0, kPage);
    data.write(0, &header, sizeof header);

    Superblock sb{};
    sb.uuid = options.uuid;
    if (options.checksum) sb.compat |= kCompatChecksum;
    sb.generation = 1;
    sb.capacity = capacity;
    sb.created_ns = options.created_ns;
    sb.next_id = 1;
    sb.base_log_size = options.log_size != 0 ? options.log_size : default_log_size(capacity);
    sb.log_offset = kDataStart;
    sb.log_size = sb.base_log_size;
    sb.log_salt = random_u64();
    sb.flags = kSuperblockClean;
    sb.used = kPage + sb.log_size;
    sb.zone_shift = zone_shift_for(capacity);
    sb.next_run_id = 1;
    seal_superblock(sb);
    data.reserve(sb.log_offset, sb.log_size);
    data.drain();
    for (const std::uint64_t at : kSuperblockOffset) {
        map.write(at, &sb, sizeof sb);
        map.drain();
    }
}

std::uint64_t Catalogue::default_log_size(std::uint64_t capacity) noexcept {
    return std::clamp<std::uint64_t>(capacity / 64 & ~(kPage - 1), 2 * kPage, 128 << 10);
}

Catalogue::Catalogue(Media& map, Media& data, Lease* reader_lease)
    : map_(map), data_(data), reader_lease_(reader_lease) {
    try {
        load();
    } catch (...) {
        unmark_root();
        throw;
    }
}

Catalogue::~Catalogue() { unmark_root(); }

void Catalogue::mark_root() {
    for (const Extent& e : root_extents(root_)) {
        reader_lease_->mark_extent(e.offset, e.size);
        marked_.push_back(e);
    }
}

void Catalogue::unmark_root() noexcept {
    for (const Extent& e : marked_) reader_lease_->unmark_extent(e.offset, e.size);
    marked_.clear();
}

void Catalogue::damaged(const std::string& what) const {
    throw CorruptError(fmt::format("{}: {}; run a check of the shelf and restore it from a copy",
                                   map_.name(), what));
}

void Catalogue::load() {
    const auto use = [this](const SuperblockChoice& choice) {
        if (!choice.best)
            damaged(fmt::format("no usable superblock (first copy: {}; second copy: {})", choice.problem[0],
                                choice.problem[1]));
        root_ = *choice.best;
        root_index_ = choice.index;
        std::string why;
        support_ = superblock_support(root_, why);
        if (support_ == Support::none)
            throw VersionError(fmt::format("{}: {}; open it with a newer version of PyMM", map_.name(), why));
        if (const std::string problem = superblock_problem(root_, data_.size()); !problem.empty())
            damaged(problem);
    };
    use(read_root(map_));
    while (reader_lease_ != nullptr) {
        // Mark, then look again: a writer that changed the root before our marks may already reuse what the
        // old one named; one that changes it later sees them.
        mark_root();
        const std::uint64_t generation = root_.generation;
        use(read_root(map_));
        if (root_.generation == generation) break;
        unmark_root();
    }

    DataHeader header;
    guarded_copy(&header, data_, 0, sizeof header, "data header");
    if (header.magic != kDataMagic)
        throw CorruptError(fmt::format("{}: not the data file of a shelf (no magic)", data_.name()));
    if (header.uuid != root_.uuid)
        throw CorruptError(fmt::format("{}: belongs to shelf {}, but {} to {}; the pair was mixed up",
                                       data_.name(), uuid_text(header.uuid), map_.name(),
                                       uuid_text(root_.uuid)));

    runs_.clear();
    for (std::uint32_t i = 0; i < root_.run_count; ++i)
        runs_.push_back(std::make_unique<Run>(data_, root_.runs[i], root_.uuid));

    space_ = std::make_unique<SpaceMap>(root_.capacity, root_.zone_shift,
                                        [this](std::uint64_t begin) { return committed_events(begin); });
    if (root_.zone_size != 0) {
        std::vector<Zone> table(space_->zone_count());
        guarded_copy(table.data(), data_, root_.zone_offset, table.size() * sizeof(Zone), "zone table");
        if (crc32c(table.data(), table.size() * sizeof(Zone)) != root_.zone_crc)
            throw CorruptError(fmt::format("{}: zone table at offset {}: wrong checksum; run a check of the shelf",
                                           data_.name(), root_.zone_offset));
        space_->reset(table.data());
        // The table already counts the metadata of its root.
        for (const Extent& e : root_extents(root_)) {
            space_->metadata(e.offset, e.size, false);
            space_->metadata(e.offset, e.size, true);
        }
    } else {
        for (const Extent& e : root_extents(root_)) space_->metadata(e.offset, e.size, true);
    }

    blobs_ = root_.blobs;
    next_id_ = root_.next_id;
    sequence_ = root_.sequence;
    log_used_ = 0;
    tail_.clear();
    replay();
}

std::vector<Extent> Catalogue::root_extents(const Superblock& sb) const {
    std::vector<Extent> all{{sb.log_offset, sb.log_size}};
    if (sb.zone_size != 0) all.push_back({sb.zone_offset, sb.zone_size});
    for (std::uint32_t i = 0; i < sb.run_count; ++i) all.push_back({sb.runs[i].offset, sb.runs[i].size});
    return all;
}

// A writer beside us publishes the last durable commit of this incarnation of the log. While the salts
// differ the log that our root names is complete: a writer announces the new salt before it writes the
// root that has it, and appends to the old log no more.
std::uint64_t Catalogue::live_limit(const Media& map, std::uint64_t salt) {
    if (load_live(map, offsetof(LivePage, boot)) != boot_hash() ||
        load_live(map, offsetof(LivePage, salt)) != salt)
        return UINT64_MAX;
    return load_live(map, offsetof(LivePage, sequence));
}

void Catalogue::publish(std::uint64_t salt, std::uint64_t sequence) noexcept {
    // Not flushed: it speaks to processes of this boot only. A reader that sees the new salt with an old
    // sequence takes less, never more, than is durable.
    const auto word = [this](std::size_t field) { return std::atomic_ref(*live_word(map_, field)); };
    const auto store = [&](std::size_t field, std::uint64_t value) {
        word(field).store(value, std::memory_order_release);
    };
    const std::uint64_t boot = boot_hash();
    const std::byte* fault = nullptr;
    // A fault tells nobody anything: what is published is durable already, and the next write of the .map fails.
    (void)survives_bus_error(
        [&]() noexcept {
            if (word(offsetof(LivePage, salt)).load(std::memory_order_acquire) != salt) {
                store(offsetof(LivePage, boot), 0);
                store(offsetof(LivePage, salt), salt);
                store(offsetof(LivePage, sequence), sequence);
                store(offsetof(LivePage, boot), boot);
            } else {
                store(offsetof(LivePage, sequence), sequence);
            }
        },
        fault);
}

void Catalogue::replay() {
    const bool live_writer = reader_lease_ != nullptr && reader_lease_->writer_alive();
    append_tail(live_writer ? publish_limit() : UINT64_MAX);
    if (live_writer || (root_.flags & kSuperblockClean) != 0) return;
    // A torn commit is the last thing in a log. A sound one of this incarnation behind it means that the
    // one before was acknowledged and is damaged now.
    const auto read = [this](std::uint64_t offset, std::uint64_t size, std::byte* out) {
        guarded_copy(out, data_, offset, size, "redo log");
        return true;
    };
    const auto found = [this](const SweptCommit& c) -> bool {
        throw CorruptError(fmt::format("{}: redo log at offset {}: commit {} is damaged (commit {} behind it is sound); "
                                       "run a check of the shelf and restore it from a copy",
                                       data_.name(), root_.log_offset + log_used_, sequence_ + 1, c.sequence));
    };
    find_commits(data_, root_.log_offset + log_used_, root_.log_offset + root_.log_size, root_.log_salt, sequence_ + 1, read,
                 found);
}

void Catalogue::append_tail(std::uint64_t limit) {
    const Bytes log(data_.data() + root_.log_offset, root_.log_size);
    while (sequence_ < limit && log_used_ < log.size()) {
        const Bytes rest = log.subspan(log_used_);
        std::size_t size = 0;
        if (look_at_commit(data_, root_.log_offset, log, log_used_, sequence_ + 1, root_.log_salt, size) != nullptr)
            break;
        apply(rest.first(size), false);
        log_used_ = std::min<std::uint64_t>(round_up(log_used_ + size, kLine), log.size());
    }
    // What a live writer says is durable is there; else it is damaged. Unless it announced another salt meanwhile:
    // then `limit` may speak of the log after this one.
    if (sequence_ < limit && limit != UINT64_MAX && publish_limit() != UINT64_MAX && reader_lease_ != nullptr &&
        reader_lease_->writer_alive())
        throw CorruptError(fmt::format("{}: redo log at offset {}: commit {} is damaged (its writer has made {}); run a "
                                       "check of the shelf",
                                       data_.name(), root_.log_offset + log_used_, sequence_ + 1, limit));
}

void Catalogue::apply(Bytes commit, bool live) {
    const char* problem = tail_.apply(commit, root_.capacity, live, [&](const Record& r) {
        const Extent& e = r.extent;
        switch (r.type) {
            case RecordType::put:
                if (r.new_name) ++blobs_;
                // A forged id is a fault of that entry alone.
                if (r.entry.fixed.id < kIdLimit) next_id_ = std::max(next_id_, r.entry.fixed.id + 1);
                break;
            case RecordType::erase: --blobs_; break;
            case RecordType::alloc:
                space_->committed(e.offset, e.size, true);
                if (live) space_->settle(e.offset, e.size);
                break;
            case RecordType::free:
                space_->committed(e.offset, e.size, false);
                if (live) {
                    // Held at once: a zone that is loaded before anybody asked who looks at these bytes must
                    // not hand them out.
                    space_->hold(e.offset, e.size);
                    freed_.push_back(e);
                }
                break;
        }
    });
    ++sequence_;
    if (problem != nullptr)
        throw CorruptError(fmt::format("{}: redo log at offset {}: commit {}: {}; run a check of the shelf",
                                       data_.name(), root_.log_offset + log_used_, sequence_, problem));
}

bool Catalogue::refresh() {
    if (peek_generation(map_) != root_.generation) {
        const SuperblockChoice now = read_root(map_);
        // A copy that is just being written does not count yet.
        if (now.best && now.best->generation != root_.generation) {
            std::vector<Extent> before = std::exchange(marked_, {});
            try {
                load();
            } catch (...) {
                unmark_root();
                marked_ = std::move(before);
                root_.generation = 0;  // of no root: what is half loaded is not used again
                throw;
            }
            std::swap(before, marked_);
            unmark_root();
            marked_ = std::move(before);
            return true;
        }
    }
    // While the writer announces a new incarnation, ours is complete: all of it counts.
    const std::uint64_t limit = publish_limit();
    if (limit <= sequence_) return false;
    const std::uint64_t known = sequence_;
    append_tail(limit);
    return sequence_ != known;
}

bool Catalogue::find(std::string_view name, EntryView& out) const {
    if (const Bytes bytes = tail_.find(name); !bytes.empty()) {
        std::size_t used = 0;
        const char* problem = decode_entry(bytes, out, used);
        assert(problem == nullptr);
        (void)problem;
        return !out.tombstone();
    }
    if (runs_.empty()) return false;
    const std::uint64_t hash = name_hash(name);
    // A new name asks them all: the filters' cache misses overlap.
    for (const auto& run : runs_) run->prefetch(hash);
    for (auto it = runs_.rbegin(); it != runs_.rend(); ++it)
        if ((*it)->find(name, hash, out)) return !out.tombstone();
    return false;
}

void Catalogue::for_each(std::string_view prefix,
                         const std::function<bool(const EntryView&)>& visit) const {
    EntryMerge merge(tail_.sorted(), runs_, 0, prefix);
    std::string_view name;
    Bytes encoded;
    while (merge.next(name, encoded)) {
        if (!name.starts_with(prefix)) return;
        EntryView entry;
        std::size_t used = 0;
        const char* problem = decode_entry(encoded, entry, used);
        if (problem == nullptr) problem = entry_problem(entry, root_.capacity);
        if (problem != nullptr) damaged(fmt::format("catalogue: '{}': {}", name, problem));
        if (!entry.tombstone() && !visit(entry)) return;
    }
}

std::unique_ptr<EventCursor> Catalogue::committed_events(std::uint64_t begin) const {
    std::vector<std::unique_ptr<EventCursor>> sources;
    for (const auto& run : runs_) sources.push_back(run->events(begin));
    sources.push_back(std::make_unique<VectorEventCursor>(tail_.events().range(begin, UINT64_MAX)));
    return std::make_unique<EventMerge>(std::move(sources), false);
}

}  // namespace pymm
