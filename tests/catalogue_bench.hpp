// A catalogue on media in memory, with just enough around it to put and erase, and a plain map to compare
// it with.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "catalogue/catalogue.hpp"
#include "format/type_codec.hpp"
#include "memory_media.hpp"
#include "sim/image_shelf.hpp"

namespace pymm::test {

using namespace pymm::format;

using Model = std::map<std::string, std::string>;

// What readers look at: a lease shared by a writer and readers in one process.
using SharedMarks = std::multimap<std::uint64_t, std::uint64_t>;  // offset -> size
struct TestLease final : Lease {
    explicit TestLease(SharedMarks& m) : marks(m) {}
    bool try_acquire_writer() override { return true; }
    void release_writer() noexcept override {}
    bool writer_alive() override { return true; }
    void mark_extent(std::uint64_t offset, std::uint64_t size) override { marks.emplace(offset, size); }
    void unmark_extent(std::uint64_t offset, std::uint64_t) noexcept override { marks.erase(marks.find(offset)); }
    bool extent_marked(std::uint64_t offset, std::uint64_t size) override {
        return std::any_of(marks.begin(), marks.end(), [&](const auto& m) {
            return m.first < offset + size && offset < m.first + m.second;
        });
    }
    void detach_in_child() noexcept override {}
    SharedMarks& marks;
};

// Just enough of a shelf: small values inline, others, below a page, in an extent with their header.
struct Bench {
    MemoryMedia map{"map", kMapSize};
    MemoryMedia data;
    std::unique_ptr<Catalogue> catalogue;
    CommitBuilder builder;
    std::set<std::string> in_commit;
    Lease* lease = nullptr;
    std::vector<Extent> waiting;  // given back, but a reader looks at it

    explicit Bench(std::uint64_t capacity = 32 << 20, std::uint64_t log = 4096) : data("data", capacity) {
        Catalogue::format(map, data, {{7, 7, 7}, 1, log});
        open();
    }
    void open() {
        catalogue.reset();
        waiting.clear();
        catalogue = std::make_unique<Catalogue>(map, data, nullptr);
    }
    // As a process that dies: nothing is said to the media.
    void crash() { open(); }
    void close() {
        catalogue->close_session();
        open();
    }
    void start() {
        catalogue->begin_session();
        give_back();
        builder.clear();
        in_commit.clear();
    }
    void free_old(const std::string& name, bool& existed) {
        EntryView old;
        existed = catalogue->find(name, old);
        if (existed && !old.inlined())
            builder.free({old.fixed.header_offset, old.fixed.header_size + old.fixed.extent});
    }
    // Each name once per commit; later ones of the same name belong to the planner above.
    bool put(const std::string& name, const std::string& value) {
        bool existed = false;
        if (!in_commit.insert(name).second) return false;
        free_old(name, existed);
        Entry e{};
        e.id = catalogue->take_id();
        e.sequence = catalogue->sequence() + 1;
        e.size = value.size();
        e.share_count = 1;
        const Type type = Type::value(Kind::bytes);
        std::vector<std::byte> encoded(encoded_type_size(type));
        encode_type(type, encoded.data());
        const Bytes bytes = std::as_bytes(std::span(value));
        if (value.size() <= kMaxInline) {
            e.flags = kEntryInline;
            builder.put(e, name, encoded, bytes, !existed);
            return true;
        }
        const std::size_t header = extent_header_size(name.size(), encoded.size());
        e.extent = round_up(value.size(), kLine);
        const auto at = catalogue->space().allocate(header + e.extent, kLine);
        if (!at) throw NoSpaceError("full");
        e.header_offset = *at;
        e.header_size = static_cast<std::uint32_t>(header);
        e.offset = *at + header;
        ExtentHeader h{};
        h.uuid = catalogue->root().uuid;
        h.own_offset = *at;
        h.offset = e.offset;
        h.extent = e.extent;
        h.size = e.size;
        h.id = e.id;
        std::vector<std::byte> raw;
        encode_extent_header(h, name, encoded, raw);
        data.write(*at, raw.data(), raw.size());
        data.write(e.offset, value.data(), value.size());
        builder.alloc({*at, header + e.extent});
        builder.put(e, name, encoded, {}, !existed);
        return true;
    }
    bool erase(const std::string& name) {
        if (!in_commit.insert(name).second) return false;
        bool existed = false;
        free_old(name, existed);
        if (existed) builder.erase(name);
        return existed;
    }
    // What the shelf does with what the catalogue gives back.
    void give_back() {
        for (const Extent& e : catalogue->take_freed()) waiting.push_back(e);
        std::erase_if(waiting, [&](const Extent& e) {
            if (lease != nullptr && lease->extent_marked(e.offset, e.size)) return false;
            catalogue->space().release(e.offset, e.size);
            return true;
        });
    }
    void commit() {
        catalogue->commit(builder, 1000);
        give_back();
        builder.clear();
        in_commit.clear();
        catalogue->fold_oversized_log();
        give_back();
    }
};

inline std::string value_of(const EntryView& e, const MemoryMedia& data) {
    if (e.inlined()) return {reinterpret_cast<const char*>(e.value.data()), e.value.size()};
    return {reinterpret_cast<const char*>(data.data() + e.fixed.offset), e.fixed.size};
}

inline void compare(const Catalogue& c, MemoryMedia& map, MemoryMedia& data, const Model& model) {
    REQUIRE(c.blobs() == model.size());
    auto it = model.begin();
    c.for_each("", [&](const EntryView& e) {
        REQUIRE(it != model.end());
        REQUIRE(e.name == it->first);
        REQUIRE(value_of(e, data) == it->second);
        ++it;
        return true;
    });
    REQUIRE(it == model.end());
    for (const auto& [name, value] : model) {
        EntryView e;
        REQUIRE(c.find(name, e));
        REQUIRE(value_of(e, data) == value);
        REQUIRE(!c.find(name + "?", e));
    }
    CHECK(sim::check_shelf(map, data) == "");
}

}  // namespace pymm::test
