// The sorted runs of a dump, page by page.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "check/dump_items.hpp"
#include "format/crc32c.hpp"
#include "format/superblock.hpp"

namespace pymm {

using namespace format;

namespace {

std::string type_name(PageType type) {
    switch (type) {
        case PageType::run: return "run";
        case PageType::leaf: return "leaf";
        case PageType::index: return "index";
        case PageType::space: return "space";
        case PageType::filter: return "filter";
    }
    return fmt::format("unknown {}", static_cast<unsigned>(type));
}

class RunDump {
public:
    RunDump(const Superblock& sb, const RunRef& ref, const DumpFile& data, DumpSink& sink)
        : sb_(sb), ref_(ref), data_(data), sink_(sink) {}

    void run() {
        sink_.parent(head());
        const std::uint64_t pages = ref_.size / kPage;
        std::uint64_t number = 0;
        // Where a stretch of pages is gone one item tells of all: how many there are is what the media says.
        std::uint64_t gone = 0;
        const auto tell_gone = [&] {
            if (gone == 0) return;
            sink_.part(DumpMaker("pages", 1, place(number - gone), gone * kPage)
                           .number("first", number - gone).number("last", number - 1).problem("no page magic").item);
            gone = 0;
        };
        for (; number < pages && data_.holds(place(number), kPage); ++number) {
            page_place_ = place(number);
            const std::string unreadable = data_.read(page_place_, page_);
            if (!unreadable.empty()) {
                tell_gone();
                sink_.part(DumpMaker("page", 1, page_place_, kPage).number("number", number).problem(unreadable).item);
                continue;
            }
            PageHeader header;
            std::memcpy(&header, page_, sizeof header);
            if (header.magic != kPageMagic) {
                ++gone;
                continue;
            }
            tell_gone();
            sink_.parent(DumpMaker("page", 1, page_place_, kPage)
                             .number("number", number).text("type", type_name(header.type))
                             .number("count", header.count).hex("crc", header.crc)
                             .problem(page_problem(header, number)).item);
            items(header);
        }
        tell_gone();
        if (number < pages)
            sink_.part(DumpMaker("pages", 1, place(number), 0).number("first", number).number("last", pages - 1)
                           .problem(fmt::format("past the end of the file, which has {} bytes", data_.size())).item);
    }

private:
    std::uint64_t place(std::uint64_t number) const noexcept { return ref_.offset + number * kPage; }

    DumpItem head() {
        DumpMaker made("run", 0, ref_.offset, ref_.size);
        made.number("run_id", ref_.run_id).number("entries", ref_.entries).number("sequence", ref_.sequence)
            .number("level", ref_.level);
        RunHeader h;
        if (std::string problem = data_.read(ref_.offset, std::as_writable_bytes(std::span(&h, 1))); !problem.empty())
            return made.problem(std::move(problem)).item;
        if (h.page.magic != kPageMagic) return made.problem("no page magic in its header").item;
        if (h.uuid != sb_.uuid) made.problem("belongs to another shelf");
        else if (h.entries != ref_.entries || h.pages != ref_.size / kPage)
            made.problem("its header disagrees with the superblock");
        return made.text("uuid", uuid_text(h.uuid)).number("header_entries", h.entries).number("events", h.events)
            .number("leaf_start", h.leaf_start).number("leaf_count", h.leaf_count).number("index_root", h.index_root)
            .number("index_depth", h.index_depth).number("filter_start", h.filter_start)
            .number("filter_count", h.filter_count).number("space_start", h.space_start)
            .number("space_count", h.space_count).number("pages", h.pages).number("max_entry", h.max_entry)
            .number("max_name", h.max_name).item;
    }

    std::string page_problem(const PageHeader& header, std::uint64_t number) const {
        if (header.magic != kPageMagic) return "no page magic";
        PageHeader clean = header;
        clean.crc = 0;
        const std::uint32_t crc = crc32c(page_ + sizeof clean, kPage - sizeof clean, crc32c(&clean, sizeof clean));
        if (crc != header.crc) return fmt::format("checksum computed {:#010x}", crc);
        if (header.run_id != ref_.run_id || header.number != number)
            return fmt::format("page {} of run {}", header.number, header.run_id);
        return {};
    }

    /// Bytes of an item of a leaf or index page, empty when its slot is out of range.
    Bytes item(std::uint32_t count, std::uint32_t slot, std::uint64_t& at) const {
        std::uint16_t offset;
        std::memcpy(&offset, page_ + kPage - 2 * (std::size_t{slot} + 1), sizeof offset);
        const std::size_t limit = kPage - 2 * std::size_t{count};
        at = offset;
        if (offset < sizeof(PageHeader) || offset >= limit) return {};
        return {page_ + offset, limit - offset};
    }

    // A page whose checksum is wrong is shown too, as far as it makes sense.
    void items(const PageHeader& header) {
        if (header.type == PageType::space) return events(header);
        if (header.type != PageType::leaf && header.type != PageType::index) return;
        const std::uint32_t count = header.count;
        if (count > (kPage - sizeof(PageHeader)) / 8) return bad(0, "number of items out of range");
        for (std::uint32_t slot = 0; slot < count; ++slot) {
            std::uint64_t at = 0;
            const Bytes bytes = item(count, slot, at);
            if (bytes.empty()) bad(at, "item offset out of range");
            else if (header.type == PageType::leaf) entry(bytes, at);
            else index(bytes, at);
        }
    }

    void bad(std::uint64_t at, const char* problem) {
        sink_.part(DumpMaker("item", 2, page_place_ + at, 0).problem(problem).item);
    }

    void entry(Bytes bytes, std::uint64_t at) {
        EntryView view;
        std::size_t used = 0;
        if (const char* problem = decode_entry(bytes, view, used)) return bad(at, problem);
        DumpMaker made("entry", 2, page_place_ + at, used);
        if (!view.tombstone())
            if (const char* problem = entry_problem(view, data_.size())) made.problem(problem);
        sink_.part(made.entry(view).item, view.name);
    }

    void index(Bytes bytes, std::uint64_t at) {
        IndexItem head;
        if (bytes.size() < sizeof head) return bad(at, "item cut short");
        std::memcpy(&head, bytes.data(), sizeof head);
        if (head.name_size > bytes.size() - sizeof head) return bad(at, "item's name cut short");
        sink_.part(DumpMaker("index item", 2, page_place_ + at, sizeof head + head.name_size)
                       .number("child", head.child)
                       .text("name", {reinterpret_cast<const char*>(bytes.data()) + sizeof head, head.name_size}).item);
    }

    void events(const PageHeader& header) {
        if (header.count > kEventsPerPage) return bad(0, "number of events out of range");
        for (std::uint32_t i = 0; i < header.count; ++i) {
            SpaceEvent raw;
            const std::size_t at = sizeof(PageHeader) + i * sizeof raw;
            std::memcpy(&raw, page_ + at, sizeof raw);
            DumpMaker made("space event", 2, page_place_ + at, sizeof raw);
            const std::uint64_t size = raw.size & ~kSpaceTaken;
            if (size == 0 || raw.offset % kLine != 0 || size % kLine != 0 || !data_.holds(raw.offset, size))
                made.problem("outside the data area, or unaligned");
            sink_.part(made.number("offset", raw.offset).number("size", size)
                           .text("state", (raw.size & kSpaceTaken) != 0 ? "taken" : "given back").item);
        }
    }

    const Superblock& sb_;
    const RunRef& ref_;
    const DumpFile& data_;
    DumpSink& sink_;
    alignas(8) std::byte page_[kPage];
    std::uint64_t page_place_ = 0;  // of the page that is shown
};

}  // namespace

void dump_runs(const Superblock& sb, const DumpFile& data, DumpSink& sink) {
    for (std::uint32_t i = 0; i < std::min(sb.run_count, kMaxRuns); ++i) RunDump(sb, sb.runs[i], data, sink).run();
}

}  // namespace pymm
