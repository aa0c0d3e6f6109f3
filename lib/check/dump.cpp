// pymm::dump(): opens the files, chooses the root, walks the parts.
#include <pymm/dump.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include <pymm/namespace.hpp>

#include "check/dump_items.hpp"
#include "format/superblock.hpp"
#include "format/type_codec.hpp"
#include "shelf/core.hpp"

namespace pymm {

using namespace format;

namespace {

std::string flags_text(std::uint32_t flags) {
    static constexpr std::pair<std::uint32_t, const char*> names[] = {{kEntryInline, "inline"},
                                                                      {kEntrySealed, "sealed"},
                                                                      {kEntryContentCrc, "content-crc"},
                                                                      {kEntryTypeInHeader, "type-in-header"},
                                                                      {kEntryTombstone, "tombstone"}};
    std::string text;
    for (const auto& [bit, name] : names) {
        if ((flags & bit) == 0) continue;
        if (!text.empty()) text += ' ';
        text += name;
    }
    if (const std::uint32_t unknown = flags & ~kEntryFlagsKnown) text += fmt::format(" {:#x}", unknown);
    return text;
}

std::string type_text(Bytes bytes) {
    Type type;
    if (!decode_type(bytes, type)) return "undecodable";
    std::string text(kind_name(type.kind));
    if (!type.dtype.empty()) text += " " + type.dtype;
    if (is_array(type.kind)) text += fmt::format(" ({})", fmt::join(type.shape, ", "));
    return text;
}

std::string hex_text(Bytes bytes) {
    std::string text;
    for (const std::byte b : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(b));
    return text;
}

DumpItem extent_header(const DumpFile& data, const Uuid& uuid, const EntryView& entry) {
    const Entry& e = entry.fixed;
    DumpMaker made("extent header", 2, e.header_offset, e.header_size);
    std::vector<std::byte> bytes(std::min<std::size_t>(e.header_size, sizeof(ExtentHeader) + kMaxName + kMaxType));
    if (std::string problem = data.read(e.header_offset, bytes); !problem.empty())
        return made.problem(std::move(problem)).item;
    ExtentHeaderView header;
    const char* problem = decode_extent_header(bytes, e.header_offset, uuid, header);
    if (problem == nullptr && (header.fixed.offset != e.offset || header.fixed.id != e.id ||
                               header.fixed.extent != e.extent || header.fixed.size != e.size))
        problem = "disagrees with the entry";
    if (problem != nullptr) made.problem(problem);
    if (bytes.size() < sizeof(ExtentHeader)) return made.item;
    const ExtentHeader& h = header.fixed;
    made.text("name", std::string(header.name)).hex("magic", h.magic).text("uuid", uuid_text(h.uuid))
        .number("own_offset", h.own_offset).number("offset", h.offset).number("extent", h.extent)
        .number("size", h.size).number("id", h.id).number("sequence", h.sequence).time("created_ns", h.created_ns)
        .number("update", h.update).hex("crc", h.crc);
    if (!header.type.empty()) made.text("type", type_text(header.type));
    return made.item;
}

// What is in effect is asked of the library itself: it opens the shelf as any reader does.
void dump_blobs(const std::string& path, std::string_view name, const DumpFile& data, DumpSink& sink) {
    try {
        const Shelf shelf = Namespace::open(path).shelf(name, Mode::read_only);
        ShelfCore::of(shelf).examine([&](const Catalogue& catalogue) {
            sink.parent(DumpMaker("blobs", 0, 0, 0)
                            .number("sequence", catalogue.sequence())
                            .number("blobs", catalogue.blobs())
                            .item);
            const auto one = [&](const EntryView& entry) {
                if (!sink.only().empty() && entry.name != sink.only()) return;
                sink.part(DumpMaker("blob", 1, entry.fixed.offset, entry.fixed.extent).entry(entry).item, entry.name);
                if (!entry.inlined()) sink.part(extent_header(data, catalogue.root().uuid, entry), entry.name);
            };
            EntryView found;
            if (sink.only().empty())
                catalogue.for_each("", [&](const EntryView& entry) {
                    one(entry);
                    return true;
                });
            else if (catalogue.find(sink.only(), found)) one(found);
        });
    } catch (const Error& error) {
        sink.item(DumpMaker("blobs", 0, 0, 0).problem(error.what()).item);
    }
}

/// The root as a reader would choose it, whatever its numbers are worth.
std::optional<Superblock> root_of(const DumpFile& map) {
    std::vector<std::byte> bytes(std::min<std::uint64_t>(map.size(), kMapSize));
    if (!map.read(0, bytes).empty()) return std::nullopt;
    return choose_superblock(bytes).best;
}

}  // namespace

DumpMaker& DumpMaker::entry(const EntryView& entry) {
    const Entry& e = entry.fixed;
    text("name", std::string(entry.name)).text("flags", flags_text(e.flags));
    if (entry.tombstone()) return *this;
    if (!entry.type.empty()) text("type", type_text(entry.type));
    number("id", e.id).number("sequence", e.sequence).number("size", e.size);
    if (entry.inlined()) {
        text("value", hex_text(entry.value));
    } else {
        number("offset", e.offset).number("extent", e.extent);
        number("header_offset", e.header_offset).number("header_size", e.header_size);
    }
    time("created_ns", e.created_ns).time("modified_ns", e.modified_ns).text("mode", fmt::format("{:04o}", e.mode));
    if ((e.flags & kEntryContentCrc) != 0) hex("content_crc", e.content_crc);
    return number("share_count", e.share_count);
}

void DumpSink::release() {
    for (const DumpItem& held : std::exchange(waiting_, {})) item(held);
}

void DumpSink::parent(DumpItem made) {
    while (!waiting_.empty() && waiting_.back().depth >= made.depth) waiting_.pop_back();
    if (only_.empty()) return item(made);
    const bool damaged = !made.problem.empty();
    waiting_.push_back(std::move(made));
    if (damaged) release();
}

void DumpSink::part(const DumpItem& made, std::string_view name) {
    if (!only_.empty() && name != only_ && made.problem.empty()) return;
    release();
    item(made);
}

void dump(const std::string& path, std::string_view shelf, const DumpOptions& options,
          const std::function<bool(const DumpItem&)>& visit) {
    check_shelf_name(shelf);
    const Directory checked(path);  // throws what its callers expect
    const Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) throw IoError(fmt::format("namespace '{}': {}", path, std::strerror(errno)), errno);
    const DumpFile map(directory.get(), fmt::format("{}.map", shelf));
    const DumpFile data(directory.get(), fmt::format("{}.data", shelf));
    if (map.missing() && data.missing())
        throw NotFoundError(fmt::format("shelf '{}' in {}: no such shelf", shelf, path));
    DumpSink sink(visit, options.blob);
    try {
        if (options.superblocks) dump_superblocks(map, data, sink);
        const std::optional<Superblock> root = root_of(map);
        if (root) {
            if (options.zones) dump_zones(*root, data, sink);
            if (options.log) dump_log(*root, data, sink);
            if (options.runs) dump_runs(*root, data, sink);
        } else if (options.zones || options.log || options.runs) {
            sink.item(DumpMaker("root", 0, 0, 0, true)
                          .problem("no superblock is sound: where log, runs and zone table lie is not known")
                          .item);
        }
        if (options.blobs) dump_blobs(path, shelf, data, sink);
    } catch (const DumpSink::Stopped&) {
    }
}

}  // namespace pymm
