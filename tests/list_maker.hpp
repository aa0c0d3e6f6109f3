// Linked lists, made byte for byte: sound ones, and such as no writer makes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/crc32c.hpp"
#include "format/layout.hpp"

namespace pymm::test {

/// Makes lists as a writer does, and such as none does.
class ListMaker {
public:
    using Item = std::pair<std::uint64_t, std::uint64_t>;
    std::vector<std::byte> bytes;
    bool forged = false;
    std::mt19937_64 random;

    static Item integer(std::int8_t value) { return {1 << 8 | 4, static_cast<std::uint8_t>(value)}; }
    Item text(std::string_view text) {
        align(8);
        const std::uint64_t at = bytes.size();
        const auto data = std::as_bytes(std::span(text));
        put(crc32c(data.data(), data.size()));
        bytes.insert(bytes.end(), data.begin(), data.end());
        return {text.size() << 8 | 2, at};
    }
    /// A tree: [7].
    Item tree(unsigned tag) {
        align(64);
        const std::uint64_t at = bytes.size();
        struct {
            format::TreeHeader header{};
            Item slot = integer(7);
        } tree;
        tree.header = {format::kTreeMagic, format::kTreeVersion, 0, 68, 64, {16, {1}, 48}};
        tree.header.crc = crc32c(&tree.header, sizeof tree.header);
        const auto data = std::as_bytes(std::span(&tree, 1));
        bytes.insert(bytes.end(), data.begin(), data.end());
        put(crc32c(data.data(), data.size()));
        return {std::uint64_t{68} << 8 | tag, at};
    }
    /// The child that stands for it.
    Item node(unsigned level, std::vector<Item> items) {
        align(8);
        std::uint64_t count = 0;
        for (const Item& item : items) count += level == 0 ? 1 : item.second;
        format::ListNode node{0, static_cast<std::uint16_t>(level), static_cast<std::uint16_t>(items.size()), bytes.size()};
        if (forged) forge(node.items), forge(node.level), forge(node.offset);
        for (Item& item : items)
            if (forged) forge(item.first), forge(item.second);
        const std::uint64_t at = bytes.size();
        node.crc = crc32c(items.data(), sizeof(Item) * items.size(), crc32c(&node, sizeof node));
        put(node);
        for (const Item& item : items) put(item.first), put(item.second);
        return {at, count};
    }
    std::vector<std::byte> finish(Item top, unsigned level) {
        align(64);
        format::ListRoot root{};
        root = {format::kListMagic, format::kListVersion, 0, bytes.size() + sizeof root, top.second, top.first, 0, level, {}};
        if (forged) forge(root.count), forge(root.top), forge(root.level);
        root.crc = crc32c(&root, sizeof root);
        put(root);
        return bytes;
    }
    /// Any number of elements.
    std::vector<std::byte> list(std::vector<Item> items) {
        unsigned level = 0;
        if (items.empty()) return finish({0, 0}, 0);
        while (items.size() > format::kListFanout) {
            std::vector<Item> above;
            for (std::size_t at = 0; at < items.size(); at += format::kListFanout) {
                const auto first = items.begin() + static_cast<std::ptrdiff_t>(at);
                above.push_back(node(level, {first, first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                                                format::kListFanout, items.size() - at))}));
            }
            items = above;
            ++level;
        }
        return finish(node(level, items), level);
    }

private:
    void align(std::size_t unit) { bytes.resize((bytes.size() + unit - 1) / unit * unit); }
    template <class T>
    void put(const T& value) {
        const auto data = std::as_bytes(std::span(&value, 1));
        bytes.insert(bytes.end(), data.begin(), data.end());
    }
    template <class T>
    void forge(T& value) {
        if (random() % 30 != 0) return;
        switch (random() % 4) {
            case 0: value = static_cast<T>(random()); break;
            case 1: value = static_cast<T>(value + random() % 32 - 16); break;
            case 2: value = static_cast<T>(random() % (bytes.size() + 64) / 8 * 8); break;
            default: value = static_cast<T>(random() % 300 << 8 | random() % 36); break;
        }
    }
};

inline std::vector<ListMaker::Item> sample_elements(ListMaker& m, std::size_t count) {
    std::vector<ListMaker::Item> items;
    for (std::size_t i = 0; i < count; ++i) {
        if (i % 10 == 3) items.push_back(m.text("a text of more than eight bytes, number " + std::to_string(i)));
        else if (i % 50 == 7) items.push_back(m.tree(i % 100 == 7 ? format::kListTree : format::kListLeaf));
        else items.push_back(ListMaker::integer(static_cast<std::int8_t>(i % 100)));
    }
    return items;
}

}  // namespace pymm::test
