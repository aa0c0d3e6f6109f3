// What a transaction leaves behind that its process did not end: journals. They are undone by the next open for
// writing; until then readers see the shelf as it was.
#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "format/journal.hpp"
#include "format/names.hpp"
#include "media/guarded_read.hpp"
#include "media/log.hpp"
#include "shelf/planner.hpp"
#include "shelf/transaction.hpp"

namespace pymm {

using namespace format;

std::vector<JournalRange> ShelfCore::journal_of(const EntryView& entry) const {
    const Media& media = *parts_.data;
    std::vector<JournalRange> ranges;
    const char* problem = entry.inlined() ? "no extent" : read_journal(media, entry.fixed.offset, entry.fixed.size, ranges);
    if (problem != nullptr)
        throw CorruptError(fmt::format("{}: journal of a transaction at offset {}: {}: what the transaction had changed "
                                       "cannot be undone; run a check of the shelf", media.name(), entry.fixed.offset,
                                       problem));
    return ranges;
}

Extent ShelfCore::target_of(const JournalRange& range) const {
    const Media& media = *parts_.data;
    const auto inside = [&](std::uint64_t offset, std::uint64_t extent) {
        return range.offset >= offset && range.offset - offset <= extent && range.size <= extent - (range.offset - offset);
    };
    ExtentHeader fixed{};
    if (range.header >= kDataStart && range.header % kLine == 0 && range.header < media.size() &&
        sizeof fixed <= media.size() - range.header)
        guarded_copy(&fixed, media, range.header, sizeof fixed, "extent header");
    if (fixed.magic == kExtentMagic && fixed.name_size <= kMaxName && fixed.type_size <= kMaxType) {
        const std::uint64_t size = extent_header_size(fixed.name_size, fixed.type_size);
        std::vector<std::byte> bytes(std::min(media.size() - range.header, size));
        guarded_copy(bytes.data(), media, range.header, bytes.size(), "extent header");
        ExtentHeaderView header;
        if (decode_extent_header(bytes, range.header, catalogue_->root().uuid, header) == nullptr &&
            header.fixed.id == range.id && inside(header.fixed.offset, header.fixed.extent))
            return {range.offset, range.size};
    }
    // A repair may have given the blob another header, or another id; its data stays where it is.
    Extent found{};
    catalogue_->for_each({}, [&](const EntryView& entry) {
        if (entry.inlined() || is_internal_name(entry.name) || !inside(entry.fixed.offset, entry.fixed.extent)) return true;
        found = {range.offset, range.size};
        return false;
    });
    return found;
}

void ShelfCore::recover() {
    if (!writable() || (catalogue_->root().flags & kSuperblockClean) != 0) {
        recovered_ = writable();
        return;
    }
    std::vector<std::string> journals;
    const auto lock = exclusive();
    catalogue_->for_each(kJournalName, [&](const EntryView& entry) {
        journals.emplace_back(entry.name);
        return true;
    });
    if (journals.empty() || !catalogue_->writes_allowed()) {
        recovered_ = journals.empty();
        return;
    }
    Media& media = *parts_.data;
    // All are looked at before the first store. Each is idempotent, and their ranges are disjoint: they are what one
    // transaction saved, and may be cut short and begun anew at any store.
    std::vector<std::pair<Extent, std::uint64_t>> copies;  // to, from
    for (const std::string& name : journals) {
        EntryView entry;
        if (!catalogue_->find(name, entry)) continue;
        for (const JournalRange& range : journal_of(entry)) {
            const Extent to = target_of(range);
            if (to.size != 0) copies.emplace_back(to, entry.fixed.offset + range.data);
            else log().warn("shelf '{}': a transaction had changed {} bytes at offset {}, which are no blob's any more",
                            parts_.name, range.size, range.offset);
        }
    }
    start_writing();
    guarded([&] {
        for (const auto& [to, from] : copies) media.write(to.offset, media.data() + from, to.size);
        media.drain();
    });
    Planner plan(*catalogue_, builder_, true);
    for (const std::string& name : journals) plan.erase(name);
    commit_built("(recovery)", now_ns());
    recovered_ = true;
    log().info("shelf '{}': a transaction was cut short: what it had changed is as it was before", parts_.name);
}

// The journals of a transaction begin with number 0, and go together. Only a repair can put some of them aside, the first
// too, and what it leaves has a root of its own, as what the next writer begins with: so one look for all of them tells
// for as long as there is no other root.
bool ShelfCore::has_journals() {
    EntryView entry;
    if (catalogue_->find(journal_name(0), entry)) return true;
    const std::uint64_t generation = catalogue_->root().generation;
    if (journals_seen_at_ != generation) {
        journals_seen_ = false;
        try {
            catalogue_->for_each(kJournalName, [&](const EntryView&) {
                journals_seen_ = true;
                return false;
            });
        } catch (const CorruptError&) {
            // A damaged page, where names that begin with a NUL might be: no reason to show none of the others.
        }
        journals_seen_at_ = generation;
    }
    return journals_seen_;
}

bool ShelfCore::has_orphaned_journals() {
    if (recovered_ || (catalogue_->root().flags & kSuperblockClean) != 0) return false;
    return has_journals() && (writable() || !parts_.lease->writer_alive());
}

// Beside a writer that comes meanwhile: what was read counts only if nothing was committed since.
void ShelfCore::show_as_it_was(View& view) {
    const BlobInfo& blob = view.info();
    for (int tries = 3;; --tries) {
        std::uint64_t known;
        {
            const auto lock = exclusive();
            refresh();
            if (!has_orphaned_journals()) return;
            known = catalogue_->sequence();
        }
        PrivateMemory memory = view.private_memory();
        bool any = false;
        const auto lock = exclusive();
        try {
            catalogue_->for_each(kJournalName, [&](const EntryView& entry) {
                const std::uint64_t at = entry.fixed.offset;
                for (const JournalRange& r : journal_of(entry)) {
                    const std::uint64_t begin = std::max(r.offset, blob.offset);
                    const std::uint64_t end = std::min(r.offset + r.size, blob.offset + blob.size);
                    if (begin >= end) continue;
                    guarded_copy(memory.bytes().data() + (begin - blob.offset), *parts_.data, at + r.data + (begin - r.offset),
                                 end - begin, "journal of a transaction");
                    any = true;
                }
                return true;
            });
        } catch (const CorruptError&) {
            refresh();
            if (tries == 0 || catalogue_->sequence() == known) throw;
            continue;
        }
        refresh();
        if (catalogue_->sequence() != known) continue;
        if (any) {
            view.state_->patched = std::move(memory);
            view.state_->data = view.state_->patched.bytes().data();
        }
        return;
    }
}

}  // namespace pymm
