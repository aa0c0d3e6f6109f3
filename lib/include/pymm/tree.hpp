// Tree: a reader of what a blob of Kind::tree holds: Python's lists, tuples and dicts, nested, with numbers, text and
// arrays in them. docs/FORMAT.md, "Trees", has the bytes.
//
// Nothing is decoded ahead: a node is a window on the bytes, found in constant time by its number, or, in a dict, in
// logarithmic time by its key. Each piece of metadata is checked against its checksum before it is used; arrays
// have none, as elsewhere. Whatever the bytes are, nothing outside them is read, and `walk` ends.
//
// Ownership: Tree and TreeNode refer to the bytes, which must outlive them; a node refers to no Tree. Thread safety:
// all is const; the bytes must not change. Errors: CorruptError where the bytes are no tree or are damaged,
// VersionError where a newer version made them, InvalidArgumentError where a node is asked for what it is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <pymm/array.hpp>
#include <pymm/error.hpp>
#include <pymm/type.hpp>

namespace pymm {

/// CRC32C: the checksum of trees, and the hash of their keys.
std::uint32_t tree_checksum(std::span<const std::byte> bytes) noexcept;

/// What a node is. Those of Kind have its numbers.
enum class TreeKind : std::uint8_t {
    ndarray = 1,
    string = 2,
    bytes = 3,
    integer = 4,
    real = 5,
    complex = 6,
    boolean = 7,
    none = 8,
    scalar = 9,
    tensor = 11,
    list = 16,
    tuple = 17,
    dict = 18,
    ordered_dict = 19,  ///< a dict; Python's collections.OrderedDict
    object = 20,        ///< of two elements: the name of what a Python package made, and a dict of its parts
};

/// A value in a tree. Small: copy it freely.
class TreeNode {
public:
    TreeKind kind() const noexcept { return kind_; }
    bool is_sequence() const noexcept { return kind_ == TreeKind::list || kind_ == TreeKind::tuple; }
    bool is_dict() const noexcept { return kind_ == TreeKind::dict || kind_ == TreeKind::ordered_dict; }
    bool is_array() const noexcept { return kind_ == TreeKind::ndarray || kind_ == TreeKind::tensor; }
    bool is_object() const noexcept { return kind_ == TreeKind::object; }
    bool is_container() const noexcept { return is_sequence() || is_dict() || is_object(); }

    /// Elements of a list or tuple, items of a dict, 2 of an object; else the bytes of the data.
    std::uint64_t size() const noexcept { return size_; }

    /// Element `i` of a list, tuple or object, or the value of item `i` of a dict in the order in which they were put there.
    TreeNode at(std::uint64_t i) const;
    /// The key of item `i` of a dict.
    TreeNode key(std::uint64_t i) const;
    /// The value that a dict has for a text as key.
    std::optional<TreeNode> find(std::string_view key) const;

    /// Data of anything but a container, read only here, and encoded as in a blob of that kind (docs/FORMAT.md,
    /// "TypeHeader"). Of numbers and short texts it lies in this node: it is valid while the node is.
    std::span<const std::byte> bytes() const;
    /// The type of anything but a container, as that of a blob.
    const Type& type() const;
    /// The elements of an array, tensor or scalar, where they lie. Refers to this node, which must outlive it.
    template <class T>
    Array<const T> array() const& {
        return Array<const T>(type(), bytes().data(), bytes().size());
    }
    template <class T>
    Array<const T> array() const&& = delete;
    /// The text of a string, UTF-8; unchecked, as in a blob.
    std::string_view text() const;

private:
    friend class Tree;
    friend class LinkedList;
    TreeNode() = default;
    static TreeNode make(std::span<const std::byte> tree, std::uint64_t meta, std::uint64_t slot, unsigned depth);
    /// As a dict's key, or a part of one.
    bool is_key() const noexcept { return !is_array() && kind_ != TreeKind::list && !is_dict() && !is_object(); }
    void require(bool wanted, const char* what) const;

    std::span<const std::byte> tree_;
    std::uint64_t meta_ = 0;
    TreeKind kind_ = TreeKind::none;
    unsigned depth_ = 0;
    std::uint64_t size_ = 0;
    std::uint64_t offset_ = 0;  // of slots or data; unused where the data is in `small_`
    std::byte small_[8] = {};
    bool inside_ = true;  // the data is in `small_`
    Type type_;
};

class Tree {
public:
    /// The tree in the bytes of a blob. Checks its header only.
    explicit Tree(std::span<const std::byte> bytes);
    TreeNode root() const;

    /// Visits every node: a container before its elements, the key of an item before its value. `depth` counts the
    /// containers around it. What `visit` returns tells whether the elements are wanted. Throws CorruptError when
    /// parts are used several times, which no writer does and which could make it endless.
    void walk(const std::function<bool(const TreeNode& node, unsigned depth)>& visit) const;

    /// Reads and checks everything but the elements of arrays.
    void check() const;

private:
    std::span<const std::byte> bytes_;
    std::uint64_t meta_;
};

}  // namespace pymm
