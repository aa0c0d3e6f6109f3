#include "safetensors.hpp"

#include <algorithm>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <pymm/tree.hpp>
#include <pymm/tree_writer.hpp>

#include "failure.hpp"

namespace pymmctl {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t max_header = 100'000'000;  // as in the format's own library
constexpr std::size_t piece_size = 4u << 20;
constexpr std::uint64_t most = std::uint64_t{1} << 62;
constexpr std::string_view metadata_key = "__metadata__";
constexpr std::string_view object_name = "safetensors";

struct Elements {
    std::string_view name, dtype;
    std::uint32_t size;
};

constexpr Elements known[] = {
    {"BOOL", "|b1", 1},   {"U8", "|u1", 1},     {"I8", "|i1", 1},       {"U16", "<u2", 2},
    {"I16", "<i2", 2},    {"F16", "<f2", 2},    {"BF16", "bfloat16", 2}, {"U32", "<u4", 4},
    {"I32", "<i4", 4},    {"F32", "<f4", 4},    {"U64", "<u8", 8},      {"I64", "<i8", 8},
    {"F64", "<f8", 8},    {"C64", "<c8", 8},    {"F8_E4M3", "float8_e4m3fn", 1},
    {"F8_E5M2", "float8_e5m2", 1},              {"F8_E4M3FNUZ", "float8_e4m3fnuz", 1},
    {"F8_E5M2FNUZ", "float8_e5m2fnuz", 1},      {"F8_E8M0", "float8_e8m0fnu", 1},
};

/// Names in messages, whatever they are.
std::string shown(std::string_view name) {
    return Json(std::string(name.substr(0, 80))).dump(-1, ' ', true, Json::error_handler_t::replace);
}

[[noreturn]] void corrupt(const Input& input, const std::string& what) {
    throw Failure(Exit::corrupt, input.name() + ": is no sound safetensors file: " + what + ": get or write it again");
}

struct Entry {
    std::string name;
    pymm::Type type;
    std::uint64_t begin, end;
};

struct Header {
    std::vector<Entry> entries;
    std::vector<std::pair<std::string, std::string>> metadata;
};

/// Whether no object is deep and none has a name twice: the library would take the last one, others the first. Not by its
/// callback for parse(), which takes a time that grows with the square of the number of names.
class Checker final : public Json::json_sax_t {
public:
    std::string problem = "its header is no JSON";

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return start(); }
    bool end_object() override { return end(); }
    bool start_array(std::size_t) override { return start(); }
    bool end_array() override { return end(); }
    bool key(string_t& name) override {
        if (names_.back().insert(name).second) return true;
        problem = "a name occurs twice: " + shown(name);
        return false;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

private:
    bool start() {
        if (names_.size() >= 4) {
            problem = "its header is nested too deeply";
            return false;
        }
        names_.emplace_back();
        return true;
    }
    bool end() {
        names_.pop_back();
        return true;
    }

    std::vector<std::set<std::string>> names_;
};

Json parse(const Input& input, const std::string& text) {
    Checker checker;
    if (!Json::sax_parse(text, &checker)) corrupt(input, checker.problem);
    return Json::parse(text);
}

bool number(const Json& json, std::uint64_t& value) {
    if (!json.is_number_unsigned()) return false;
    value = json.get<std::uint64_t>();
    return value < most;
}

/// False where it is not described as tensors are.
bool describe(const Input& input, const Json& json, Entry& entry) {
    if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
        !json.contains("data_offsets"))
        return false;
    const Json &dtype = json["dtype"], &sizes = json["shape"], &offsets = json["data_offsets"];
    if (!dtype.is_string() || !sizes.is_array() || sizes.size() > pymm::Type::max_dimensions || !offsets.is_array() ||
        offsets.size() != 2 || !number(offsets[0], entry.begin) || !number(offsets[1], entry.end) ||
        entry.begin > entry.end)
        return false;
    std::vector<std::int64_t> shape;
    std::uint64_t stride = 16;  // more than any element has: what cannot be told of is not, be there no element
    for (const Json& each : sizes) {
        std::uint64_t size = 0;
        if (!number(each, size) || __builtin_mul_overflow(stride, std::max<std::uint64_t>(size, 1), &stride) || stride >= most)
            return false;
        shape.push_back(static_cast<std::int64_t>(size));
    }
    const auto& text = dtype.get_ref<const std::string&>();
    const auto found = std::find_if(std::begin(known), std::end(known), [&](const Elements& e) { return e.name == text; });
    if (found == std::end(known))
        throw Failure(Exit::version, fmt::format("{}: tensor {} has elements of type {}, which cannot be stored",
                                                 input.name(), shown(entry.name), shown(text)));
    try {
        entry.type = pymm::Type::array(std::string(found->dtype), found->size, std::move(shape));
        if (entry.type.nbytes() != entry.end - entry.begin) return false;
    } catch (const pymm::InvalidArgumentError&) {
        return false;  // the product overflows
    }
    entry.type.kind = pymm::Kind::tensor;
    return true;
}

Header read_header(Input& input) {
    std::uint64_t length = 0;
    if (input.read(std::as_writable_bytes(std::span(&length, 1))) != sizeof length) corrupt(input, "it ends at once");
    if (length > max_header) corrupt(input, fmt::format("a header of {} bytes; {} are the most", length, max_header));
    if (const auto left = input.remaining(); left && *left < length)
        corrupt(input, fmt::format("a header of {} bytes, and {} are left", length, *left));
    std::string text(static_cast<std::size_t>(length), '\0');
    if (input.read(std::as_writable_bytes(std::span(text))) != text.size()) corrupt(input, "it ends in its header");
    if (!text.starts_with('{')) corrupt(input, "its header is no JSON object");

    const Json json = parse(input, text);
    Header header;
    for (const auto& [name, value] : json.items()) {
        if (name == metadata_key) {
            if (!value.is_object()) corrupt(input, "its metadata are not texts by names");
            for (const auto& [key, each] : value.items()) {
                if (!each.is_string()) corrupt(input, "its metadata are not texts by names");
                header.metadata.emplace_back(key, each.get<std::string>());
            }
            continue;
        }
        Entry entry{name, {}, 0, 0};
        if (!describe(input, value, entry)) corrupt(input, "tensor " + shown(name) + " is not described as it should be");
        header.entries.push_back(std::move(entry));
    }
    return header;
}

/// Puts the entries in the order of the file, which has no gaps.
void sort(const Input& input, std::vector<Entry>& entries) {
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t at = 0;
    for (const Entry& entry : entries) {
        if (entry.begin != at)
            corrupt(input, fmt::format("tensor {} starts at {}, where the one before ends at {}", shown(entry.name),
                                       entry.begin, at));
        at = entry.end;
    }
    if (const auto left = input.remaining(); left && *left != at)
        corrupt(input, fmt::format("{} bytes of tensors, and {} are left", at, *left));
}

pymm::TreeSource source_of(const Header& header) {
    auto tensors = pymm::TreeSource::dict(), metadata = pymm::TreeSource::dict(), parts = pymm::TreeSource::dict();
    for (const Entry& entry : header.entries) tensors.add(entry.name, pymm::TreeSource::array(entry.type));
    for (const auto& [key, text] : header.metadata) metadata.add(key, pymm::TreeSource::text(text));
    parts.add("tensors", std::move(tensors));
    parts.add("metadata", std::move(metadata));
    return pymm::TreeSource::object(std::string(object_name), std::move(parts));
}

/// Writes a tree from front to back, in large pieces: on ordinary disks each is synced.
class Filler {
public:
    explicit Filler(pymm::Staged& staged) : staged_(staged), buffer_(new std::byte[piece_size]) {}

    void copy(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const std::size_t piece = std::min(bytes.size(), room().size());
            std::copy_n(bytes.begin(), piece, room().begin());
            took(piece);
            bytes = bytes.subspan(piece);
        }
    }
    /// Zeros up to there.
    void zeros(std::uint64_t to) {
        while (at_ + used_ < to) {
            const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(to - at_ - used_, room().size()));
            std::fill_n(room().begin(), piece, std::byte{0});
            took(piece);
        }
    }
    /// `size` bytes of the input; false when it ends before.
    bool read(Input& input, std::uint64_t size, Progress& progress) {
        while (size != 0) {
            const auto piece = static_cast<std::size_t>(std::min<std::uint64_t>(size, room().size()));
            const std::size_t got = input.read(room().first(piece));
            took(got);
            progress.advance(got);
            if (got < piece) return false;
            size -= got;
        }
        return true;
    }
    void flush() {
        if (used_ != 0) staged_.write(at_, {buffer_.get(), used_});
        at_ += used_;
        used_ = 0;
    }

private:
    std::span<std::byte> room() { return {buffer_.get() + used_, piece_size - used_}; }
    void took(std::size_t size) {
        used_ += size;
        if (used_ == piece_size) flush();
    }

    pymm::Staged& staged_;
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t used_ = 0;
    std::uint64_t at_ = 0;  // where the buffer goes
};

}  // namespace

void put_safetensors(pymm::Shelf& shelf, const std::string& name, Input& input, Progress& progress) {
    Header header = read_header(input);
    sort(input, header.entries);
    const pymm::TreeWriter tree(source_of(header));

    pymm::Staged staged = shelf.stage(pymm::Type::value(pymm::Kind::tree), tree.size());
    Filler filler(staged);
    filler.copy(tree.front());
    for (std::size_t i = 0; i < header.entries.size(); ++i) {
        const Entry& entry = header.entries[i];
        if (entry.begin == entry.end) continue;
        filler.zeros(tree.places()[i]);
        if (!filler.read(input, entry.end - entry.begin, progress)) corrupt(input, "it ends in tensor " + shown(entry.name));
    }
    filler.zeros(tree.size());
    filler.flush();
    if (!input.at_end()) corrupt(input, "it goes on after its tensors");
    shelf.put(name, std::move(staged));
}

namespace {

[[noreturn]] void unfit(const std::string& where, const std::string& what) {
    throw Failure(Exit::usage, where + ": " + what + ": a safetensors file holds a dict of tensors by names");
}

/// The dict of tensors that a tree is, or has in it, and what its file said of it.
pymm::TreeNode tensors_of(const pymm::TreeNode& root, const std::string& where, Json& metadata) {
    if (root.is_dict()) return root;
    if (root.kind() == pymm::TreeKind::tuple && root.size() == 1 && root.at(0).is_dict()) return root.at(0);  // a checkpoint
    if (!root.is_object()) unfit(where, "is no dict");
    const pymm::TreeNode name = root.at(0), parts = root.at(1);
    if (name.text() != object_name) unfit(where, "is a " + shown(name.text()));
    const auto tensors = parts.find("tensors"), said = parts.find("metadata");
    if (!tensors || !tensors->is_dict() || !said || !said->is_dict())
        throw pymm::CorruptError("tree: what came from a safetensors file has no tensors");
    for (std::uint64_t i = 0; i < said->size(); ++i) {
        const pymm::TreeNode key = said->key(i), value = said->at(i);
        if (key.kind() != pymm::TreeKind::string || value.kind() != pymm::TreeKind::string)
            throw pymm::CorruptError("tree: what a safetensors file said is no text");
        metadata[std::string(key.text())] = std::string(value.text());
    }
    return *tensors;
}

std::string_view name_of(const pymm::Type& type) {
    const std::string_view dtype = type.element();
    const auto found = std::find_if(std::begin(known), std::end(known), [&](const Elements& e) {
        return e.dtype == dtype && e.size == type.itemsize;
    });
    return found == std::end(known) ? std::string_view() : found->name;
}

}  // namespace

SafetensorsOutput::SafetensorsOutput(const pymm::View& view, const std::string& where) : view_(view) {
    if (view.type().kind != pymm::Kind::tree) unfit(where, "is no dict");
    view.check_readable();
    Json metadata = Json::object();
    std::uint64_t at = 0;
    std::set<std::string_view> names;
    struct Found {
        std::string name;
        Part part;
    };
    std::vector<Found> found;
    try {
        const pymm::Tree tree(view.bytes());
        const pymm::TreeNode tensors = tensors_of(tree.root(), where, metadata);
        for (std::uint64_t i = 0; i < tensors.size(); ++i) {
            const pymm::TreeNode key = tensors.key(i), value = tensors.at(i);
            if (key.kind() != pymm::TreeKind::string || key.text() == metadata_key) unfit(where, "has a name that is no text");
            if (!value.is_array()) unfit(where, shown(key.text()) + " is no tensor");
            if (name_of(value.type()).empty())
                unfit(where, shown(key.text()) + " has elements of type " + shown(value.type().element()));
            if (value.type().nbytes() != value.bytes().size()) throw pymm::CorruptError("tree: size and shape disagree");
            // Those of no bytes lie in the node.
            const auto bytes = value.size() == 0 ? std::span<const std::byte>() : value.bytes();
            found.push_back({std::string(key.text()), {value.type(), bytes}});
        }
        header_ = "{";
        if (!metadata.empty()) header_ += fmt::format("{}:{}", Json(metadata_key).dump(), metadata.dump());
        // Those of larger elements first, so that all are aligned.
        std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
            return a.part.type.itemsize > b.part.type.itemsize;
        });
        for (Found& each : found) {
            const std::uint64_t end = at + each.part.bytes.size();
            if (!names.insert(each.name).second) throw pymm::CorruptError("tree: a key occurs twice");
            header_ += fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                                   header_.size() == 1 ? "" : ",", Json(each.name).dump(), name_of(each.part.type),
                                   fmt::join(each.part.type.shape, ","), at, end);
            at = end;
            parts_.push_back(std::move(each.part));
        }
        header_ += '}';
    } catch (const pymm::CorruptError& error) {
        throw Failure(Exit::corrupt, where + ": " + error.what());
    } catch (const Json::exception&) {  // of dump()
        unfit(where, "has a name that is not UTF-8");
    }
    header_.append((8 - header_.size() % 8) % 8, ' ');
    if (header_.size() > max_header) unfit(where, "has too many tensors");
    size_ = 8 + header_.size() + at;
}

namespace {

/// The elements in C's order, of a tensor that has them in another one.
void write_strided(const pymm::Type& type, std::span<const std::byte> bytes, OutputFile& file, Progress& progress) {
    std::vector<std::byte> buffer;
    buffer.reserve(piece_size);
    const auto flush = [&] {
        file.write(buffer, progress.callback());
        buffer.clear();
    };
    std::vector<std::int64_t> index(type.shape.size());
    for (std::uint64_t left = bytes.size() / type.itemsize; left != 0; --left) {
        std::int64_t at = 0;
        for (std::size_t d = 0; d < index.size(); ++d) at += index[d] * type.strides[d];
        const auto element = bytes.subspan(static_cast<std::size_t>(at), type.itemsize);
        if (buffer.size() + element.size() > piece_size) flush();
        buffer.insert(buffer.end(), element.begin(), element.end());
        for (std::size_t d = index.size(); d-- > 0;) {
            if (++index[d] < type.shape[d]) break;
            index[d] = 0;
        }
    }
    flush();
}

}  // namespace

void SafetensorsOutput::write(OutputFile& file, Progress& progress) const {
    const std::uint64_t length = header_.size();
    file.write(std::as_bytes(std::span(&length, 1)), progress.callback());
    file.write(std::as_bytes(std::span(header_)), progress.callback());
    for (const Part& part : parts_) {
        if (part.bytes.empty()) continue;
        if (!part.type.c_contiguous()) {
            write_strided(part.type, part.bytes, file, progress);
            continue;
        }
        for (std::size_t at = 0; at < part.bytes.size(); at += piece_size) {
            const auto piece = part.bytes.subspan(at, std::min(piece_size, part.bytes.size() - at));
            view_.check_readable(static_cast<std::uint64_t>(piece.data() - view_.bytes().data()), piece.size());
            file.write(piece, progress.callback());
        }
    }
}

}  // namespace pymmctl
