// LinkedList: a reader of what a blob of Kind::linked_list holds: a list that grows and changes by what is written behind
// its end. docs/FORMAT.md, "Linked lists", has the bytes.
//
// Opening looks at the last 64 bytes, however long the list is; an element is found in logarithmic time. Nodes and short
// data are checked against their checksums before they are used. Whatever the bytes are, nothing outside them is read, and
// `for_each` ends.
//
// Ownership: LinkedList and its nodes refer to the bytes, which must outlive them. Thread safety: all is const; the bytes
// must not change. Errors: CorruptError where the bytes are no list or are damaged, VersionError where a newer version
// made them, InvalidArgumentError where an element is asked for that there is not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include <pymm/tree.hpp>

namespace pymm {

class LinkedList {
public:
    /// The list in the bytes of a blob. Checks its root only.
    explicit LinkedList(std::span<const std::byte> bytes);

    std::uint64_t size() const noexcept { return count_; }  ///< elements
    /// Bytes that the present elements and what leads to them take; the rest is what older versions had.
    std::uint64_t live_bytes() const noexcept { return live_; }
    TreeNode at(std::uint64_t i) const;

    /// Visits the elements in order until `visit` returns false. Throws CorruptError when parts are used several times.
    void for_each(const std::function<bool(const TreeNode& element)>& visit) const;

    /// Reads and checks everything but the elements of arrays.
    void check() const;

private:
    /// Of a slot that was checked.
    TreeNode element(std::uint64_t leaf, std::uint64_t head, std::uint64_t value) const;

    std::span<const std::byte> bytes_;
    std::uint64_t count_ = 0;
    std::uint64_t top_ = 0;
    std::uint64_t live_ = 0;
    unsigned level_ = 0;
};

}  // namespace pymm
