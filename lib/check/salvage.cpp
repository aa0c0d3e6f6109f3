#include "check/salvage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <queue>
#include <unordered_set>
#include <utility>

#include "catalogue/space_map.hpp"
#include "check/entry_check.hpp"
#include "check/entry_stream.hpp"
#include "check/scan.hpp"
#include "format/names.hpp"
#include "format/superblock.hpp"
#include "format/type_codec.hpp"

namespace pymm {

using namespace format;

namespace {

constexpr std::string_view kAside = "lost+found/";

// True when `ranges`, sorted and disjoint, hold all of `e`.
bool covers(const std::vector<Extent>& ranges, const Extent& e) {
    auto it = std::upper_bound(ranges.begin(), ranges.end(), e.offset,
                               [](std::uint64_t at, const Extent& r) { return at < r.offset; });
    if (it == ranges.begin()) return false;
    --it;
    return e.offset + e.size <= it->offset + it->size;
}

// Could a damaged page of a newer run say something else about a name? Asked in the order of names: all gaps are passed
// once, however many there are.
class GapSweep {
public:
    explicit GapSweep(const Image& image) {
        for (std::size_t i = 0; i < image.runs.size(); ++i)
            for (const RunImage::Gap& gap : image.runs[i].gaps) ahead_.push_back({i, &gap});
        std::sort(ahead_.begin(), ahead_.end(), [](const Item& a, const Item& b) { return a.gap->after < b.gap->after; });
    }

    bool newer_than(std::size_t source, std::string_view name) {
        for (; next_ < ahead_.size() && ahead_[next_].gap->after < name; ++next_) around_.push(ahead_[next_]);
        // Those of older runs below it may be over as well: they are found out when they come up.
        while (!around_.empty() && !around_.top().gap->open && around_.top().gap->before <= name) around_.pop();
        return !around_.empty() && around_.top().run > source;
    }

private:
    struct Item {
        std::size_t run;
        const RunImage::Gap* gap;
        bool operator<(const Item& other) const { return run < other.run; }
    };
    std::vector<Item> ahead_;
    std::size_t next_ = 0;
    std::priority_queue<Item> around_;  // the newest run on top
};

std::vector<std::byte> encoded_raw() {
    const Type raw = Type::raw();
    std::vector<std::byte> bytes(encoded_type_size(raw));
    encode_type(raw, bytes.data());
    return bytes;
}

class Salvage {
public:
    Salvage(Image& image, Plan& plan, bool guessed)
        : image_(image), plan_(plan), taken_(taken_by_events(image, true)),
          // What is called free is free only if every event is known.
          free_is_free_(!guessed && image.events_known() && !image.log_gap), guessed_(guessed) {}

    void run() {
        if (plan_.base.sequence >= kPlausibleSequence) plan_.base.sequence = 0;  // the entries tell
        claim_metadata();
        decide();
        recover();
        settle_doubtful();
        std::sort(plan_.extra.begin(), plan_.extra.end(),
                  [](const NewEntry& a, const NewEntry& b) { return a.name < b.name; });
        const std::int64_t expected =
            static_cast<std::int64_t>(plan_.base.blobs) + image_.new_names;
        const auto found = static_cast<std::int64_t>(kept_ + image_.report.salvaged);
        if (guessed_) image_.report.salvaged += kept_;
        else image_.report.lost = static_cast<std::uint64_t>(std::max<std::int64_t>(0, expected - found));
    }

private:
    enum class Fate {
        keep,
        new_header,  // the entry is sound, its extent header is not
        aside,       // under lost+found: what it is, or whether it still means something, is not sure
        aside_raw,   // the same, and its type is not known
        if_left,     // aside_raw, unless its bytes turn out to be another's: nothing but the entry speaks for it
        drop,
    };

    void claim_metadata() {
        if (guessed_) return;
        for (const Extent& e : root_extents(*image_.root)) claimed_.add(e.offset, e.size);
    }

    bool is_taken(const Entry& e) const {
        std::vector<Extent> extents;
        append_extents(e, extents);
        return std::all_of(extents.begin(), extents.end(), [&](const Extent& x) { return covers(taken_, x); });
    }

    // `unsure`: a damaged page may say something else about this name.
    Fate fate(const EntryView& entry, bool unsure) {
        const Entry& e = entry.fixed;
        if (entry_problem(entry, plan_.capacity) != nullptr) {
            if (entry.inlined() && e.size == e.inline_size && e.offset == 0 && e.extent == 0)
                return type_problem_of(entry.type, e.size) != nullptr ? Fate::aside_raw : Fate::aside;
            const bool begins_inside = !entry.inlined() && e.offset % kLine == 0 && e.offset >= kDataStart &&
                                       e.offset < plan_.capacity && e.size <= e.extent && e.extent % kLine == 0 &&
                                       (e.size < kPage || e.offset % kPage == 0);
            return begins_inside && e.size != 0 ? Fate::aside_raw : Fate::drop;
        }
        if (is_journal_name(entry.name) && journal_problem(image_, e) != nullptr) return Fate::aside_raw;
        if (entry.inlined()) {
            if (type_problem_of(entry.type, e.size) != nullptr) return Fate::aside_raw;
            return unsure ? Fate::aside : Fate::keep;
        }
        const bool taken = image_.events_known() && !image_.log_gap && is_taken(e);
        if (unsure && !taken && free_is_free_) return Fate::drop;  // it was replaced or erased
        const bool aside = unsure && !taken;
        buffer_.resize(e.header_size);
        ExtentHeaderView header;
        const bool sound = image_.read(e.header_offset, e.header_size, buffer_.data()) &&
                           decode_extent_header(buffer_, e.header_offset, plan_.base.uuid, header) == nullptr;
        const bool outside = (e.flags & kEntryTypeInHeader) != 0;
        const bool confirmed = sound && compare_header(e, header.fixed).field == nullptr;
        // Taken, but perhaps for what came after it.
        if (unsure && !confirmed) return Fate::if_left;
        if (!confirmed && (sound || outside)) return Fate::aside_raw;
        if (type_problem_of(outside ? header.type : entry.type, e.size) != nullptr) return Fate::aside_raw;
        if (aside) return outside ? Fate::aside_raw : Fate::aside;
        return sound ? Fate::keep : Fate::new_header;
    }

    // Two passes: the first knows all extents, the second acts.
    void decide() {
        struct Piece {
            bool sound;  // its header says the same
            std::uint64_t sequence;
            std::uint64_t ordinal;
            Extent extent;
        };
        std::vector<Piece> pieces;
        std::vector<Fate> fates;
        std::vector<Extent> extents;
        std::vector<std::uint64_t> ids;
        GapSweep gaps(image_);
        for (EntryStream stream(image_); stream.next();) {
            const EntryView& entry = stream.entry();
            if (entry.tombstone()) continue;
            const bool unsure = gaps.newer_than(stream.source(), entry.name);
            // Earlier repairs may have left names there.
            if (entry.name.starts_with(kAside)) aside_names_.emplace(entry.name);
            const Fate f = fate(entry, unsure);
            fates.push_back(f);
            if (f != Fate::drop) ids.push_back(entry.fixed.id);
            image_.note_id(entry.fixed.id);
            if (entry.fixed.id >= kIdLimit) shared_ids_.insert(entry.fixed.id);
            if (f == Fate::drop || f == Fate::if_left || entry.inlined()) continue;
            extents.clear();
            if (f == Fate::keep) append_extents(entry.fixed, extents);
            else if (entry.fixed.extent != 0) extents.push_back(trimmed(entry.fixed));
            for (const Extent& x : extents) {
                const std::uint64_t sequence = entry.fixed.sequence < kPlausibleSequence ? entry.fixed.sequence : 0;
                pieces.push_back({f == Fate::keep, sequence, fates.size() - 1, x});
            }
        }
        // Where two share bytes, the one counts that its header confirms; then the newer, which was written over the
        // older.
        std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
            return a.sound != b.sound ? a.sound : a.sequence > b.sequence;
        });
        for (std::size_t i = 0; i < pieces.size();) {
            // All pieces of one entry, or none.
            std::size_t end = i + 1;
            while (end < pieces.size() && pieces[end].ordinal == pieces[i].ordinal) ++end;
            const bool free = std::none_of(pieces.begin() + static_cast<std::ptrdiff_t>(i),
                                           pieces.begin() + static_cast<std::ptrdiff_t>(end), [&](const Piece& p) {
                                               return claimed_.overlaps(p.extent.offset, p.extent.size);
                                           });
            for (; i < end; ++i) {
                if (free) claimed_.add(pieces[i].extent.offset, pieces[i].extent.size);
                else fates[pieces[i].ordinal] = Fate::drop;
            }
        }
        std::sort(ids.begin(), ids.end());
        for (std::size_t i = 1; i < ids.size(); ++i)
            if (ids[i] == ids[i - 1]) shared_ids_.insert(ids[i]);
        std::size_t ordinal = 0;
        for (EntryStream stream(image_); stream.next();)
            if (!stream.entry().tombstone()) act(stream.entry(), fates[ordinal++]);
    }

    Extent trimmed(const Entry& e) const { return {e.offset, std::min(e.extent, plan_.capacity - e.offset)}; }

    void act(const EntryView& entry, Fate f) {
        // Two blobs of one id, or an id that none can have: they get another. So does what says that it was written by a
        // commit that never can have been.
        const bool renumber = shared_ids_.contains(entry.fixed.id) || entry.fixed.sequence >= kPlausibleSequence;
        const bool type_outside = (entry.fixed.flags & kEntryTypeInHeader) != 0;
        if (f == Fate::keep && !renumber) {
            ++kept_;
            return;
        }
        if (f == Fate::keep) f = type_outside ? Fate::aside_raw : Fate::new_header;
        plan_.left_out.emplace(entry.name);
        if (f == Fate::drop) {
            note(entry.name, "it was left out", entry.fixed.offset);
            return;
        }
        NewEntry fresh;
        fresh.fixed = entry.fixed;
        if (renumber) fresh.fixed.id = ++image_.max_id;
        if (fresh.fixed.sequence >= kPlausibleSequence)
            fresh.fixed.sequence = std::max<std::uint64_t>(plan_.base.sequence, 1);
        fresh.fixed.flags &= ~kEntryTypeInHeader;
        fresh.type.assign(entry.type.begin(), entry.type.end());
        fresh.value.assign(entry.value.begin(), entry.value.end());
        fresh.new_header = !entry.inlined();
        // What stands there besides may contradict itself.
        Entry& e = fresh.fixed;
        if (entry.inlined()) {
            e.offset = e.extent = e.header_offset = e.header_size = 0;
            e.size = fresh.value.size();
        } else {
            fresh.value.clear();
            e.inline_size = 0;
        }
        if (f == Fate::new_header) {
            ++kept_;
            fresh.name = entry.name;
            plan_.extra.push_back(std::move(fresh));
            return;
        }
        if (f == Fate::aside_raw || f == Fate::if_left) {
            fresh.type = encoded_raw();
            fresh.fixed.flags &= ~(kEntryContentCrc | kEntrySealed);
            if (!entry.inlined()) {
                const Extent x = trimmed(entry.fixed);
                fresh.fixed.extent = x.size;
                fresh.fixed.size = std::min(fresh.fixed.size, x.size);
            }
        }
        if (f == Fate::if_left) {
            doubtful_.emplace_back(std::move(fresh), entry.name);
            return;
        }
        put_aside(std::move(fresh), entry.name);
    }

    void settle_doubtful() {
        for (auto& [fresh, name] : doubtful_) {
            Entry& e = fresh.fixed;
            if (claimed_.overlaps(e.offset, e.extent)) {
                note(name, "it was left out: its bytes are another's", e.offset);
                continue;
            }
            claimed_.add(e.offset, e.extent);
            if (!used_ids_.insert(e.id).second) e.id = ++image_.max_id;
            put_aside(std::move(fresh), name);
        }
    }

    void put_aside(NewEntry fresh, std::string_view name) {
        std::string leaf = fmt::format("{}{}-{}", kAside, fresh.fixed.id, name);
        while (leaf.size() > kMaxName || (!is_utf8(leaf) && leaf.size() > kMaxName - 4)) leaf.pop_back();
        if (blob_name_problem(leaf) != nullptr) leaf = fmt::format("{}{}", kAside, fresh.fixed.id);
        std::string unique = leaf;
        for (int i = 1; !aside_names_.insert(unique).second; ++i) unique = fmt::format("{}{}~{}", kAside, fresh.fixed.id, i);
        fresh.name = unique;
        note(name, fmt::format("it was put under '{}'", unique), fresh.fixed.offset);
        ++image_.report.lost_found;
        plan_.extra.push_back(std::move(fresh));
    }

    void note(std::string_view name, std::string action, std::uint64_t offset) {
        const std::string text = printable(name);
        image_.data_finding(Cure::none, Severity::note, fmt::format("blob '{}'", text), offset, "",
                            "what the catalogue says of it cannot be relied on", text, std::move(action));
    }

    // Blobs whose entry is lost: their extent headers tell what they are.
    void recover() {
        std::vector<Extent> skip;
        for (const auto& [begin, end] : claimed_.ranges()) skip.push_back({begin, end - begin});
        if (free_is_free_) {
            // Only what is taken and nobody's can be a blob; all else is skipped, too.
            std::vector<Extent> others;
            for_each_missing({{kDataStart, plan_.capacity - kDataStart}}, taken_, [&](Extent e) { others.push_back(e); });
            skip.insert(skip.end(), others.begin(), others.end());
            std::sort(skip.begin(), skip.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
            skip = joined_ranges(skip);
        }
        Scan scan;
        scan_data(image_, plan_.capacity, skip, plan_.base.uuid, false, scan);
        if (scan.headers.empty()) return;
        // What is forged does not come first.
        for (FoundHeader& h : scan.headers)
            if (h.fixed.sequence >= kPlausibleSequence) h.fixed.sequence = 0, h.renew = true;
        // Newest first: an older version of the same bytes was written over.
        std::sort(scan.headers.begin(), scan.headers.end(), [](const FoundHeader& a, const FoundHeader& b) {
            return a.fixed.sequence != b.fixed.sequence ? a.fixed.sequence > b.fixed.sequence : a.fixed.id > b.fixed.id;
        });
        std::unordered_set<std::string> wanted, present;
        for (const FoundHeader& h : scan.headers) {
            wanted.insert(h.name);
            found_ids_.insert(h.fixed.id);
            image_.note_id(h.fixed.id);
        }
        for (EntryStream stream(image_); stream.next();) {
            const EntryView& entry = stream.entry();
            const std::string name(entry.name);
            if (plan_.left_out.contains(name)) continue;
            if (wanted.contains(name)) present.insert(name);
            if (!entry.tombstone() && found_ids_.contains(entry.fixed.id)) used_ids_.insert(entry.fixed.id);
        }
        for (const NewEntry& e : plan_.extra) {
            present.insert(e.name);
            used_ids_.insert(e.fixed.id);
        }
        for (FoundHeader& h : scan.headers) recover(h, present);
    }

    void recover(FoundHeader& h, std::unordered_set<std::string>& present) {
        const Extent header = h.header(), data = h.data();
        NewEntry fresh;
        Entry& e = fresh.fixed;
        e.id = h.fixed.id;
        e.sequence = h.fixed.sequence + 1;
        e.offset = data.offset;
        e.extent = data.size;
        e.size = h.fixed.size;
        e.header_offset = header.offset;
        e.header_size = static_cast<std::uint32_t>(header.size);
        e.created_ns = e.modified_ns = h.fixed.created_ns;
        e.mode = h.fixed.mode;
        e.share_count = 1;
        if (h.type.size() > kMaxEntryType) e.flags |= kEntryTypeInHeader;
        EntryView view;
        view.fixed = e;
        view.name = h.name;
        // A journal acts when the shelf is opened: only one that is known to be alive may.
        const bool legal_name = blob_name_problem(h.name) == nullptr ||
                                (is_journal_name(h.name) && free_is_free_ && journal_problem(image_, e) == nullptr);
        if (!legal_name) view.name = "x";
        if (entry_problem(view, plan_.capacity) != nullptr ||
            type_problem_of(h.type, e.size) != nullptr || claimed_.overlaps(header.offset, header.size) ||
            (data.size != 0 && claimed_.overlaps(data.offset, data.size)))
            return;
        const bool alive = is_taken(e);
        if (!alive && free_is_free_) return;
        claimed_.add(header.offset, header.size);
        claimed_.add(data.offset, data.size);
        fresh.type = std::move(h.type);
        fresh.new_header = h.renew;
        if (e.id >= kIdLimit || !used_ids_.insert(e.id).second) {
            e.id = ++image_.max_id;
            fresh.new_header = true;
        }
        if (alive && legal_name && !h.name.starts_with(kAside) && present.insert(h.name).second) {
            note(h.name, "it was found by its extent header; the name is the one that it was put under", e.offset);
            ++image_.report.salvaged;
            fresh.name = std::move(h.name);
            plan_.extra.push_back(std::move(fresh));
        } else {
            put_aside(std::move(fresh), h.name);
        }
    }

    Image& image_;
    Plan& plan_;
    std::vector<Extent> taken_;
    bool free_is_free_;
    bool guessed_;
    RangeSet claimed_;
    std::uint64_t kept_ = 0;
    std::unordered_set<std::string> aside_names_;
    std::unordered_set<std::uint64_t> shared_ids_, found_ids_, used_ids_;
    std::vector<std::pair<NewEntry, std::string>> doubtful_;
    std::vector<std::byte> buffer_;
};

}  // namespace

void salvage(Image& image, Plan& plan, bool guessed) {
    Salvage(image, plan, guessed).run();
}

}  // namespace pymm
