// Catalogue entries and extent headers: to bytes and back, and what hostile bytes may claim.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstring>

#include "format/entry.hpp"
#include "format/type_codec.hpp"

using namespace pymm;
using namespace pymm::format;

namespace {

constexpr std::uint64_t kCapacity = 8 << 20;

std::vector<std::byte> some_bytes(std::size_t size, unsigned seed = 1) {
    std::vector<std::byte> bytes(size);
    for (auto& b : bytes) b = static_cast<std::byte>((seed = seed * 1664525 + 1013904223) >> 24);
    return bytes;
}

Entry in_extent() {
    Entry e{};
    e.id = 7;
    e.offset = 8192;
    e.extent = 8192;
    e.size = 5000;
    e.header_offset = 4096;
    e.header_size = 128;
    e.share_count = 1;
    return e;
}

std::vector<std::byte> encode(const Entry& e, std::string_view name, Bytes type, Bytes value) {
    std::vector<std::byte> out(encoded_entry_size(name.size(), type.size(), value.size()), std::byte{0xee});
    encode_entry(e, name, type, value, out.data());
    return out;
}

const char* problem_of(Entry e, std::uint64_t capacity = kCapacity) {
    EntryView view;
    view.fixed = e;
    view.name = "x";
    return entry_problem(view, capacity);
}

}  // namespace

TEST_CASE("an entry survives encoding; its padding is zero; what is cut short is refused") {
    REQUIRE(rc::check([] {
        Entry fixed{};
        auto* raw = reinterpret_cast<std::uint8_t*>(&fixed);
        for (std::size_t i = 0; i < sizeof fixed; ++i) raw[i] = *rc::gen::arbitrary<std::uint8_t>();
        fixed.flags &= kEntryFlagsKnown;
        const std::string name(*rc::gen::element<std::size_t>(1, 2, 7, 8, 9, 200, 1023, 1024), 'n');
        const auto type = some_bytes(*rc::gen::element<std::size_t>(0, 1, 8, 27, 511, 512));
        const auto value = some_bytes(*rc::gen::element<std::size_t>(0, 1, 255, 256));
        const std::vector<std::byte> bytes = encode(fixed, name, type, value);
        RC_ASSERT(bytes.size() % 8 == 0u);
        const std::size_t net = sizeof(Entry) + name.size() + type.size() + value.size();
        for (std::size_t i = net; i < bytes.size(); ++i) RC_ASSERT(bytes[i] == std::byte{0});

        EntryView view;
        std::size_t used = 0;
        RC_ASSERT(decode_entry(bytes, view, used) == nullptr);
        RC_ASSERT(used == bytes.size());
        RC_ASSERT(view.name == name);
        RC_ASSERT(std::ranges::equal(view.type, type));
        RC_ASSERT(std::ranges::equal(view.value, value));
        fixed.name_size = static_cast<std::uint16_t>(name.size());
        fixed.type_size = static_cast<std::uint16_t>(type.size());
        fixed.inline_size = static_cast<std::uint32_t>(value.size());
        RC_ASSERT(std::memcmp(&view.fixed, &fixed, sizeof fixed) == 0);
        const auto cut = *rc::gen::inRange<std::size_t>(0, bytes.size());
        // A copy of that size, so that reading past it is seen by the sanitizer.
        const std::vector<std::byte> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
        RC_ASSERT(decode_entry(part, view, used) != nullptr);
    }));
}

TEST_CASE("lengths, flags and names that no entry has") {
    EntryView view;
    std::size_t used = 0;
    const auto decodes = [&](const std::vector<std::byte>& bytes) {
        return decode_entry(bytes, view, used) == nullptr;
    };
    const auto type = some_bytes(512), value = some_bytes(256);
    CHECK(decodes(encode({}, "x", type, value)));
    CHECK(!decodes(encode({}, "x", some_bytes(513), value)));
    CHECK(!decodes(encode({}, "x", type, some_bytes(257))));
    // Names are looked at apart from what reading safely needs.
    for (const std::string& name : {std::string(1024, 'x'), std::string("a/b"), std::string("\xc3\xa4")}) {
        const auto bytes = encode(in_extent(), name, type, {});
        REQUIRE(decodes(bytes));
        CHECK(entry_problem(view, kCapacity) == nullptr);
    }
    for (const std::string& name : {std::string(1025, 'x'), std::string(), std::string("a//b"), std::string("\xff")}) {
        const auto bytes = encode(in_extent(), name, type, {});
        CHECK((!decodes(bytes) || entry_problem(view, kCapacity) != nullptr));
    }
    Entry flags{};
    flags.flags = kEntryFlagsKnown;
    CHECK(decodes(encode(flags, "x", {}, {})));
    for (unsigned bit = 5; bit < 32; ++bit) {
        flags.flags = 1u << bit;
        CHECK(!decodes(encode(flags, "x", {}, {})));
    }
    // Lengths that reach past the bytes.
    std::vector<std::byte> bytes = encode({}, "x", {}, {});
    const std::uint16_t name_size = 0xffff;
    std::memcpy(bytes.data() + offsetof(Entry, name_size), &name_size, 2);
    CHECK(!decodes(bytes));
    bytes = encode({}, "x", {}, {});
    const std::uint32_t inline_size = 0xffffffff;
    std::memcpy(bytes.data() + offsetof(Entry, inline_size), &inline_size, 4);
    CHECK(!decodes(bytes));
}

TEST_CASE("arbitrary bytes are refused or stay inside themselves") {
    REQUIRE(rc::check([](const std::vector<std::uint8_t>& tail) {
        std::vector<std::byte> bytes(sizeof(Entry) + tail.size());
        for (std::size_t i = 0; i < tail.size(); ++i) bytes[sizeof(Entry) + i] = std::byte{tail[i]};
        const auto small = rc::gen::inRange<std::uint16_t>(0, 40);
        const std::uint16_t name = *small, type = *small, value = *small;
        std::memcpy(bytes.data() + offsetof(Entry, name_size), &name, 2);
        std::memcpy(bytes.data() + offsetof(Entry, type_size), &type, 2);
        std::memcpy(bytes.data() + offsetof(Entry, inline_size), &value, 2);
        EntryView view;
        std::size_t used = 0;
        if (decode_entry(bytes, view, used) != nullptr) return;
        RC_ASSERT(used <= bytes.size());
        RC_ASSERT(view.value.data() + view.value.size() <= bytes.data() + bytes.size());
    }));
}

TEST_CASE("extents that no shelf of this capacity has") {
    CHECK(problem_of(in_extent()) == nullptr);
    using Change = void (*)(Entry&);
    const Change changes[] = {
        [](Entry& e) { e.offset = 0; },
        [](Entry& e) { e.offset = 4095; },
        [](Entry& e) { e.offset = 8192 + 64; },  // 5,000 bytes own their pages
        [](Entry& e) { e.offset = kCapacity; },
        [](Entry& e) { e.offset = ~std::uint64_t{4095}; },
        [](Entry& e) { e.extent = 8192 + 1; },
        [](Entry& e) { e.extent = ~std::uint64_t{63}; },
        [](Entry& e) { e.extent = 4096; },
        [](Entry& e) { e.size = 8193; },
        [](Entry& e) { e.size = ~std::uint64_t{0}; },
        [](Entry& e) { e.header_offset = 0; },
        [](Entry& e) { e.header_offset = 4100; },
        [](Entry& e) { e.header_offset = kCapacity - 64; },
        [](Entry& e) { e.header_size = 64; },
        [](Entry& e) { e.header_size = 0; },
        [](Entry& e) { e.header_size = 0xffffffc0; },
        [](Entry& e) { e.inline_size = 1; },
        [](Entry& e) { e.flags = kEntryInline; },
    };
    for (std::size_t i = 0; i < std::size(changes); ++i) {
        Entry e = in_extent();
        changes[i](e);
        CAPTURE(i);
        CHECK(problem_of(e) != nullptr);
    }
    Entry last = in_extent();  // ends with the shelf
    last.offset = kCapacity - last.extent;
    CHECK(problem_of(last) == nullptr);
    CHECK(problem_of(last, kCapacity - 4096) != nullptr);
    Entry small = in_extent();  // below a page any line will do
    small.offset = 4096 + 128;
    small.extent = small.size = 64;
    CHECK(problem_of(small) == nullptr);
    Entry value{};
    value.flags = kEntryInline;
    value.size = value.inline_size = 9;
    CHECK(problem_of(value) == nullptr);
    value.size = 10;
    CHECK(problem_of(value) != nullptr);
    Entry gone{};
    gone.flags = kEntryTombstone;
    CHECK(problem_of(gone) == nullptr);
}

TEST_CASE("an extent header is believed only whole, at its place, in its shelf; `update` may change") {
    ExtentHeader h{};
    h.uuid = {9, 8, 7};
    h.own_offset = 4096;
    h.offset = 8192;
    h.extent = 4096;
    h.size = 4000;
    h.id = 3;
    const auto type = some_bytes(30);
    std::vector<std::byte> bytes;
    encode_extent_header(h, "model/w", type, bytes);
    REQUIRE(bytes.size() == extent_header_size(7, 30));
    REQUIRE(bytes.size() % kLine == 0);
    ExtentHeaderView view;
    REQUIRE(decode_extent_header(bytes, 4096, h.uuid, view) == nullptr);
    CHECK(view.name == "model/w");
    CHECK(std::ranges::equal(view.type, type));
    CHECK(view.fixed.magic == kExtentMagic);
    CHECK(view.fixed.id == 3);
    CHECK(decode_extent_header(bytes, 4160, h.uuid, view) != nullptr);
    CHECK(decode_extent_header(bytes, 4096, Uuid{9, 8, 6}, view) != nullptr);

    const std::size_t net = sizeof h + 7 + 30;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        std::vector<std::byte> changed = bytes;
        changed[i] ^= static_cast<std::byte>(1u << (i % 8));
        const bool free = i >= net || (i >= offsetof(ExtentHeader, update) && i < offsetof(ExtentHeader, mode));
        if ((decode_extent_header(changed, 4096, h.uuid, view) == nullptr) != free) FAIL("byte " << i);
    }
    for (std::size_t n = 0; n < net; ++n) {
        const std::vector<std::byte> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
        if (decode_extent_header(part, 4096, h.uuid, view) == nullptr) FAIL("accepted " << n << " bytes");
    }
    // Appends: what stands before it stays.
    std::vector<std::byte> more(64, std::byte{1});
    encode_extent_header(h, "model/w", type, more);
    CHECK(more.size() == 64 + bytes.size());
    CHECK(std::equal(bytes.begin(), bytes.end(), more.begin() + 64));
}

TEST_CASE("lengths at the lines' borders") {
    CHECK(extent_header_size(1, 8) == 128);
    CHECK(extent_header_size(16, 8) == 128);
    CHECK(extent_header_size(17, 8) == 192);
    CHECK(extent_header_size(1024, 65536) == round_up(104 + 1024 + 65536, 64));
    std::vector<std::byte> bytes;
    const std::vector<std::byte> type = some_bytes(kMaxType);
    ExtentHeader h{};
    encode_extent_header(h, std::string(1024, 'x'), type, bytes);
    ExtentHeaderView view;
    CHECK(decode_extent_header(bytes, 0, h.uuid, view) == nullptr);
}

TEST_CASE("what the catalogue says of a blob") {
    const Type type = Type::array("<f8", 8, {500});
    std::vector<std::byte> encoded_type(encoded_type_size(type));
    encode_type(type, encoded_type.data());
    EntryView view;
    view.fixed = in_extent();
    view.fixed.size = 4000;
    view.fixed.sequence = 12;
    view.fixed.mode = 0640;
    view.fixed.created_ns = 1'500'000'000'000'000'000;
    view.name = "w";
    view.type = encoded_type;
    const BlobInfo info = blob_info(view, {}, {});
    CHECK(info.name == "w");
    CHECK(info.id == 7);
    CHECK(info.type == type);
    CHECK(info.size == 4000);
    CHECK(info.offset == 8192);
    CHECK(info.extent == 8192);
    CHECK(info.sequence == 12);
    CHECK(info.mode == 0640);
    CHECK(!info.inlined);
    CHECK(info.created.time_since_epoch() == std::chrono::nanoseconds(1'500'000'000'000'000'000));

    view.fixed.size = 4008;  // no longer what the type says
    CHECK_THROWS_AS(blob_info(view, {}, {}), CorruptError);
    view.fixed.size = 4000;
    view.type = Bytes(encoded_type).first(10);
    CHECK_THROWS_AS(blob_info(view, {}, {}), CorruptError);

    // A long descriptor lies in the extent header; without it nothing is said.
    view.type = {};
    view.fixed.flags = kEntryTypeInHeader;
    CHECK_THROWS_AS(blob_info(view, {}, {}), CorruptError);
    ExtentHeader h{};
    h.own_offset = view.fixed.header_offset;
    std::vector<std::byte> header;
    encode_extent_header(h, "born as", encoded_type, header);
    CHECK(blob_info(view, header, {}).type == type);
    CHECK_THROWS_AS(blob_info(view, Bytes(header).first(128), {}), CorruptError);
    header[120] ^= std::byte{1};
    CHECK_THROWS_AS(blob_info(view, header, {}), CorruptError);
}
