// docs/FORMAT.md, "Trees".
#include <pymm/tree.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "format/tree.hpp"
#include "format/type_codec.hpp"

namespace pymm {

using namespace format;

namespace {

using Bytes = std::span<const std::byte>;

[[noreturn]] void corrupt(std::uint64_t at, std::string_view what) {
    throw CorruptError(fmt::format("tree: at its byte {}: {}; restore it from a copy, or erase it", at, what));
}

template <class T>
T load(Bytes bytes, std::uint64_t at) noexcept {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

std::uint64_t size_of(const TreeSlot& slot) {
    std::uint64_t size = 0;
    std::memcpy(&size, slot.size.data(), slot.size.size());
    return size;
}

bool inside(std::uint64_t at, std::uint64_t size, std::uint64_t from, std::uint64_t to) {
    return at >= from && at <= to && size <= to - at;
}

std::uint64_t blocks_of(std::uint64_t meta) noexcept { return (meta + kTreeBlock - 1) / kTreeBlock; }

/// Where what is not metadata may begin.
std::uint64_t table_end(std::uint64_t meta) { return meta + 4 * blocks_of(meta); }

Bytes block_of(Bytes tree, std::uint64_t meta, std::uint64_t k) noexcept {
    return tree.subspan(k * kTreeBlock, std::min<std::uint64_t>(kTreeBlock, meta - k * kTreeBlock));
}

bool is_sound(Bytes tree, std::uint64_t meta, std::uint64_t k) noexcept {
    return tree_checksum(block_of(tree, meta, k)) == load<std::uint32_t>(tree, meta + 4 * k);
}

/// Metadata, once their checksums were found right.
Bytes metadata(Bytes tree, std::uint64_t meta, std::uint64_t at, std::uint64_t size) {
    if (!inside(at, size, sizeof(TreeHeader), meta)) corrupt(at, fmt::format("{} bytes are not all metadata", size));
    if (size == 0) return {};
    for (std::uint64_t k = at / kTreeBlock; k <= (at + size - 1) / kTreeBlock; ++k)
        if (!is_sound(tree, meta, k)) corrupt(k * kTreeBlock, "the checksum is wrong");
    return tree.subspan(at, size);
}

/// What is wrong with the header, but for its version.
const char* header_problem(Bytes tree, TreeHeader& header) noexcept {
    if (tree.size() < sizeof(TreeHeader)) return "there is no room for a header";
    header = load<TreeHeader>(tree, 0);
    if (header.magic != kTreeMagic) return "it does not start as a tree does";
    if (header.version != kTreeVersion) return nullptr;
    const std::uint32_t crc = std::exchange(header.crc, 0);
    if (crc32c(&header, sizeof header) != crc) return "the header's checksum is wrong";
    if (header.size != tree.size()) return "the header tells another size";
    if (header.meta % 8 != 0 || header.meta < sizeof(TreeHeader) || header.meta > header.size ||
        4 * blocks_of(header.meta) > header.size - header.meta)
        return "the metadata cannot be as large as the header says";
    return nullptr;
}

TreeHeader checked_header(Bytes tree) {
    TreeHeader header{};
    if (const char* problem = header_problem(tree, header)) corrupt(0, problem);
    if (header.version != kTreeVersion)
        throw VersionError(fmt::format("tree: it has version {}, this program knows version {}: use a newer one",
                                       header.version, kTreeVersion));
    return header;
}

bool known(std::uint8_t tag) {
    return (tag >= static_cast<std::uint8_t>(Kind::ndarray) && tag <= static_cast<std::uint8_t>(Kind::scalar)) ||
           tag == static_cast<std::uint8_t>(Kind::tensor) ||
           (tag >= kTreeList && tag <= kTreeObject);
}

}  // namespace

const char* format::tree_problem(Bytes tree) noexcept {
    TreeHeader header;
    if (const char* problem = header_problem(tree, header)) return problem;
    if (header.version != kTreeVersion) return nullptr;
    for (std::uint64_t k = 0; k < blocks_of(header.meta); ++k)
        if (!is_sound(tree, header.meta, k)) return "the checksum of a part of its structure is wrong";
    return nullptr;
}

std::uint32_t tree_checksum(std::span<const std::byte> bytes) noexcept { return crc32c(bytes.data(), bytes.size()); }

TreeNode TreeNode::make(std::span<const std::byte> tree, std::uint64_t meta, std::uint64_t at, unsigned depth) {
    // The root's slot is in the header, which has been checked.
    const bool root = at == offsetof(TreeHeader, root);
    const auto slot = load<TreeSlot>(root ? tree.subspan(at) : metadata(tree, meta, at, sizeof(TreeSlot)), 0);
    if (!known(slot.tag)) corrupt(at, fmt::format("tag {} is unknown", slot.tag));
    TreeNode node;
    node.tree_ = tree;
    node.meta_ = meta;
    node.kind_ = static_cast<TreeKind>(slot.tag);
    node.depth_ = depth;
    node.size_ = size_of(slot);
    node.offset_ = slot.value;
    const std::uint64_t data_start = table_end(meta);

    if (node.is_container()) {
        if (depth >= kTreeDepth) corrupt(at, fmt::format("more than {} containers within each other", kTreeDepth));
        const std::uint64_t each = node.is_dict() ? sizeof(TreeItem) + sizeof(TreeIndex) : sizeof(TreeSlot);
        if (node.is_object() && node.size_ != 2) corrupt(at, "an object has a name and parts");
        if (node.size_ == 0) return node;
        // What is behind cannot lead back.
        if (slot.value <= at || slot.value % 8 != 0 || slot.value > meta || node.size_ > (meta - slot.value) / each)
            corrupt(at, fmt::format("{} elements at {} cannot be", node.size_, slot.value));
        if (node.is_object()) {
            const Bytes parts = metadata(tree, meta, slot.value, 2 * sizeof(TreeSlot));
            if (load<TreeSlot>(parts, 0).tag != static_cast<std::uint8_t>(Kind::string) ||
                load<TreeSlot>(parts, sizeof(TreeSlot)).tag != kTreeDict)
                corrupt(at, "an object without a name and parts");
        }
        return node;
    }

    if (has_elements(static_cast<Kind>(slot.tag))) {
        if (slot.value <= at || node.size_ < sizeof(TreeArray) || node.size_ > sizeof(TreeArray) + kMaxType)
            corrupt(at, "an array without a description");
        const Bytes bytes = metadata(tree, meta, slot.value, node.size_);
        const auto array = load<TreeArray>(bytes, 0);
        if (!decode_type(bytes.subspan(sizeof array), node.type_)) corrupt(slot.value, "there is no type");
        if (static_cast<std::uint8_t>(node.type_.kind) != slot.tag) corrupt(slot.value, "tag and type disagree");
        if (const char* problem = type_problem(node.type_, array.size)) corrupt(slot.value, problem);
        node.size_ = array.size;
        node.offset_ = array.offset;
        node.inside_ = array.size == 0;
        if (array.size == 0) return node;
        if (node.kind_ == TreeKind::scalar) {
            if (!inside(array.offset, array.size, sizeof(TreeHeader), meta))
                corrupt(slot.value, fmt::format("{} bytes of a scalar at {} cannot be", array.size, array.offset));
        } else if (array.offset % kTreeAlign != 0 || !inside(array.offset, array.size, data_start, tree.size()))
            corrupt(slot.value, fmt::format("{} bytes of elements at {} cannot be", array.size, array.offset));
        return node;
    }

    node.type_ = Type::value(static_cast<Kind>(slot.tag));
    if (const char* problem = type_problem(node.type_, node.size_)) corrupt(at, problem);
    if (node.size_ <= sizeof node.small_) {
        if (node.size_ < 8 && (slot.value >> (8 * node.size_)) != 0) corrupt(at, "there is more than its size");
        std::memcpy(node.small_, &slot.value, sizeof node.small_);
        if (node.kind_ == TreeKind::boolean && slot.value > 1) corrupt(at, "a boolean is 0 or 1");
        return node;
    }
    node.inside_ = false;
    if (slot.value <= at) corrupt(at, "its data is in front of it");
    if (!inside(slot.value, node.size_, sizeof(TreeHeader), meta) &&
        !inside(slot.value, node.size_, data_start, tree.size()))
        corrupt(at, fmt::format("{} bytes at {} cannot be", node.size_, slot.value));
    return node;
}

void TreeNode::require(bool wanted, const char* what) const {
    if (!wanted)
        throw InvalidArgumentError(fmt::format("tree: {} was asked of a node of kind {}", what,
                                               static_cast<unsigned>(kind_)));
}

TreeNode TreeNode::at(std::uint64_t i) const {
    require(is_container(), "an element");
    require(i < size_, "an element that there is not");
    const std::uint64_t slot = is_dict() ? offset_ + sizeof(TreeItem) * i + sizeof(TreeSlot)
                                         : offset_ + sizeof(TreeSlot) * i;
    return make(tree_, meta_, slot, depth_ + 1);
}

TreeNode TreeNode::key(std::uint64_t i) const {
    require(is_dict() && i < size_, "a key");
    const TreeNode node = make(tree_, meta_, offset_ + sizeof(TreeItem) * i, depth_ + 1);
    if (!node.is_key())
        corrupt(offset_ + sizeof(TreeItem) * i, "this cannot be a key");
    return node;
}

std::optional<TreeNode> TreeNode::find(std::string_view key) const {
    require(is_dict(), "a look-up");
    std::string hashed(1, static_cast<char>(Kind::string));
    hashed += key;
    const std::uint64_t hash = tree_checksum(std::as_bytes(std::span(hashed)));
    const std::uint64_t index = offset_ + sizeof(TreeItem) * size_;
    const auto word = [&](std::uint64_t i) { return load<std::uint64_t>(metadata(tree_, meta_, index + 8 * i, 8), 0); };
    std::uint64_t low = 0, high = size_;
    while (low < high) {
        const std::uint64_t middle = low + (high - low) / 2;
        if (word(middle) < hash << 32) low = middle + 1;
        else high = middle;
    }
    for (; low < size_; ++low) {
        const std::uint64_t found = word(low);
        if (found >> 32 != hash) break;
        const std::uint64_t number = found & 0xffffffff;
        if (number >= size_) corrupt(index + 8 * low, "the index names an item that there is not");
        const TreeNode candidate = this->key(number);
        if (candidate.kind_ == TreeKind::string && candidate.text() == key) return at(number);
    }
    return std::nullopt;
}

std::span<const std::byte> TreeNode::bytes() const {
    require(!is_container(), "data");
    if (inside_) return {small_, size_};
    return offset_ < meta_ ? metadata(tree_, meta_, offset_, size_) : tree_.subspan(offset_, size_);
}

const Type& TreeNode::type() const {
    require(!is_container(), "a type");
    return type_;
}

std::string_view TreeNode::text() const {
    require(kind_ == TreeKind::string, "a text");
    const auto data = bytes();
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

Tree::Tree(std::span<const std::byte> bytes) : bytes_(bytes), meta_(checked_header(bytes).meta) {}

TreeNode Tree::root() const {
    const TreeNode node = TreeNode::make(bytes_, meta_, offsetof(TreeHeader, root), 0);
    if (!node.is_container()) corrupt(offsetof(TreeHeader, root), "the root is no container");
    return node;
}

void Tree::walk(const std::function<bool(const TreeNode& node, unsigned depth)>& visit) const {
    // Each slot is part of one container, each byte of one value; there are no more than these.
    std::uint64_t left = meta_ / sizeof(TreeSlot), bytes_left = bytes_.size();
    const auto descend = [&](const auto& self, const TreeNode& node, bool in_key) -> void {
        if (!node.is_container() && !node.inside_) {
            if (node.size_ > bytes_left) corrupt(node.offset_, "parts of it are used several times");
            bytes_left -= node.size_;
        }
        if (!visit(node, node.depth_) || !node.is_container()) return;
        const std::uint64_t slots = node.is_dict() ? 2 * node.size_ : node.size_;
        if (slots > left) corrupt(node.offset_, "parts of it are used several times");
        left -= slots;
        for (std::uint64_t i = 0; i < node.size_; ++i) {
            if (node.is_dict()) self(self, node.key(i), true);
            const TreeNode element = node.at(i);
            if (in_key && !element.is_key())
                corrupt(node.offset_, "this cannot be part of a key");
            self(self, element, in_key);
        }
    };
    descend(descend, root(), false);
}

void Tree::check() const {
    for (std::uint64_t k = 0; k < blocks_of(meta_); ++k)
        if (!is_sound(bytes_, meta_, k)) corrupt(k * kTreeBlock, "the checksum is wrong");
    walk([](const TreeNode&, unsigned) { return true; });
}

}  // namespace pymm
