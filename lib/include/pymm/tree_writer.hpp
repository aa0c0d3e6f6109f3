// TreeWriter: lays out what a blob of Kind::tree holds, for dicts of arrays and texts. docs/FORMAT.md, "Trees", has the
// bytes; <pymm/tree.hpp> reads them.
//
// The elements of arrays are not given to it: it tells where they go. So they can be read straight to their place.
//
//     pymm::TreeSource source = pymm::TreeSource::dict();
//     source.add("w", pymm::TreeSource::array(type));
//     const pymm::TreeWriter writer(source);
//     pymm::Staged staged = shelf.stage(pymm::Type::value(pymm::Kind::tree), writer.size());
//     staged.write(0, writer.front());              // then elements at writer.places(), and zeros between them
//
// Ownership: all by value. Thread safety: as of values. Errors: InvalidArgumentError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <pymm/error.hpp>
#include <pymm/type.hpp>

namespace pymm {

/// What a tree is made of.
class TreeSource {
public:
    /// A text, UTF-8; unchecked, as in a blob.
    static TreeSource text(std::string text);
    /// An array or tensor. Throws InvalidArgumentError for other types.
    static TreeSource array(Type type);
    static TreeSource dict();
    /// What a Python package made: its name, and a dict of its parts. Throws InvalidArgumentError for no dict.
    static TreeSource object(std::string name, TreeSource parts);

    /// Appends an item to a dict. Keys must differ, which nobody checks. Throws InvalidArgumentError for no dict.
    void add(std::string key, TreeSource value);

private:
    friend class TreeWriter;
    enum class Is : std::uint8_t { text, array, dict, object };
    explicit TreeSource(Is is) : is_(is) {}

    Is is_;
    std::string text_;  // of a text; the name of an object
    Type type_;
    std::vector<std::pair<std::string, TreeSource>> items_;  // of a dict; one, the parts, of an object
};

class TreeWriter {
public:
    /// Throws InvalidArgumentError when `root` is no container, or deeper than trees may be.
    explicit TreeWriter(const TreeSource& root);

    /// Header, metadata and checksums: the first bytes of the tree.
    std::span<const std::byte> front() const noexcept { return front_; }
    /// Bytes of the tree. What is neither front nor elements is zeros.
    std::uint64_t size() const noexcept { return size_; }
    /// For each array, in the order in which they were added: where its elements begin, Type::nbytes() of them. Ascending.
    std::span<const std::uint64_t> places() const noexcept { return places_; }

private:
    std::uint64_t reserve(std::size_t size);
    void slot(std::uint64_t at, unsigned tag, std::uint64_t size, std::uint64_t value);
    void text(std::uint64_t at, const std::string& text);
    void put(std::uint64_t at, const TreeSource& source, unsigned depth);
    void put_dict(std::uint64_t at, const TreeSource& source, unsigned depth);
    void put_array(std::uint64_t at, const Type& type);

    std::vector<std::byte> front_;
    std::vector<std::uint64_t> places_;       // first from the end of the front
    std::vector<std::uint64_t> descriptions_;  // of the arrays, in the same order
    std::uint64_t rest_ = 0;
    std::uint64_t size_ = 0;
};

}  // namespace pymm
