#include "specimen/specimen.hpp"

#include <functional>
#include <stdexcept>

#include <pymm/transaction.hpp>

#include "format/layout.hpp"
#include "list_maker.hpp"
#include "sim/image_shelf.hpp"
#include "sim/ram_media.hpp"
#include "sim/sim_lease.hpp"
#include "tree_maker.hpp"

namespace pymm::test {

using sim::State;
using sim::Value;

namespace {

constexpr std::uint64_t kCapacity = 512 << 10, kSmallCapacity = 256 << 10;

/// Tells when a superblock was written.
class WatchedMap final : public Media {
public:
    WatchedMap(std::span<std::byte> bytes, const std::function<void(std::uint64_t)>& written)
        : Media("map", Granularity::cache_line, true), inner_("map", bytes), written_(written) {
        data_ = inner_.data();
        size_ = inner_.size();
    }
    void reserve(std::uint64_t, std::uint64_t) override {}
    void write(std::uint64_t offset, const void* source, std::size_t size) override {
        inner_.write(offset, source, size);
        if (written_) written_(offset);
    }
    void fill_zero(std::uint64_t offset, std::uint64_t size) override { inner_.fill_zero(offset, size); }
    void flush(std::uint64_t, std::uint64_t) override {}
    void drain() override {}

private:
    sim::RamMedia inner_;
    const std::function<void(std::uint64_t)>& written_;
};

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

/// A shelf in memory beside its model.
class Builder {
public:
    explicit Builder(std::uint64_t capacity = kCapacity, bool checksum = false)
        : image_{PageBytes(format::kMapSize), PageBytes(capacity)} {
        format::Uuid uuid{};
        for (std::size_t i = 0; i < uuid.size(); ++i) uuid[i] = static_cast<std::uint8_t>(0x50 + i);
        uuid[6] = 0x4f, uuid[8] = 0x8f;
        sim::RamMedia map("map", image_.map), data("data", image_.data);
        sim::format_image(map, data, uuid, format::kPage, checksum);
    }
    ~Builder() { shelf_ = Shelf(); }

    void open() {
        shelf_ = sim::open_shelf(std::make_unique<WatchedMap>(image_.map, superblock_written),
                                 std::make_unique<sim::RamMedia>("data", image_.data), locks_, Mode::read_write);
    }
    void close() {
        shelf_.close();
        shelf_ = Shelf();
    }
    void put(const std::string& name, Value value) {
        before_ = state;
        shelf_.put(name, value.bytes, value.type);
        state[name] = std::move(value);
    }
    void put(const std::string& name, std::uint64_t size) { put(name, sim::make_value(size, ++seed_)); }
    void put(const std::string& name, Kind kind, std::vector<std::byte> bytes) {
        put(name, {Type::value(kind), std::move(bytes), {}});
    }
    void erase(const std::string& name) {
        before_ = state;
        shelf_.erase(name);
        state.erase(name);
    }
    void rename(const std::string& from, const std::string& to) {
        before_ = state;
        shelf_.rename(from, to, true);
        state[to] = state.at(from);
        state.erase(from);
    }
    void seal(const std::string& name) {
        before_ = state;
        shelf_.seal(name);
        state.at(name).sealed = true;
    }
    /// Gives up a recorded checksum, by a commit; the data stays as it is.
    void touch(const std::string& name) {
        before_ = state;
        (void)shelf_.get(name, Access::write);
    }
    /// A put in a new page extent, an erase and a rename, in one commit.
    void batch(const std::string& put, const std::string& erase, const std::string& from, const std::string& to) {
        before_ = state;
        Value value = sim::make_value(4500, ++seed_);
        Batch b = shelf_.batch();
        b.put(put, value.bytes, value.type);
        b.erase(erase);
        b.rename(from, to);
        b.commit();
        state[put] = std::move(value);
        state.erase(erase);
        state[to] = state.at(from);
        state.erase(from);
    }
    void staged(const std::string& name, std::uint64_t size) {
        before_ = state;
        Value value = sim::make_value(size, ++seed_);
        Staged s = shelf_.stage(value.type, size);
        const auto memory = s.memory();
        std::copy(value.bytes.begin(), value.bytes.end(), memory.begin());
        shelf_.put(name, std::move(s));
        state[name] = std::move(value);
    }

    /// So many bytes, whole rows of an array.
    void append(const std::string& name, const std::vector<std::byte>& bytes) {
        before_ = state;
        shelf_.append(name, bytes);
        Value& value = state.at(name);
        value.bytes.insert(value.bytes.end(), bytes.begin(), bytes.end());
        if (is_array(value.type.kind)) value.type.shape[0] = static_cast<std::int64_t>(value.bytes.size()) / value.type.strides[0];
    }

    /// For what the model is not to know.
    Shelf& shelf() { return shelf_; }
    ShelfInfo stat() const { return shelf_.stat(); }
    Specimen specimen(std::string name, bool unclean) const {
        return {std::move(name), image_, state, unclean ? std::optional(before_) : std::nullopt};
    }

    State state;
    std::function<void(std::uint64_t)> superblock_written;

private:
    ShelfImage image_;
    sim::SimLocks locks_;
    Shelf shelf_;
    State before_;
    std::uint64_t seed_ = 0;
};

/// One value of each kind and each way of storing.
void values(Builder& b, const std::string& in) {
    const std::string p = in.empty() ? in : in + "/";
    b.put(p + "integer", Kind::integer, bytes_of("\x2a"));
    b.put(p + "real", Kind::real, bytes_of("12345678"));
    b.put(p + "complex", Kind::complex, bytes_of("1234567812345678"));
    b.put(p + "boolean", Kind::boolean, bytes_of("\x01"));
    b.put(p + "none", Kind::none, {});
    b.put(p + "string", Kind::string, bytes_of("gr\xc3\xbc\xc3\x9f dich"));
    b.put(p + "bytes", Kind::bytes, std::vector<std::byte>(256, std::byte{0x5a}));
    b.put(p + "magic", Kind::bytes, bytes_of("PMCT imitates a commit"));  // an extent, not inline
    b.put(p + "long", Kind::string, std::vector<std::byte>(257, std::byte{'x'}));
    Type scalar = Type::array("<f4", 4, {});
    scalar.kind = Kind::scalar;
    b.put(p + "scalar", Value{scalar, bytes_of("abcd"), {}});
    b.put(p + "empty", Value{Type::array("<f8", 8, {0, 3}), {}, {}});
    b.put(p + "small", Value{Type::array("<f8", 8, {5, 4}, true), sim::make_bytes(160, 7), {}});
    b.put(p + "raw", Value{Type::raw(), sim::make_bytes(100, 8), {}});
    b.put(p + "pages", Value{Type::array("<i4", 4, {1025}), sim::make_bytes(4100, 9), {}});
    // A descriptor that stands in the extent header only, with data and without.
    const std::string descr = "[('" + std::string(600, 'f') + "', '<u2')]";
    b.put(p + "header-type", Value{Type::array(descr, 2, {30}), sim::make_bytes(60, 10), {}});
    b.put(p + "header-empty", Value{Type::array(descr, 2, {0}), {}, {}});
}

/// What Python's pymm.pickled() makes: a tuple of the pickle and its buffers, of which there is one.
std::vector<std::byte> pickled() {
    TreeMaker m;
    const std::uint64_t at = m.container(kTreeRoot, format::kTreeTuple, 2);
    const std::uint64_t buffers = m.container(at + 16, format::kTreeList, 1);
    const std::vector<std::byte> pickle = bytes_of("\x80\x05]\x94."), buffer = sim::make_bytes(300, 16);
    m.rest.resize(64);
    std::copy(pickle.begin(), pickle.end(), m.rest.begin());
    m.rest.insert(m.rest.end(), buffer.begin(), buffer.end());
    // Both are described behind this, each in 16 bytes and a descriptor; then comes one checksum.
    const Type types[] = {Type::array("|u1", 1, {static_cast<std::int64_t>(pickle.size())}), Type::array("|u1", 1, {300})};
    std::uint64_t end = format::round_up(m.meta.size(), 8);
    for (const Type& type : types) end += format::round_up(16 + format::encoded_type_size(type), 8);
    const std::uint64_t rest = format::round_up(end + 4, format::kTreeAlign);
    m.array(at, types[0], rest, pickle.size());
    m.array(buffers, types[1], rest + 64, buffer.size());
    return m.finish();
}

/// Enough to fill logs with: runs of several levels, names long enough for index pages, tombstones.
void history(Builder& b) {
    values(b, "");
    for (int i = 0; i < 4; ++i) b.put(std::string(1000, static_cast<char>('p' + i)) + std::to_string(i), 20);
    b.put(std::string(1024, 'z'), 8);
    for (int round = 0; round < 4; ++round)
        for (int i = 0; i < 9; ++i) b.put("often/" + std::to_string(i), 240);
    b.put("gone", 700);
    b.put("gone-inline", 30);
    for (int round = 0; round < 2; ++round)
        for (int i = 0; i < 9; ++i) b.put("often/" + std::to_string(i), 240);
    b.erase("gone");
    b.erase("gone-inline");
    b.erase("often/8");
    b.rename("long", "renamed");
    for (int i = 0; i < 9; ++i) b.put("later/" + std::to_string(i), 200);
}

}  // namespace

Specimen fresh_specimen() {
    Builder b;
    return b.specimen("fresh", false);
}

Specimen clean_specimen() {
    Builder b;
    b.open();
    history(b);
    b.close();
    b.open();  // a second session, and a run of its own
    b.put("second", 1000);
    b.staged("staged", 5000);
    b.batch("batched", "later/0", "later/1", "moved");
    b.close();
    return b.specimen("clean", false);
}

Specimen open_specimen() {
    Builder b;
    b.open();
    history(b);
    b.close();
    b.open();
    // All of this stays in the log: one checkpoint, of the session's beginning, and no other.
    b.put("integer", Kind::integer, bytes_of("\x2b\x2c"));
    b.put("new", 40);
    b.put("small", 900);
    b.put("pages", 4200);
    b.erase("raw");
    b.rename("renamed", "again/renamed");
    b.batch("batched", "later/0", "later/1", "moved");
    b.put("header-type", Value{Type::array("[('" + std::string(550, 'g') + "', '<u2')]", 2, {30}), sim::make_bytes(60, 11), {}});
    b.seal("complex");
    b.seal("batched");
    b.put("last", 60);
    if (b.stat().log_bytes == 0) throw std::logic_error("specimen: the log is empty");
    return b.specimen("open", true);
}

Specimen switched_specimen() {
    Builder b;
    b.open();
    history(b);
    std::optional<Specimen> found;
    b.superblock_written = [&](std::uint64_t) {
        if (!found) found = b.specimen("switched", true);
    };
    for (int i = 0; i < 100 && !found; ++i) b.put("often/" + std::to_string(i % 8), 230);
    if (!found) throw std::logic_error("specimen: no checkpoint came");
    b.superblock_written = nullptr;
    found->before_last.reset();
    return std::move(*found);
}

Specimen small_specimen() {
    Builder b(kSmallCapacity);
    b.open();
    values(b, "");
    b.close();
    b.open();
    b.rename("raw", "renamed");
    b.erase("long");
    b.batch("batched", "small", "scalar", "moved");
    return b.specimen("small", true);
}

Specimen checksum_specimen() {
    Builder b(kSmallCapacity, true);
    b.open();
    values(b, "in");
    b.seal("in/pages");
    b.seal("in/string");
    b.seal("in/header-type");
    b.close();
    b.open();
    b.touch("in/small");
    b.seal("in/raw");
    b.rename("in/pages", "sealed/pages");
    return b.specimen("checksum", true);
}

Specimen container_specimen() {
    Builder b(kSmallCapacity);
    b.open();
    b.put("real", Kind::real, bytes_of("12345678"));
    b.put("tree", Kind::tree, sample_tree());
    TreeMaker object;
    const std::uint64_t parts = object.container(kTreeRoot, format::kTreeObject, 2);
    object.text(parts, "a.Package");
    object.dict(parts + 16, {"first", "a longer one"});
    b.put("object", Kind::tree, object.finish());
    b.put("pickled", Kind::pickled, pickled());
    ListMaker list;
    const std::vector<std::byte> first = list.list(sample_elements(list, 20));
    b.put("list", Kind::linked_list, first);
    b.put("rows", Value{Type::array("<f8 grows<=400", 8, {3, 2}), sim::make_bytes(48, 12), {}});
    b.put("grows", Value{Type::array("<i2 grows", 2, {0}), {}, {}});
    b.close();
    b.open();
    const std::vector<std::byte> both = list.list(sample_elements(list, 70));
    b.append("list", {both.begin() + static_cast<std::ptrdiff_t>(first.size()), both.end()});
    b.append("rows", sim::make_bytes(1600, 13));
    b.append("grows", sim::make_bytes(200, 14));
    return b.specimen("containers", true);
}

Specimen transaction_specimen() {
    Builder b(kSmallCapacity);
    b.open();
    values(b, "in");
    b.put("real", Kind::real, bytes_of("12345678"));
    b.close();
    b.open();
    // Rolled back at the end of this, but not in the copy.
    Transaction tx = b.shelf().transaction();
    const auto store = [](View& view, std::size_t at, std::size_t size) {
        const auto bytes = view.writable_bytes();
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), size, std::byte{0xee});
    };
    View pages = b.shelf().get("in/pages", Access::write), small = b.shelf().get("in/small", Access::write);
    View raw = b.shelf().get("in/raw", Access::write);
    tx.add(pages, 10, 100);
    store(pages, 10, 100);
    tx.add(small, 0, 8);
    tx.add_views();
    store(pages, 0, 4100);
    store(small, 0, 160);
    store(raw, 50, 50);
    b.shelf().put("in/unnamed", sim::make_bytes(3000, 15));
    b.shelf().erase("in/string");
    return b.specimen("transaction", false);
}

std::vector<Specimen> all_specimens() {
    std::vector<Specimen> all;
    all.push_back(fresh_specimen());
    all.push_back(clean_specimen());
    all.push_back(open_specimen());
    all.push_back(switched_specimen());
    all.push_back(small_specimen());
    all.push_back(checksum_specimen());
    return all;
}

std::vector<Specimen> corpus_specimens() {
    std::vector<Specimen> all;
    all.push_back(fresh_specimen());
    all.push_back(small_specimen());
    all.push_back(checksum_specimen());
    all.push_back(open_specimen());
    all.push_back(container_specimen());
    all.push_back(transaction_specimen());
    return all;
}

}  // namespace pymm::test
