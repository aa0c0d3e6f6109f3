// docs/FORMAT.md, "Trees".
#include <pymm/tree_writer.hpp>

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include <pymm/tree.hpp>

#include "format/entry.hpp"
#include "format/layout.hpp"
#include "format/type_codec.hpp"

namespace pymm {

using namespace format;

namespace {

// Beyond what the catalogue keeps in itself, where nothing is aligned.
constexpr std::uint64_t kOutside = kMaxInline + 1;

}  // namespace

TreeSource TreeSource::text(std::string text) {
    TreeSource source(Is::text);
    source.text_ = std::move(text);
    return source;
}

TreeSource TreeSource::array(Type type) {
    if (!is_array(type.kind)) throw InvalidArgumentError("tree: an array or tensor was expected");
    if (const char* problem = type_problem(type, type.nbytes()))
        throw InvalidArgumentError(fmt::format("tree: an array: {}", problem));
    TreeSource source(Is::array);
    source.type_ = std::move(type);
    return source;
}

TreeSource TreeSource::dict() { return TreeSource(Is::dict); }

TreeSource TreeSource::object(std::string name, TreeSource parts) {
    if (parts.is_ != Is::dict) throw InvalidArgumentError("tree: the parts of an object are a dict");
    TreeSource source(Is::object);
    source.text_ = std::move(name);
    source.items_.emplace_back(std::string(), std::move(parts));
    return source;
}

void TreeSource::add(std::string key, TreeSource value) {
    if (is_ != Is::dict) throw InvalidArgumentError("tree: items can be added to a dict");
    items_.emplace_back(std::move(key), std::move(value));
}

TreeWriter::TreeWriter(const TreeSource& root) {
    if (root.is_ != TreeSource::Is::dict && root.is_ != TreeSource::Is::object)
        throw InvalidArgumentError("tree: its root is a container");
    front_.resize(sizeof(TreeHeader));
    put(offsetof(TreeHeader, root), root, 0);
    reserve(0);

    const std::uint64_t meta = front_.size();
    const std::uint64_t table = meta + 4 * (round_up(meta, kTreeBlock) / kTreeBlock);
    const std::uint64_t base = round_up(table, kTreeAlign);
    size_ = rest_ == 0 ? table : std::max(base + rest_, kOutside);
    for (std::size_t i = 0; i < places_.size(); ++i) {
        TreeArray array;
        std::memcpy(&array, front_.data() + descriptions_[i], sizeof array);
        places_[i] += base;
        // Of an empty one the offset means nothing.
        array.offset = array.size == 0 ? 0 : places_[i];
        std::memcpy(front_.data() + descriptions_[i], &array, sizeof array);
    }

    TreeHeader header{};
    std::memcpy(&header.root, front_.data() + offsetof(TreeHeader, root), sizeof header.root);
    header.magic = kTreeMagic;
    header.version = kTreeVersion;
    header.size = size_;
    header.meta = meta;
    header.crc = tree_checksum(std::as_bytes(std::span(&header, 1)));
    std::memcpy(front_.data(), &header, sizeof header);
    front_.resize(table);
    for (std::uint64_t at = 0; at < meta; at += kTreeBlock) {
        const auto block = std::span(front_).subspan(at, std::min<std::uint64_t>(kTreeBlock, meta - at));
        const std::uint32_t crc = tree_checksum(block);
        std::memcpy(front_.data() + meta + at / kTreeBlock * 4, &crc, sizeof crc);
    }
}

/// Zeroed metadata on a multiple of 8.
std::uint64_t TreeWriter::reserve(std::size_t size) {
    const std::uint64_t at = round_up(front_.size(), 8);
    front_.resize(at + size);
    return at;
}

void TreeWriter::slot(std::uint64_t at, unsigned tag, std::uint64_t size, std::uint64_t value) {
    if (size >> 56 != 0) throw InvalidArgumentError("tree: too large");
    const std::uint64_t head = size << 8 | tag;
    std::memcpy(front_.data() + at, &head, sizeof head);
    std::memcpy(front_.data() + at + sizeof head, &value, sizeof value);
}

void TreeWriter::text(std::uint64_t at, const std::string& text) {
    std::uint64_t value = front_.size();
    if (text.size() <= sizeof value) {
        value = 0;
        std::memcpy(&value, text.data(), text.size());
    } else {
        const auto bytes = std::as_bytes(std::span(text));
        front_.insert(front_.end(), bytes.begin(), bytes.end());
    }
    slot(at, static_cast<unsigned>(Kind::string), text.size(), value);
}

void TreeWriter::put(std::uint64_t at, const TreeSource& source, unsigned depth) {
    switch (source.is_) {
        case TreeSource::Is::text: return text(at, source.text_);
        case TreeSource::Is::array: return put_array(at, source.type_);
        case TreeSource::Is::dict: return put_dict(at, source, depth);
        case TreeSource::Is::object: break;
    }
    if (depth >= kTreeDepth) throw InvalidArgumentError("tree: too many containers within each other");
    const std::uint64_t place = reserve(2 * sizeof(TreeSlot));
    slot(at, kTreeObject, 2, place);
    text(place, source.text_);
    put_dict(place + sizeof(TreeSlot), source.items_.front().second, depth + 1);
}

void TreeWriter::put_dict(std::uint64_t at, const TreeSource& source, unsigned depth) {
    if (depth >= kTreeDepth) throw InvalidArgumentError("tree: too many containers within each other");
    const std::uint64_t count = source.items_.size();
    if (count >> 32 != 0) throw InvalidArgumentError("tree: too many items in a dict");
    const std::uint64_t place = reserve(count * (sizeof(TreeItem) + sizeof(TreeIndex)));
    slot(at, kTreeDict, count, count == 0 ? 0 : place);
    std::vector<std::uint64_t> index;
    index.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto& [key, value] = source.items_[i];
        const std::string hashed = static_cast<char>(Kind::string) + key;
        index.push_back(std::uint64_t{tree_checksum(std::as_bytes(std::span(hashed)))} << 32 | i);
        text(place + i * sizeof(TreeItem), key);
        put(place + i * sizeof(TreeItem) + sizeof(TreeSlot), value, depth + 1);
    }
    std::sort(index.begin(), index.end());
    if (count != 0) std::memcpy(front_.data() + place + count * sizeof(TreeItem), index.data(), 8 * count);
}

void TreeWriter::put_array(std::uint64_t at, const Type& type) {
    const std::size_t described = encoded_type_size(type);
    const std::uint64_t place = reserve(sizeof(TreeArray) + described);
    TreeArray array{};
    array.size = type.nbytes();
    std::memcpy(front_.data() + place, &array, sizeof array);
    encode_type(type, front_.data() + place + sizeof array);
    slot(at, static_cast<unsigned>(type.kind), sizeof array + described, place);
    descriptions_.push_back(place);
    if (array.size != 0) rest_ = round_up(rest_, kTreeAlign);
    places_.push_back(rest_);
    if (__builtin_add_overflow(rest_, array.size, &rest_) || rest_ >> 62 != 0)
        throw InvalidArgumentError("tree: too large");
}

}  // namespace pymm
