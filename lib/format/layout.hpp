// On-media layout, version 1. The text for people is docs/FORMAT.md; tests/format_doc_test.cpp compares
// the two, so change both at once. Everything is little-endian and naturally aligned; offsets are bytes
// from the start of the data file; nothing on media is a pointer.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace pymm::format {

static_assert(std::endian::native == std::endian::little,
              "the media is little-endian; a big-endian port needs conversions in this directory");

inline constexpr std::uint32_t kVersion = 1;

// Feature bits (as in ext4): unknown compat bits are ignored, unknown ro-compat bits allow reading
// only, unknown incompat bits refuse the shelf.
inline constexpr std::uint64_t kCompatChecksum = 1;  // every put records a checksum of its content
inline constexpr std::uint64_t kCompatKnown = 1;
inline constexpr std::uint64_t kRoCompatKnown = 0;
inline constexpr std::uint64_t kIncompatKnown = 0;

inline constexpr std::uint64_t kLine = 64;           // cache line; unit of allocation
inline constexpr std::uint64_t kPage = 4096;         // unit of run pages and of blobs from this size
inline constexpr std::uint64_t kHugePage = 2 << 20;  // alignment of blobs from this size

using Uuid = std::array<std::uint8_t, 16>;

// ---- .map ---------------------------------------------------------------------------------------

inline constexpr std::uint64_t kMapSize = 4 * kPage;
inline constexpr std::uint64_t kSuperblockSize = kPage;
inline constexpr std::uint64_t kSuperblockOffset[2] = {0, kPage};
inline constexpr std::uint64_t kLivePageOffset = 2 * kPage;

inline constexpr std::uint64_t kSuperblockMagic = 0x464c48534d4d5950;  // "PYMMSHLF"
inline constexpr std::uint32_t kMaxRuns = 64;

inline constexpr std::uint32_t kSuperblockClean = 1;  // flags: nothing was committed after it

struct RunRef {
    std::uint64_t offset;    // of the run's extent
    std::uint64_t size;      // bytes, a multiple of kPage
    std::uint64_t run_id;    // also in each of its pages
    std::uint64_t entries;   // names, tombstones included
    std::uint64_t sequence;  // last commit folded into it
    std::uint32_t level;
    std::uint32_t reserved;
};
static_assert(sizeof(RunRef) == 48);

struct Superblock {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t size;
    std::uint64_t compat;
    std::uint64_t ro_compat;
    std::uint64_t incompat;
    Uuid uuid;
    std::uint64_t generation;  // +1 at each change of the root
    std::uint64_t sequence;    // last commit folded into the runs; the log starts at the next
    std::uint64_t capacity;    // bytes of the data file
    std::uint64_t created_ns;
    std::uint64_t next_id;     // blob ids below it may have been given out
    std::uint64_t log_offset;
    std::uint64_t log_size;
    std::uint64_t log_salt;    // of this incarnation of the log
    std::uint32_t flags;
    std::uint32_t run_count;
    std::uint64_t blobs;       // names in the runs
    std::uint64_t used;        // bytes allocated, metadata included
    std::uint64_t zone_offset; // extent of the zone table
    std::uint64_t zone_size;   // bytes of it, a multiple of kLine
    std::uint32_t zone_shift;  // a zone is 1 << zone_shift bytes
    std::uint32_t zone_crc;
    std::uint64_t next_run_id;
    std::uint64_t base_log_size;      // bytes of an ordinary log segment of this shelf
    std::uint64_t unsafe_shutdowns;   // of the device, at the session's first commit; 0 unknown
    std::uint8_t reserved0[64];
    RunRef runs[kMaxRuns];            // oldest first
    std::uint8_t reserved1[764];
    std::uint32_t crc;                // CRC32C of all bytes before it
};
static_assert(offsetof(Superblock, uuid) == 40);
static_assert(offsetof(Superblock, generation) == 56);
static_assert(offsetof(Superblock, flags) == 120);
static_assert(offsetof(Superblock, zone_offset) == 144);
static_assert(offsetof(Superblock, runs) == 256);
static_assert(offsetof(Superblock, crc) == 4092);
static_assert(sizeof(Superblock) == kSuperblockSize);

// What the writer tells readers that run beside it. Never flushed and never trusted after a reboot.
struct LivePage {
    std::uint64_t boot;      // hash of the kernel's boot id
    std::uint64_t salt;      // log incarnation that `sequence` speaks of
    std::uint64_t sequence;  // last commit that is durable
};
static_assert(sizeof(LivePage) == 24);

// ---- .data --------------------------------------------------------------------------------------

inline constexpr std::uint64_t kDataMagic = 0x415441444d4d5950;  // "PYMMDATA"
inline constexpr std::uint64_t kDataStart = kPage;               // first byte that is allocated

struct DataHeader {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t used;  // 0 until the first commit: then a data file without its .map is precious
    Uuid uuid;
    std::uint64_t capacity;
    std::uint8_t reserved[20];
    std::uint32_t crc;  // of all bytes before it, `used` taken as 0
};
static_assert(sizeof(DataHeader) == 64);

// ---- Redo log -----------------------------------------------------------------------------------

inline constexpr std::uint32_t kCommitMagic = 0x54434d50;  // "PMCT"

// A commit starts on a cache line: the header, then `records` records back to back.
struct CommitHeader {
    std::uint32_t magic;
    std::uint32_t size;  // bytes of header and records
    std::uint64_t sequence;
    std::uint64_t salt;
    std::uint64_t time_ns;
    std::uint32_t records;
    std::uint32_t crc;  // CRC32C of `size` bytes with this field 0
};
static_assert(sizeof(CommitHeader) == 40);

enum class RecordType : std::uint16_t {
    put = 1,    // an Entry: the name now means this
    erase = 2,  // an Entry with kEntryTombstone: the name means nothing
    alloc = 3,  // an Extent is taken
    free = 4,   // an Extent is given back
};

inline constexpr std::uint16_t kRecordNewName = 1;  // flag of put: the name did not exist

struct RecordHeader {
    std::uint16_t type;
    std::uint16_t flags;
    std::uint32_t size;  // bytes of header and body, a multiple of 8
};
static_assert(sizeof(RecordHeader) == 8);

struct Extent {
    std::uint64_t offset;
    std::uint64_t size;
};
static_assert(sizeof(Extent) == 16);

// ---- Catalogue entry ----------------------------------------------------------------------------

inline constexpr std::uint32_t kEntryInline = 1;        // the value follows the entry; no extent
inline constexpr std::uint32_t kEntrySealed = 2;        // immutable
inline constexpr std::uint32_t kEntryContentCrc = 4;    // content_crc is valid
inline constexpr std::uint32_t kEntryTypeInHeader = 8;  // type descriptor too long: in the extent header
inline constexpr std::uint32_t kEntryTombstone = 16;
inline constexpr std::uint32_t kEntryFlagsKnown = 31;

// Each session takes 2^32 ids, so no shelf ever comes so far: what does is damage.
inline constexpr std::uint64_t kIdLimit = std::uint64_t{1} << 63;

// Likewise of sequences of commits and generations of roots.
inline constexpr std::uint64_t kSequenceLimit = std::uint64_t{1} << 62;

inline constexpr std::uint32_t kMaxName = 1024;
inline constexpr std::uint32_t kMaxEntryType = 512;  // a longer descriptor goes to the extent header
inline constexpr std::uint32_t kMaxType = 1 << 16;
inline constexpr std::uint32_t kMaxInline = 256;     // a larger value gets an extent

struct Entry {
    std::uint64_t id;
    std::uint64_t sequence;       // commit that wrote this version
    std::uint64_t offset;         // of the data; 0 when inline
    std::uint64_t extent;         // bytes allocated for the data
    std::uint64_t size;           // bytes of data
    std::uint64_t header_offset;  // of the extent header; 0 when inline
    std::uint64_t created_ns;
    std::uint64_t modified_ns;
    std::uint64_t attr_offset;    // reserved for attributes: 0
    std::uint32_t attr_size;      // reserved: 0
    std::uint32_t flags;
    std::uint32_t mode;
    std::uint32_t content_crc;
    std::uint32_t share_count;    // names and snapshots that refer to the extent: 1
    std::uint16_t name_size;
    std::uint16_t type_size;
    std::uint32_t inline_size;
    std::uint32_t header_size;    // bytes allocated for the extent header
    // then: name, type descriptor, inline value; zero padding to 8 bytes
};
static_assert(sizeof(Entry) == 104);

struct TypeHeader {
    std::uint8_t kind;
    std::uint8_t dimensions;
    std::uint16_t dtype_size;
    std::uint32_t itemsize;
    // then: int64 shape[dimensions], int64 strides[dimensions], dtype text
};
static_assert(sizeof(TypeHeader) == 8);

inline constexpr std::uint64_t kTreeMagic = 0x454552544d4d5950;  // "PYMMTREE"
inline constexpr std::uint32_t kTreeVersion = 1;
inline constexpr std::uint32_t kTreeBlock = 4096;    // metadata that one checksum covers
inline constexpr std::uint32_t kTreeAlign = 64;      // of what lies behind the metadata
inline constexpr std::uint32_t kTreeDepth = 100;     // containers within each other

// Tags of slots besides the numbers of Kind.
inline constexpr std::uint8_t kTreeList = 16;
inline constexpr std::uint8_t kTreeTuple = 17;
inline constexpr std::uint8_t kTreeDict = 18;
inline constexpr std::uint8_t kTreeOrderedDict = 19;
inline constexpr std::uint8_t kTreeObject = 20;

// A value, wherever it stands in a tree. Offsets are from the tree's start.
struct TreeSlot {
    std::uint8_t tag;
    std::array<std::uint8_t, 7> size;  // bytes, or elements, as a number of 56 bits
    std::uint64_t value;               // up to 8 bytes themselves, else an offset
};
static_assert(sizeof(TreeSlot) == 16);

// At the start of a tree, which is the content of a blob.
struct TreeHeader {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t crc;   // of this header, itself taken as 0
    std::uint64_t size;  // of the tree
    std::uint64_t meta;  // end of the metadata; their checksums follow
    TreeSlot root;
};
static_assert(sizeof(TreeHeader) == 48);

struct TreeItem {
    TreeSlot key;
    TreeSlot value;
};
static_assert(sizeof(TreeItem) == 32);

// One word of a dict's index. Sorted by hash, then number: as a u64 they ascend.
struct TreeIndex {
    std::uint32_t number;  // of the item
    std::uint32_t hash;
};
static_assert(sizeof(TreeIndex) == 8);

// What the slot of an array or scalar refers to. The type descriptor follows.
struct TreeArray {
    std::uint64_t offset;
    std::uint64_t size;
};
static_assert(sizeof(TreeArray) == 16);

inline constexpr std::uint64_t kListMagic = 0x5453494c4d4d5950;  // "PYMMLIST"
inline constexpr std::uint32_t kListVersion = 1;
inline constexpr std::uint32_t kListFanout = 32;  // items of a node, at most
inline constexpr std::uint32_t kListLevels = 16;  // levels of nodes, at most

// Tags of slots in a linked list besides the numbers of Kind; none is one of trees.
inline constexpr std::uint8_t kListTree = 32;
inline constexpr std::uint8_t kListLeaf = 33;

// The last bytes of a linked list.
struct ListRoot {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t crc;    // of this structure, itself taken as 0
    std::uint64_t size;   // of the list
    std::uint64_t count;  // elements
    std::uint64_t top;    // offset of the node above all others
    std::uint64_t live;   // bytes that are not garbage
    std::uint32_t level;  // of the node at `top`
    std::uint32_t reserved[3];
};
static_assert(sizeof(ListRoot) == 64);

// TreeSlots follow at level 0, ListChilds above.
struct ListNode {
    std::uint32_t crc;     // of the node, itself taken as 0
    std::uint16_t level;
    std::uint16_t items;
    std::uint64_t offset;  // its own
};
static_assert(sizeof(ListNode) == 16);

struct ListChild {
    std::uint64_t offset;  // of a node one level below
    std::uint64_t count;   // elements below it
};
static_assert(sizeof(ListChild) == 16);

// ---- Journal of a transaction -------------------------------------------------------------------

inline constexpr std::uint64_t kJournalMagic = 0x4c4e524a4d4d5950;  // "PYMMJRNL"
inline constexpr std::uint32_t kJournalVersion = 1;

// At the start of a journal, which is the content of a blob: bytes to be copied to where they came from.
struct JournalHeader {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t ranges;
    std::uint64_t size;  // of the journal
    std::uint32_t crc;   // of the journal, itself taken as 0
    std::uint32_t reserved;
    // then: JournalRange[ranges]; zero padding to kLine; their bytes, each at a multiple of kLine
};
static_assert(sizeof(JournalHeader) == 32);

struct JournalRange {
    std::uint64_t id;      // of the blob that owns the bytes
    std::uint64_t header;  // offset of its extent header
    std::uint64_t offset;  // of the bytes, in the data file
    std::uint64_t size;
    std::uint64_t data;    // of their copy, from the journal's start
};
static_assert(sizeof(JournalRange) == 40);

inline constexpr std::uint64_t kExtentMagic = 0x424f4c424d4d5950;  // "PYMMBLOB"

// In front of a small blob's data, elsewhere for blobs that own their pages.
struct ExtentHeader {
    std::uint64_t magic;
    Uuid uuid;
    std::uint64_t own_offset;
    std::uint64_t offset;  // of the data
    std::uint64_t extent;
    std::uint64_t size;
    std::uint64_t id;
    std::uint64_t sequence;  // last commit before this version was written
    std::uint64_t created_ns;
    std::uint64_t update;    // in-place updates: odd while one is under way; not in the CRC
    std::uint32_t mode;
    std::uint32_t name_size;
    std::uint32_t type_size;
    std::uint32_t crc;  // of header, name and type, with `update` and `crc` taken as 0
    // then: name, type descriptor; zero padding to kLine
};
static_assert(sizeof(ExtentHeader) == 104);

// ---- Sorted run ---------------------------------------------------------------------------------

inline constexpr std::uint32_t kPageMagic = 0x47504d50;  // "PMPG"

enum class PageType : std::uint16_t {
    run = 1,     // first page: RunHeader
    leaf = 2,    // entries sorted by name
    index = 3,   // first name of each page below
    space = 4,   // space events sorted by offset
    filter = 5,  // Bloom filter blocks
};

struct PageHeader {
    std::uint32_t magic;
    std::uint32_t crc;  // CRC32C of the page with this field 0
    std::uint64_t run_id;
    std::uint32_t number;  // of the page in its run
    PageType type;
    std::uint16_t count;   // of items in the page
    std::uint32_t reserved[2];
};
static_assert(sizeof(PageHeader) == 32);

struct RunHeader {
    PageHeader page;
    Uuid uuid;
    std::uint64_t entries;
    std::uint64_t events;
    std::uint32_t leaf_start;    // page numbers
    std::uint32_t leaf_count;
    std::uint32_t index_root;    // 0: no index page, at most one leaf
    std::uint32_t index_depth;   // levels of index pages above the leaves
    std::uint32_t filter_start;
    std::uint32_t filter_count;
    std::uint32_t space_start;
    std::uint32_t space_count;
    std::uint32_t pages;
    std::uint32_t level;
    std::uint32_t max_entry;  // bytes of the longest entry; sizes the output of a merge
    std::uint32_t max_name;   // bytes of the longest name
};
static_assert(sizeof(RunHeader) == 112);

// Leaf and index pages: items from the front, uint16 item offsets from the back (the first item's
// offset is the page's last two bytes).
struct IndexItem {
    std::uint32_t child;  // page number
    std::uint16_t name_size;
    std::uint16_t reserved;
    // then: name, padding to 8 bytes
};
static_assert(sizeof(IndexItem) == 8);

inline constexpr std::uint64_t kSpaceTaken = 1;  // lowest bit of SpaceEvent::size

struct SpaceEvent {
    std::uint64_t offset;
    std::uint64_t size;  // a multiple of kLine, | kSpaceTaken when taken, else given back
};
static_assert(sizeof(SpaceEvent) == 16);
inline constexpr std::uint32_t kEventsPerPage = (kPage - sizeof(PageHeader)) / sizeof(SpaceEvent);

inline constexpr std::uint32_t kFilterBlock = 64;      // bytes: a name's bits share one cache line
inline constexpr std::uint32_t kFilterBlocksPerPage = 63;  // the first 64 bytes hold the page header
inline constexpr std::uint32_t kFilterProbes = 6;
inline constexpr std::uint32_t kFilterNamesPerBlock = 48;  // about 10.7 bits a name

// ---- Zones --------------------------------------------------------------------------------------

inline constexpr std::uint32_t kMaxZones = 1024;
inline constexpr std::uint32_t kMinZoneShift = 24;

struct Zone {
    std::uint64_t free;     // bytes, exact
    std::uint64_t largest;  // a hint: the largest free extent seen
};
static_assert(sizeof(Zone) == 16);

}  // namespace pymm::format
