// Entries: names, types, extents, extent headers, ids; and their data when it is scrubbed.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "catalogue/catalogue.hpp"
#include "check/entry_check.hpp"
#include "check/entry_stream.hpp"
#include "check/image.hpp"
#include "format/crc32c.hpp"
#include "format/list.hpp"
#include "format/names.hpp"
#include "format/superblock.hpp"
#include "format/tree.hpp"

namespace pymm {

using namespace format;

namespace {

constexpr std::uint64_t kScrubPiece = 4 << 20;

// Beside a writer: does the name still mean this? If not, what was seen of its bytes means nothing.
class Confirm {
public:
    explicit Confirm(Image& image) : image_(image) {}

    bool still_so(const EntryView& entry) {
        if (!written_beside()) return true;
        try {
            if (!catalogue_)
                catalogue_ = std::make_unique<Catalogue>(image_.target.map, image_.target.data, image_.target.lease);
            else
                catalogue_->refresh();
            EntryView now;
            return catalogue_->find(entry.name, now) && std::memcmp(&now.fixed, &entry.fixed, sizeof(Entry)) == 0;
        } catch (const CorruptError&) {
            return true;
        }
    }

private:
    // A writer may also have come after the check began; a new root precedes whatever it changes.
    bool written_beside() {
        if (image_.live) return true;
        if (image_.target.lease == nullptr || image_.options.repair != Repair::none) return false;
        std::vector<std::byte> copies(2 * kSuperblockSize);
        guarded_copy(copies.data(), image_.target.map, 0, copies.size(), "superblocks");
        const SuperblockChoice now = choose_superblock(copies);
        image_.live = now.best && now.best->generation != image_.root->generation;
        return image_.live;
    }

    Image& image_;
    std::unique_ptr<Catalogue> catalogue_;
};

class EntryCheck {
public:
    explicit EntryCheck(Image& image) : image_(image), confirm_(image) {}

    void check() {
        const std::uint64_t next_id = image_.root->next_id;
        if (next_id >= kIdLimit)
            image_.map_finding(Cure::accounts, Severity::error, fmt::format("superblock copy {}", image_.root_index),
                               kSuperblockOffset[image_.root_index] + offsetof(Superblock, next_id),
                               fmt::format("a next id below {}", kIdLimit), fmt::format("{}", next_id));
        for (EntryStream stream(image_); stream.next();) {
            const EntryView& entry = stream.entry();
            if (entry.tombstone()) continue;
            ++image_.report.blobs;
            ids_.push_back(entry.fixed.id);
            const bool in_run = stream.source() < image_.runs.size();
            const std::uint64_t newest = in_run ? image_.runs[stream.source()].ref.sequence : image_.sequence;
            if (entry.fixed.sequence > newest)
                finding(Cure::catalogue, entry, "entry", entry.fixed.offset,
                        fmt::format("a sequence up to {}", newest), fmt::format("{}", entry.fixed.sequence));
            if (entry.fixed.id >= kIdLimit)
                finding(Cure::catalogue, entry, "entry", entry.fixed.offset, fmt::format("an id below {}", kIdLimit),
                        fmt::format("{}", entry.fixed.id));
            else if (in_run && entry.fixed.id >= next_id)
                finding(Cure::accounts, entry, "entry", entry.fixed.offset, fmt::format("an id below {}", next_id),
                        fmt::format("{}", entry.fixed.id));
            check(entry);
        }
        check_ids();
    }

private:
    void finding(Cure cure, const EntryView& entry, const char* part, std::uint64_t offset, std::string expected,
                 std::string found, std::string action = {}) {
        const std::string name = printable(entry.name);
        image_.data_finding(cure, Severity::error, fmt::format("blob '{}' {}", name, part), offset,
                            std::move(expected), std::move(found), name, std::move(action));
    }

    void check(const EntryView& entry) {
        const Entry& e = entry.fixed;
        if (const char* problem = entry_problem(entry, image_.root->capacity))
            return finding(Cure::catalogue, entry, "entry", e.offset, "a legal entry", problem);
        if (entry.inlined()) {
            if (is_journal_name(entry.name)) check_journal(entry);
            if (const char* problem = type_problem_of(entry.type, e.size))
                return finding(Cure::catalogue, entry, "entry", 0, "a type descriptor that fits the value", problem);
            scrub_value(entry);
            return;
        }
        if (e.size >= kPage && e.extent % kPage != 0)
            finding(Cure::catalogue, entry, "entry", e.offset, fmt::format("an extent of whole pages of {}", kPage),
                    fmt::format("{}", e.extent));
        append_extents(e, image_.owned);
        image_.report.bytes += e.header_size + e.extent;
        check_header(entry);
        if (is_journal_name(entry.name)) check_journal(entry);
        if (image_.options.scrub) scrub(entry);
        else image_.report.unverified += (e.flags & kEntryContentCrc) == 0;
    }

    void check_journal(const EntryView& entry) {
        const char* problem = journal_problem(image_, entry.fixed);
        if (problem != nullptr && !confirm_.still_so(entry)) return;
        if (problem != nullptr)
            return finding(Cure::catalogue, entry, "journal of a transaction", entry.fixed.offset, "a sound journal", problem,
                           "what the transaction had changed in place stays as it is");
        image_.data_finding(Cure::none, Severity::note, fmt::format("blob '{}'", printable(entry.name)), entry.fixed.offset,
                            "no transaction under way", "the journal of one; if its process is gone, the next open for "
                            "writing undoes it", printable(entry.name));
    }

    // The header and the type, which may stand in it.
    void check_header(const EntryView& entry) {
        const Entry& e = entry.fixed;
        buffer_.resize(e.header_size);
        ExtentHeaderView header;
        const char* problem = "it cannot be read";
        if (image_.read(e.header_offset, e.header_size, buffer_.data()))
            problem = decode_extent_header(buffer_, e.header_offset, image_.root->uuid, header);
        const bool type_outside = (e.flags & kEntryTypeInHeader) != 0;
        if (problem != nullptr) {
            if (!confirm_.still_so(entry)) return;
            // All that it says stands in the entry, too, unless the type was too long for it.
            if (!type_outside) image_.bad_headers.emplace_back(entry.name);
            return finding(type_outside ? Cure::catalogue : Cure::header, entry, "extent header", e.header_offset,
                           "a sound header", problem);
        }
        if (const Disagreement d = compare_header(e, header.fixed); d.field != nullptr) {
            if (!confirm_.still_so(entry)) return;
            return finding(Cure::catalogue, entry, "extent header", e.header_offset + d.offset,
                           fmt::format("{} {}", d.field, d.expected), fmt::format("{}", d.found));
        }
        if ((header.fixed.update & 1) != 0)
            image_.data_finding(Cure::none, Severity::note,
                                fmt::format("blob '{}' extent header", printable(entry.name)),
                                e.header_offset + offsetof(ExtentHeader, update), "no update in place under way",
                                "one that was cut short", printable(entry.name));
        const Bytes type = type_outside ? header.type : entry.type;
        if (const char* what = type_problem_of(type, e.size)) {
            if (confirm_.still_so(entry))
                finding(Cure::catalogue, entry, "type descriptor", type_outside ? e.header_offset : 0,
                        "one that fits the data", what);
            return;
        }
        const bool same = type_outside || (header.type.size() == entry.type.size() &&
                                           std::equal(header.type.begin(), header.type.end(), entry.type.begin()));
        if (same || !confirm_.still_so(entry)) return;
        image_.bad_headers.emplace_back(entry.name);
        finding(Cure::header, entry, "extent header", e.header_offset, "the entry's type descriptor", "another");
    }

    void scrub_value(const EntryView& entry) {
        if ((entry.fixed.flags & kEntryContentCrc) == 0) {
            ++image_.report.unverified;
            return;
        }
        if (!image_.options.scrub) return;
        ++image_.report.scrubbed;
        image_.report.scrubbed_bytes += entry.value.size();
        const std::uint32_t crc = crc32c(entry.value.data(), entry.value.size());
        if (crc != entry.fixed.content_crc)
            finding(Cure::none, entry, "content", 0, fmt::format("checksum {:#x}", entry.fixed.content_crc),
                    fmt::format("{:#x}", crc), "restore it from a copy");
    }

    // Reads all of it: what has no checksum must at least be readable.
    void scrub(const EntryView& entry) {
        const Entry& e = entry.fixed;
        const bool checked = (e.flags & kEntryContentCrc) != 0;
        Lease* const lease = image_.live ? image_.target.lease : nullptr;
        // As a reader's view: marked, then looked at again.
        struct Mark {
            Lease* lease;
            std::uint64_t offset, size;
            ~Mark() {
                if (lease != nullptr) lease->unmark_extent(offset, size);
            }
        } mark{nullptr, e.offset, e.extent};
        if (lease != nullptr && e.extent != 0) {
            lease->mark_extent(e.offset, e.extent);
            mark.lease = lease;
            if (!confirm_.still_so(entry)) return;  // erased or replaced meanwhile
        }
        const Media& data = image_.target.data;
        std::uint32_t crc = 0;
        for (std::uint64_t at = 0; at < e.size;) {
            const std::uint64_t n = std::min(kScrubPiece, e.size - at);
            if (e.offset + at > data.size() || n > data.size() - e.offset - at)
                return unreadable(entry, std::min(e.offset + at, data.size()));
            const std::byte* from = data.data() + e.offset + at;
            // All pages of the piece in one call, not one fault each. What cannot be read shows below.
            const auto address = reinterpret_cast<std::uintptr_t>(from) & ~(kPage - 1);
            const std::size_t length = reinterpret_cast<std::uintptr_t>(from) + n - address;
            // The mapping is one of random access, where populating alone reads a cold file page by page.
            ::madvise(reinterpret_cast<void*>(address), length, MADV_WILLNEED);
            ::madvise(reinterpret_cast<void*>(address), length, MADV_POPULATE_READ);
            const std::byte* fault = nullptr;
            const std::uint32_t before = crc;
            std::uint32_t* const result = &crc;
            if (!survives_bus_error([&, before]() noexcept { *result = crc32c(from, n, before); }, fault))
                return unreadable(entry, fault != nullptr ? static_cast<std::uint64_t>(fault - data.data()) : e.offset + at);
            at += n;
            image_.progress(n);
        }
        check_structure(entry, std::span(data.data() + e.offset, e.size), e.offset);
        if (!checked) {
            ++image_.report.unverified;
            return;
        }
        ++image_.report.scrubbed;
        image_.report.scrubbed_bytes += e.size;
        if (crc != e.content_crc && confirm_.still_so(entry))
            finding(Cure::none, entry, "content", e.offset, fmt::format("checksum {:#x}", e.content_crc),
                    fmt::format("{:#x}", crc), "restore it from a copy, or erase it");
    }

    // Trees and lists have checksums of their own. The commit that holds a value kept inline has one, too.
    void check_structure(const EntryView& entry, std::span<const std::byte> bytes, std::uint64_t offset) {
        const auto kind = entry.type.empty() ? Kind::raw : static_cast<Kind>(entry.type[0]);
        if (kind != Kind::tree && kind != Kind::pickled && kind != Kind::linked_list) return;
        if (type_problem_of(entry.type, entry.fixed.size) != nullptr) return;  // which was told already
        const bool in_list = kind == Kind::linked_list;
        const char* problem = nullptr;
        const char** const result = &problem;
        const std::byte* fault = nullptr;
        if (!survives_bus_error([=]() noexcept { *result = in_list ? list_problem(bytes) : tree_problem(bytes); },
                                fault))
            return unreadable(entry, offset);
        if (problem != nullptr && confirm_.still_so(entry))
            finding(Cure::none, entry, in_list ? "list" : "tree", offset, "a sound structure", problem);
    }

    void unreadable(const EntryView& entry, std::uint64_t offset) {
        if (confirm_.still_so(entry))
            finding(Cure::none, entry, "content", offset, fmt::format("{} readable bytes", entry.fixed.size),
                    "a place that cannot be read", "see the kernel's log; restore it from a copy, or erase it");
    }

    void check_ids() {
        std::sort(ids_.begin(), ids_.end());
        for (std::size_t i = 1; i < ids_.size(); ++i)
            if (ids_[i] == ids_[i - 1] && (i < 2 || ids_[i - 2] != ids_[i]))
                image_.data_finding(Cure::catalogue, Severity::error, "catalogue", 0,
                                    fmt::format("one blob with id {}", ids_[i]), "several");
    }

    Image& image_;
    Confirm confirm_;
    std::vector<std::uint64_t> ids_;
    std::vector<std::byte> buffer_;
};

}  // namespace

void check_entries(Image& image) { EntryCheck(image).check(); }

}  // namespace pymm
