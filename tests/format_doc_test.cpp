// docs/FORMAT.md against lib/format/layout.hpp: the tables of the document are what is compared, so that a
// change of either without the other fails. That every field is documented follows from the sums: fields
// must follow each other without a gap and fill the structure.
#include <doctest/doctest.h>

#include <fmt/format.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <pymm/type.hpp>

#include "catalogue/commit.hpp"
#include "catalogue/filter.hpp"
#include "format/layout.hpp"
#include "format/names.hpp"
#include "format/type_codec.hpp"

using namespace pymm;
using namespace pymm::format;

namespace {

// The project's folder: from the build, else some folder above the one we run in.
std::filesystem::path source_dir() {
    if (const char* given = ::getenv("PYMM_SOURCE_DIR")) return given;
    for (auto at = std::filesystem::current_path(); at != at.root_path(); at = at.parent_path())
        if (std::filesystem::exists(at / "docs/FORMAT.md")) return at;
    return ".";
}

std::vector<std::string> lines_of(const std::string& file) {
    std::ifstream in(source_dir() / file);
    REQUIRE_MESSAGE(in.good(), "cannot read " << file << "; set PYMM_SOURCE_DIR to the project's folder");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

std::string strip(std::string text) {
    const auto junk = [](char c) { return c == ' ' || c == '`'; };
    while (!text.empty() && junk(text.back())) text.pop_back();
    while (!text.empty() && junk(text.front())) text.erase(0, 1);
    return text;
}

struct Table {
    std::string heading;  // last word of the heading above it
    std::vector<std::string> columns;
    std::vector<std::vector<std::string>> rows;
};

std::vector<Table> tables() {
    std::vector<Table> all;
    std::string heading;
    bool inside = false;
    for (const std::string& line : lines_of("docs/FORMAT.md")) {
        if (line.starts_with("#")) heading = line.substr(line.rfind(' ') + 1);
        if (!line.starts_with("|")) {
            inside = false;
            continue;
        }
        std::vector<std::string> cells;
        std::istringstream in(line.substr(1));
        for (std::string cell; std::getline(in, cell, '|');) cells.push_back(strip(cell));
        if (!inside) all.push_back({heading, cells, {}});
        else if (!line.starts_with("|---")) all.back().rows.push_back(cells);
        inside = true;
    }
    return all;
}

struct Field {
    std::string name;
    std::uint64_t offset, size;
};
struct Structure {
    std::uint64_t size;
    std::vector<Field> fields;
};

#define F(s, f) {#f, offsetof(s, f), sizeof(s::f)}
const std::map<std::string, Structure> kStructures{
    {"RunRef", {sizeof(RunRef), {F(RunRef, offset), F(RunRef, size), F(RunRef, run_id), F(RunRef, entries),
        F(RunRef, sequence), F(RunRef, level), F(RunRef, reserved)}}},
    {"Superblock", {sizeof(Superblock), {F(Superblock, magic), F(Superblock, version), F(Superblock, size),
        F(Superblock, compat), F(Superblock, ro_compat), F(Superblock, incompat), F(Superblock, uuid),
        F(Superblock, generation), F(Superblock, sequence), F(Superblock, capacity), F(Superblock, created_ns),
        F(Superblock, next_id), F(Superblock, log_offset), F(Superblock, log_size), F(Superblock, log_salt),
        F(Superblock, flags), F(Superblock, run_count), F(Superblock, blobs), F(Superblock, used),
        F(Superblock, zone_offset), F(Superblock, zone_size), F(Superblock, zone_shift), F(Superblock, zone_crc),
        F(Superblock, next_run_id), F(Superblock, base_log_size), F(Superblock, unsafe_shutdowns),
        F(Superblock, reserved0), F(Superblock, runs), F(Superblock, reserved1), F(Superblock, crc)}}},
    {"LivePage", {sizeof(LivePage), {F(LivePage, boot), F(LivePage, salt), F(LivePage, sequence)}}},
    {"DataHeader", {sizeof(DataHeader), {F(DataHeader, magic), F(DataHeader, version), F(DataHeader, used),
        F(DataHeader, uuid), F(DataHeader, capacity), F(DataHeader, reserved), F(DataHeader, crc)}}},
    {"CommitHeader", {sizeof(CommitHeader), {F(CommitHeader, magic), F(CommitHeader, size),
        F(CommitHeader, sequence), F(CommitHeader, salt), F(CommitHeader, time_ns), F(CommitHeader, records),
        F(CommitHeader, crc)}}},
    {"RecordHeader", {sizeof(RecordHeader), {F(RecordHeader, type), F(RecordHeader, flags), F(RecordHeader, size)}}},
    {"Extent", {sizeof(Extent), {F(Extent, offset), F(Extent, size)}}},
    {"Entry", {sizeof(Entry), {F(Entry, id), F(Entry, sequence), F(Entry, offset), F(Entry, extent), F(Entry, size),
        F(Entry, header_offset), F(Entry, created_ns), F(Entry, modified_ns), F(Entry, attr_offset),
        F(Entry, attr_size), F(Entry, flags), F(Entry, mode), F(Entry, content_crc), F(Entry, share_count),
        F(Entry, name_size), F(Entry, type_size), F(Entry, inline_size), F(Entry, header_size)}}},
    {"TypeHeader", {sizeof(TypeHeader), {F(TypeHeader, kind), F(TypeHeader, dimensions), F(TypeHeader, dtype_size),
        F(TypeHeader, itemsize)}}},
    {"TreeSlot", {sizeof(TreeSlot), {F(TreeSlot, tag), F(TreeSlot, size), F(TreeSlot, value)}}},
    {"TreeHeader", {sizeof(TreeHeader), {F(TreeHeader, magic), F(TreeHeader, version), F(TreeHeader, crc),
        F(TreeHeader, size), F(TreeHeader, meta), F(TreeHeader, root)}}},
    {"TreeItem", {sizeof(TreeItem), {F(TreeItem, key), F(TreeItem, value)}}},
    {"TreeIndex", {sizeof(TreeIndex), {F(TreeIndex, number), F(TreeIndex, hash)}}},
    {"TreeArray", {sizeof(TreeArray), {F(TreeArray, offset), F(TreeArray, size)}}},
    {"ListRoot", {sizeof(ListRoot), {F(ListRoot, magic), F(ListRoot, version), F(ListRoot, crc), F(ListRoot, size),
        F(ListRoot, count), F(ListRoot, top), F(ListRoot, live), F(ListRoot, level), F(ListRoot, reserved)}}},
    {"ListNode", {sizeof(ListNode), {F(ListNode, crc), F(ListNode, level), F(ListNode, items), F(ListNode, offset)}}},
    {"ListChild", {sizeof(ListChild), {F(ListChild, offset), F(ListChild, count)}}},
    {"JournalHeader", {sizeof(JournalHeader), {F(JournalHeader, magic), F(JournalHeader, version),
        F(JournalHeader, ranges), F(JournalHeader, size), F(JournalHeader, crc), F(JournalHeader, reserved)}}},
    {"JournalRange", {sizeof(JournalRange), {F(JournalRange, id), F(JournalRange, header), F(JournalRange, offset),
        F(JournalRange, size), F(JournalRange, data)}}},
    {"ExtentHeader", {sizeof(ExtentHeader), {F(ExtentHeader, magic), F(ExtentHeader, uuid),
        F(ExtentHeader, own_offset), F(ExtentHeader, offset), F(ExtentHeader, extent), F(ExtentHeader, size),
        F(ExtentHeader, id), F(ExtentHeader, sequence), F(ExtentHeader, created_ns), F(ExtentHeader, update),
        F(ExtentHeader, mode), F(ExtentHeader, name_size), F(ExtentHeader, type_size), F(ExtentHeader, crc)}}},
    {"PageHeader", {sizeof(PageHeader), {F(PageHeader, magic), F(PageHeader, crc), F(PageHeader, run_id),
        F(PageHeader, number), F(PageHeader, type), F(PageHeader, count), F(PageHeader, reserved)}}},
    {"RunHeader", {sizeof(RunHeader), {F(RunHeader, page), F(RunHeader, uuid), F(RunHeader, entries),
        F(RunHeader, events), F(RunHeader, leaf_start), F(RunHeader, leaf_count), F(RunHeader, index_root),
        F(RunHeader, index_depth), F(RunHeader, filter_start), F(RunHeader, filter_count),
        F(RunHeader, space_start), F(RunHeader, space_count), F(RunHeader, pages), F(RunHeader, level),
        F(RunHeader, max_entry), F(RunHeader, max_name)}}},
    {"IndexItem", {sizeof(IndexItem), {F(IndexItem, child), F(IndexItem, name_size), F(IndexItem, reserved)}}},
    {"SpaceEvent", {sizeof(SpaceEvent), {F(SpaceEvent, offset), F(SpaceEvent, size)}}},
    {"Zone", {sizeof(Zone), {F(Zone, free), F(Zone, largest)}}},
};
#undef F

#define C(name) {#name, static_cast<std::uint64_t>(name)}
const std::map<std::string, std::uint64_t> kConstants{
    C(kVersion), C(kCompatChecksum), C(kCompatKnown), C(kRoCompatKnown), C(kIncompatKnown), C(kLine), C(kPage),
    C(kHugePage), C(kMapSize), C(kSuperblockSize), C(kSuperblockOffset[0]), C(kSuperblockOffset[1]), C(kLivePageOffset),
    C(kSuperblockMagic), C(kMaxRuns), C(kSuperblockClean), C(kDataMagic), C(kDataStart), C(kCommitMagic),
    C(kRecordNewName), C(kEntryInline), C(kEntrySealed), C(kEntryContentCrc), C(kEntryTypeInHeader),
    C(kEntryTombstone), C(kEntryFlagsKnown), C(kIdLimit), C(kSequenceLimit), C(kMaxName), C(kMaxEntryType), C(kMaxType), C(kMaxInline),
    C(kExtentMagic), C(kPageMagic), C(kSpaceTaken), C(kEventsPerPage), C(kFilterBlock), C(kFilterBlocksPerPage),
    C(kFilterProbes), C(kFilterNamesPerBlock), C(kMaxZones), C(kMinZoneShift),
    C(RecordType::put), C(RecordType::erase), C(RecordType::alloc), C(RecordType::free),
    C(PageType::run), C(PageType::leaf), C(PageType::index), C(PageType::space), C(PageType::filter),
    C(Kind::raw), C(Kind::ndarray), C(Kind::string), C(Kind::bytes), C(Kind::integer), C(Kind::real),
    C(Kind::complex), C(Kind::boolean), C(Kind::none), C(Kind::scalar), C(Kind::tree), C(Kind::tensor), C(Kind::pickled),
    C(kTreeMagic), C(kTreeVersion), C(kTreeBlock), C(kTreeAlign), C(kTreeDepth), C(kTreeList), C(kTreeTuple),
    C(kTreeDict), C(kTreeOrderedDict), C(kTreeObject),
    C(Kind::linked_list), C(kListMagic), C(kListVersion), C(kListFanout), C(kListLevels), C(kListTree), C(kListLeaf),
    C(kJournalMagic), C(kJournalVersion),
};
#undef C

}  // namespace

TEST_CASE("every structure: the document's offsets and sizes are the header's, and nothing is left out") {
    std::set<std::string> seen;
    for (const Table& table : tables()) {
        if (table.columns.front() != "Offset") continue;
        CAPTURE(table.heading);
        const auto found = kStructures.find(table.heading);
        REQUIRE(found != kStructures.end());
        CHECK(seen.insert(table.heading).second);
        const Structure& structure = found->second;
        REQUIRE(table.rows.size() == structure.fields.size());
        std::uint64_t at = 0;
        for (std::size_t i = 0; i < table.rows.size(); ++i) {
            const auto& row = table.rows[i];
            const Field& field = structure.fields[i];
            CAPTURE(field.name);
            CHECK(row[3] == field.name);
            CHECK(std::stoull(row[0]) == field.offset);
            CHECK(std::stoull(row[1]) == field.size);
            CHECK(field.offset == at);  // no gap that could be an undocumented field
            at += field.size;
            // The type's width times its count is the size.
            if (row[2].starts_with("u")) {
                const std::uint64_t width = std::stoull(row[2].substr(1)) / 8;
                const auto bracket = row[2].find('[');
                const std::uint64_t n = bracket == std::string::npos ? 1 : std::stoull(row[2].substr(bracket + 1));
                CHECK(width * n == field.size);
            }
        }
        CHECK(at == structure.size);
    }
    for (const auto& [name, structure] : kStructures) CHECK_MESSAGE(seen.contains(name), "undocumented: " << name);
}

TEST_CASE("every constant: the document's value is the header's, and every one of the header's is there") {
    std::map<std::string, std::uint64_t> said;
    for (const Table& table : tables())
        if (table.columns.front() == "Constant")
            for (const auto& row : table.rows) said[row[0]] = std::stoull(row[1], nullptr, 0);
    for (const auto& [name, value] : kConstants) {
        CAPTURE(name);
        REQUIRE(said.contains(name));
        CHECK(said[name] == value);
    }
    for (const auto& [name, value] : said) CHECK_MESSAGE(kConstants.contains(name), "not in the header: " << name);
    // Names declared in the header that neither list knows: constants and structures.
    for (const std::string& line : lines_of("lib/format/layout.hpp")) {
        if (const auto at = line.find(" k"); line.starts_with("inline constexpr") && at != std::string::npos) {
            const std::string name = line.substr(at + 1, line.find_first_of(" [", at + 1) - at - 1);
            CHECK_MESSAGE((said.contains(name) || said.contains(name + "[0]")), "undocumented: " << name);
        }
        if (line.starts_with("struct ")) {
            const std::string name = line.substr(7, line.find(' ', 7) - 7);
            CHECK_MESSAGE(kStructures.contains(name), "undocumented: " << name);
        }
    }
}

TEST_CASE("headings show the magic of their structure") {
    std::map<std::string, std::uint64_t> shown;
    for (const std::string& line : lines_of("docs/FORMAT.md")) {
        const auto at = line.find(" 0x");
        if (line.starts_with("#") && at != std::string::npos)
            shown[line.substr(line.rfind(' ') + 1)] = std::stoull(line.substr(at + 1), nullptr, 0);
    }
    CHECK(shown == std::map<std::string, std::uint64_t>{{"Superblock", kSuperblockMagic},
                                                        {"DataHeader", kDataMagic},
                                                        {"CommitHeader", kCommitMagic},
                                                        {"ExtentHeader", kExtentMagic},
                                                        {"TreeHeader", kTreeMagic},
                                                        {"ListRoot", kListMagic},
                                                        {"JournalHeader", kJournalMagic},
                                                        {"PageHeader", kPageMagic}});
    const auto text = [](std::uint64_t magic) { return std::string(reinterpret_cast<const char*>(&magic), 8); };
    CHECK(text(kSuperblockMagic) == "PYMMSHLF");
    CHECK(text(kDataMagic) == "PYMMDATA");
    CHECK(text(kExtentMagic) == "PYMMBLOB");
    CHECK(text(kTreeMagic) == "PYMMTREE");
    CHECK(text(kListMagic) == "PYMMLIST");
}

TEST_CASE("kinds and flags, as their tables have them") {
    for (const Table& table : tables()) {
        if (table.columns.front() == "Kind") {
            CHECK(table.rows.size() == 14);
            for (const auto& row : table.rows) CHECK(kind_name(static_cast<Kind>(std::stoi(row[0]))) == row[1]);
        }
        if (table.columns.front() == "Bit")
            for (const auto& row : table.rows) CHECK(kConstants.at(row[1]) == std::uint64_t{1} << std::stoi(row[0]));
    }
}

TEST_CASE("name hashes and filter bits of the examples") {
    std::size_t examples = 0;
    for (const Table& table : tables()) {
        if (table.columns.size() < 2 || table.columns[1] != "Hash") continue;
        for (const auto& row : table.rows) {
            ++examples;
            const std::uint64_t hash = name_hash(row[0]);
            CHECK(hash == std::stoull(row[1], nullptr, 16));
            CHECK(filter_block(hash, 63) == std::stoull(row[2]));
            std::byte expected[kFilterBlock]{}, block[kFilterBlock]{};
            filter_set(block, hash);
            std::istringstream bits(row[3]);
            for (std::string bit; std::getline(bits, bit, ',');)
                expected[std::stoul(bit) / 8] |= static_cast<std::byte>(1u << (std::stoul(bit) % 8));
            CHECK(std::memcmp(block, expected, sizeof block) == 0);
        }
    }
    CHECK(examples == 3);
}

TEST_CASE("the worked example is what the code writes") {
    std::vector<std::byte> dump;
    for (const std::string& line : lines_of("docs/FORMAT.md")) {
        if (!line.starts_with("    0") || line.size() < 10 || line[7] != ' ') continue;
        std::istringstream in(line.substr(8));
        for (std::string byte; in >> byte;) dump.push_back(static_cast<std::byte>(std::stoi(byte, nullptr, 16)));
    }
    Entry e{};
    e.id = std::uint64_t{1} << 32;
    e.sequence = 1;
    e.size = 1;
    e.created_ns = e.modified_ns = 1'767'225'600'000'000'000;
    e.flags = kEntryInline;
    e.mode = 0600;
    e.share_count = 1;
    const Type type = Type::value(Kind::integer);
    std::vector<std::byte> encoded(encoded_type_size(type));
    encode_type(type, encoded.data());
    const std::byte value{42};
    CommitBuilder builder;
    builder.put(e, "answer", encoded, Bytes(&value, 1), true);
    const Bytes built = builder.finish(1, 0x1122334455667788, 1'767'225'600'000'000'000);
    REQUIRE(dump.size() == built.size());
    CHECK(std::equal(dump.begin(), dump.end(), built.begin()));

    // The bytes in the table are those of the dump, all of them, in order.
    std::vector<std::byte> table_bytes;
    for (const Table& table : tables()) {
        if (table.columns.front() != "At") continue;
        for (const auto& row : table.rows) {
            CHECK(std::stoul(row[0], nullptr, 16) == table_bytes.size());
            std::istringstream in(row[1]);
            for (std::string byte; in >> byte;)
                table_bytes.push_back(static_cast<std::byte>(std::stoi(byte, nullptr, 16)));
        }
    }
    CHECK(table_bytes == dump);
}
