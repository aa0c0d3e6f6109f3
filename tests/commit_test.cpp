// Commits of the redo log: what was built is what is decoded, and nothing else is.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstring>
#include <string>

#include <pymm/error.hpp>

#include "catalogue/commit.hpp"
#include "format/crc32c.hpp"

using namespace pymm;
using namespace pymm::format;

namespace {

constexpr std::uint64_t kCapacity = 8 << 20;
constexpr std::uint64_t kSalt = 0x0123456789abcdef;

struct Said {
    RecordType type;
    bool new_name = false;
    std::string name;
    std::string value;
    Extent extent{};
    bool operator==(const Said& o) const {
        return type == o.type && new_name == o.new_name && name == o.name && value == o.value &&
               extent.offset == o.extent.offset && extent.size == o.extent.size;
    }
};

Said any_record() {
    Said said{};
    said.type = static_cast<RecordType>(*rc::gen::inRange(1, 5));
    if (said.type == RecordType::alloc || said.type == RecordType::free) {
        said.extent.offset = kDataStart + 64 * *rc::gen::inRange<std::uint64_t>(0, 1000);
        said.extent.size = 64 * *rc::gen::inRange<std::uint64_t>(1, 1000);
    } else {
        said.name = "n" + std::to_string(*rc::gen::inRange(0, 1000)) +
                    std::string(*rc::gen::element<std::size_t>(0, 1, 5, 60, 1000), 'x');
        if (said.type == RecordType::put) {
            said.new_name = *rc::gen::arbitrary<bool>();
            said.value = std::string(*rc::gen::inRange<std::size_t>(0, 257), 'v');
        }
    }
    return said;
}

void add(CommitBuilder& builder, const Said& said) {
    Entry e{};
    e.flags = kEntryInline;
    e.size = said.value.size();
    switch (said.type) {
        case RecordType::put: builder.put(e, said.name, {}, std::as_bytes(std::span(said.value)), said.new_name); break;
        case RecordType::erase: builder.erase(said.name); break;
        case RecordType::alloc: builder.alloc(said.extent); break;
        case RecordType::free: builder.free(said.extent); break;
    }
}

const char* decode(Bytes commit, std::vector<Said>& out) {
    return for_each_record(commit, kCapacity, false, [&](const Record& r) {
        Said said{r.type, r.new_name, {}, {}, r.extent};
        said.name = r.entry.name;
        said.value.assign(reinterpret_cast<const char*>(r.entry.value.data()), r.entry.value.size());
        out.push_back(said);
    });
}

std::vector<std::byte> copy_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

// A commit around arbitrary records, with a right checksum: what a foreign writer could leave.
std::vector<std::byte> forge(const std::vector<std::byte>& records, std::uint32_t count) {
    const auto size = static_cast<std::uint32_t>(sizeof(CommitHeader) + records.size());
    CommitHeader h{kCommitMagic, size, 1, kSalt, 0, count, 0};
    std::vector<std::byte> bytes(h.size);
    std::memcpy(bytes.data(), &h, sizeof h);
    if (!records.empty()) std::memcpy(bytes.data() + sizeof h, records.data(), records.size());
    h.crc = crc32c(bytes.data(), bytes.size());
    std::memcpy(bytes.data(), &h, sizeof h);
    return bytes;
}

std::vector<std::byte> record(std::uint16_t type, std::uint32_t size, std::size_t bytes) {
    std::vector<std::byte> out(bytes);
    const RecordHeader h{type, 0, size};
    std::memcpy(out.data(), &h, std::min(bytes, sizeof h));
    return out;
}

}  // namespace

TEST_CASE("what was built is what is decoded, behind which anything may follow") {
    REQUIRE(rc::check([] {
        CommitBuilder builder;
        builder.erase("left from before");
        builder.clear();
        RC_ASSERT(builder.empty());
        std::vector<Said> said;
        const int n = *rc::gen::inRange(0, 20);
        for (int i = 0; i < n; ++i) {
            said.push_back(any_record());
            add(builder, said.back());
        }
        RC_ASSERT(builder.records() == said.size());
        const auto sequence = *rc::gen::arbitrary<std::uint64_t>();
        std::vector<std::byte> log = copy_of(builder.finish(sequence, kSalt, 99));
        const std::size_t net = log.size();
        RC_ASSERT(net == builder.size());
        RC_ASSERT(net % 8 == 0u);
        log.resize(net + *rc::gen::inRange<std::size_t>(0, 200), std::byte{0x50});
        std::size_t size = 0;
        RC_ASSERT(check_commit(log, sequence, kSalt, size) == nullptr);
        RC_ASSERT(size == net);
        std::vector<Said> again;
        RC_ASSERT(decode(Bytes(log).first(size), again) == nullptr);
        RC_ASSERT(again == said);
        RC_ASSERT(commit_time(log) == 99u);
        RC_ASSERT(check_commit(log, sequence + 1, kSalt, size) != nullptr);
        RC_ASSERT(check_commit(log, sequence, kSalt + 1, size) != nullptr);
    }));
}

TEST_CASE("every changed bit and every cut of a commit is found") {
    CommitBuilder builder;
    builder.alloc({8192, 4096});
    Entry e{};
    e.flags = kEntryInline;
    e.size = 5;
    builder.put(e, "name", {}, std::as_bytes(std::span("value", 5)), true);
    builder.erase("other");
    builder.free({4096, 64});
    const std::vector<std::byte> good = copy_of(builder.finish(1, kSalt, 0));
    std::size_t size = 0;
    REQUIRE(check_commit(good, 1, kSalt, size) == nullptr);
    std::vector<std::byte> bad = good;
    bad.resize(good.size() + 4096);  // room for a size that grew
    for (std::size_t i = 0; i < 8 * good.size(); ++i) {
        bad[i / 8] ^= static_cast<std::byte>(1u << (i % 8));
        if (check_commit(bad, 1, kSalt, size) == nullptr) FAIL("bit " << i);
        bad[i / 8] = good[i / 8];
    }
    for (std::size_t n = 0; n < good.size(); ++n) {
        const std::vector<std::byte> part(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
        if (check_commit(part, 1, kSalt, size) == nullptr) FAIL("cut at " << n);
        // Torn: the rest never reached the media.
        std::vector<std::byte> torn = good;
        std::fill(torn.begin() + static_cast<std::ptrdiff_t>(n), torn.end(), std::byte{0});
        if (torn != good && check_commit(torn, 1, kSalt, size) == nullptr) FAIL("torn at " << n);
    }
}

TEST_CASE("a commit larger than its header can say is refused, and is what it was") {
    static_assert(CommitBuilder::kMaxSize <= UINT32_MAX && CommitBuilder::kMaxSize % 8 == 0);
    CommitBuilder builder(4096);
    std::uint32_t records = 0;
    try {
        for (; records < 1000; ++records) builder.erase("name " + std::to_string(records));
    } catch (const InvalidArgumentError& error) {
        CHECK(std::string(error.what()).find("smaller batches") != std::string::npos);
    }
    CHECK(records > 20);
    CHECK(builder.size() <= 4096);
    CHECK(builder.size() > 3900);
    CHECK(builder.records() == records);
    const Bytes bytes = builder.finish(7, 8, 9);
    std::size_t size = 0;
    REQUIRE(check_commit(bytes, 7, 8, size) == nullptr);
    CHECK(size == bytes.size());
    std::uint32_t seen = 0;
    CHECK(for_each_record(bytes, 1 << 20, false, [&](const Record&) { ++seen; }) == nullptr);
    CHECK(seen == records);
}

TEST_CASE("zeros, and sizes out of range, are no commit") {
    std::size_t size = 0;
    CHECK(check_commit({}, 0, 0, size) != nullptr);
    const std::vector<std::byte> zeros(4096);
    CHECK(check_commit(zeros, 0, 0, size) != nullptr);
    for (const std::uint32_t claimed : {0u, 8u, 39u, 41u, 4104u, 0xfffffff8u, 0xffffffffu}) {
        CommitHeader h{kCommitMagic, claimed, 1, kSalt, 0, 0, 0};
        std::vector<std::byte> log(4096);
        std::memcpy(log.data(), &h, sizeof h);
        h.crc = crc32c(log.data(), std::min<std::size_t>(claimed, log.size()));
        std::memcpy(log.data(), &h, sizeof h);
        CAPTURE(claimed);
        CHECK(check_commit(log, 1, kSalt, size) != nullptr);
    }
}

TEST_CASE("malformed records under a right checksum") {
    std::vector<Said> out;
    const auto malformed = [&](const std::vector<std::byte>& records, std::uint32_t count) {
        const std::vector<std::byte> commit = forge(records, count);
        std::size_t size = 0;
        REQUIRE(check_commit(commit, 1, kSalt, size) == nullptr);
        return decode(commit, out) != nullptr;
    };
    CHECK(!malformed({}, 0));
    CHECK(malformed({}, 1));
    CHECK(malformed(record(4, 24, 24), 1));  // free of nothing at 0
    for (const std::uint32_t size : {0u, 7u, 8u, 12u, 16u, 32u, 0xfffffff8u, 0xffffffffu}) {
        CAPTURE(size);
        CHECK(malformed(record(3, size, 24), 1));
        CHECK(malformed(record(1, size, 24), 1));
    }
    CHECK(malformed(record(0, 24, 24), 1));
    CHECK(malformed(record(5, 24, 24), 1));
    CHECK(malformed(record(0xffff, 24, 24), 1));
    const auto extent = [](std::uint64_t offset, std::uint64_t size) {
        std::vector<std::byte> r = record(3, 24, 24);
        const Extent e{offset, size};
        std::memcpy(r.data() + 8, &e, sizeof e);
        return r;
    };
    CHECK(!malformed(extent(4096, 64), 1));
    CHECK(malformed(extent(4096, 64), 2));
    CHECK(malformed(extent(4032, 64), 1));
    CHECK(malformed(extent(4100, 64), 1));
    CHECK(malformed(extent(4096, 63), 1));
    CHECK(malformed(extent(4096, 0), 1));
    CHECK(!malformed(extent(kCapacity - 64, 64), 1));
    CHECK(malformed(extent(kCapacity, 64), 1));
    CHECK(malformed(extent(kCapacity - 64, 128), 1));
    CHECK(malformed(extent(~std::uint64_t{63}, 128), 1));
    // A tombstone that says put, an entry that says erase, slack behind an entry.
    std::vector<std::byte> entry(8 + encoded_entry_size(1, 0, 0));
    Entry e{};
    e.flags = kEntryTombstone;
    encode_entry(e, "x", {}, {}, entry.data() + 8);
    const auto typed = [&](std::uint16_t type) {
        const RecordHeader h{type, 0, static_cast<std::uint32_t>(entry.size())};
        std::memcpy(entry.data(), &h, sizeof h);
        return entry;
    };
    CHECK(malformed(typed(1), 1));
    CHECK(!malformed(typed(2), 1));
    e.flags = kEntryInline;
    encode_entry(e, "x", {}, {}, entry.data() + 8);
    CHECK(!malformed(typed(1), 1));
    CHECK(malformed(typed(2), 1));
    entry.resize(entry.size() + 8);
    CHECK(malformed(typed(1), 1));
}

TEST_CASE("arbitrary records under a right checksum stay inside the commit") {
    REQUIRE(rc::check([] {
        CommitBuilder builder;
        const int n = *rc::gen::inRange(1, 6);
        for (int i = 0; i < n; ++i) add(builder, any_record());
        const std::vector<std::byte> whole = copy_of(builder.finish(1, kSalt, 0));
        std::vector<std::byte> records(whole.begin() + sizeof(CommitHeader), whole.end());
        const int changes = *rc::gen::inRange(1, 8);
        for (int i = 0; i < changes; ++i)
            records[*rc::gen::inRange<std::size_t>(0, records.size())] = std::byte{*rc::gen::arbitrary<std::uint8_t>()};
        const std::vector<std::byte> commit = forge(records, builder.records());
        (void)for_each_record(commit, kCapacity, false, [&](const Record& r) {
            if (r.type != RecordType::put && r.type != RecordType::erase) {
                RC_ASSERT(r.extent.offset + r.extent.size <= kCapacity);
                return;
            }
            RC_ASSERT(r.encoded.data() >= commit.data());
            RC_ASSERT(r.encoded.data() + r.encoded.size() <= commit.data() + commit.size());
        });
    }));
}
