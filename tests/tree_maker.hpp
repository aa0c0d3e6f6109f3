// Trees, made byte for byte: sound ones, and such as no writer makes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <pymm/tree.hpp>

#include "format/layout.hpp"
#include "format/type_codec.hpp"

namespace pymm::test {

/// Makes trees as a writer does, and such as none does.
class TreeMaker {
public:
    std::vector<std::byte> meta = std::vector<std::byte>(sizeof(format::TreeHeader));
    std::vector<std::byte> rest;

    std::uint64_t reserve(std::size_t size) {
        meta.resize((meta.size() + 7) / 8 * 8);
        const std::uint64_t at = meta.size();
        meta.resize(at + size);
        return at;
    }
    void slot(std::uint64_t at, unsigned tag, std::uint64_t size, std::uint64_t value) {
        const std::uint64_t head = size << 8 | tag;
        std::memcpy(meta.data() + at, &head, 8);
        std::memcpy(meta.data() + at + 8, &value, 8);
    }
    void integer(std::uint64_t at, std::int8_t value) { slot(at, 4, 1, static_cast<std::uint8_t>(value)); }
    void text(std::uint64_t at, std::string_view text) {
        if (text.size() <= 8) {
            std::uint64_t value = 0;
            std::memcpy(&value, text.data(), text.size());
            return slot(at, 2, text.size(), value);
        }
        const std::uint64_t place = meta.size();
        const auto bytes = std::as_bytes(std::span(text));
        meta.insert(meta.end(), bytes.begin(), bytes.end());
        slot(at, 2, text.size(), place);
    }
    std::uint64_t container(std::uint64_t at, unsigned tag, std::uint64_t count) {
        const std::uint64_t place = reserve(count * (tag == format::kTreeDict || tag == format::kTreeOrderedDict ? 40 : 16));
        slot(at, tag, count, count == 0 ? 0 : place);
        return place;
    }
    /// A dict of texts and small numbers.
    void dict(std::uint64_t at, const std::vector<std::string>& keys) {
        const std::uint64_t place = container(at, format::kTreeDict, keys.size());
        std::vector<std::uint64_t> words;
        for (std::size_t i = 0; i < keys.size(); ++i) {
            text(place + 32 * i, keys[i]);
            integer(place + 32 * i + 16, static_cast<std::int8_t>(i));
            const std::string hashed = "\2" + keys[i];
            words.push_back(std::uint64_t{tree_checksum(std::as_bytes(std::span(hashed)))} << 32 | i);
        }
        std::sort(words.begin(), words.end());
        if (!words.empty()) std::memcpy(meta.data() + place + 32 * keys.size(), words.data(), 8 * words.size());
    }
    /// An array; the data is to follow in `rest`.
    void array(std::uint64_t at, const Type& type, std::uint64_t offset, std::uint64_t size) {
        const std::size_t described = format::encoded_type_size(type);
        const std::uint64_t place = reserve(16 + described);
        std::memcpy(meta.data() + place, &offset, 8);
        std::memcpy(meta.data() + place + 8, &size, 8);
        format::encode_type(type, meta.data() + place + 16);
        slot(at, static_cast<unsigned>(type.kind), 16 + described, place);
    }
    std::vector<std::byte> finish() {
        reserve(0);
        const std::uint64_t end = meta.size(), blocks = (end + 4095) / 4096;
        std::vector<std::byte> tree(end + 4 * blocks);
        if (!rest.empty()) tree.resize((tree.size() + 63) / 64 * 64);
        tree.insert(tree.end(), rest.begin(), rest.end());
        format::TreeHeader header{};
        header.magic = format::kTreeMagic;
        header.version = format::kTreeVersion;
        header.size = tree.size();
        header.meta = end;
        std::memcpy(&header.root, meta.data() + offsetof(format::TreeHeader, root), 16);
        header.crc = tree_checksum(std::as_bytes(std::span(&header, 1)));
        std::memcpy(meta.data(), &header, sizeof header);
        std::copy(meta.begin(), meta.end(), tree.begin());
        for (std::uint64_t k = 0; k < blocks; ++k) {
            const std::uint32_t crc =
                tree_checksum(std::span(meta).subspan(4096 * k, std::min<std::uint64_t>(4096, end - 4096 * k)));
            std::memcpy(tree.data() + end + 4 * k, &crc, 4);
        }
        return tree;
    }
};

inline constexpr std::uint64_t kTreeRoot = offsetof(format::TreeHeader, root);

/// [7, "text", {"alpha": 0, "longer than eight": 1}, array([1., 2.]), None]
inline std::vector<std::byte> sample_tree() {
    TreeMaker m;
    const std::uint64_t at = m.container(kTreeRoot, format::kTreeList, 5);
    m.integer(at, 7);
    m.text(at + 16, "text");
    m.dict(at + 32, {"alpha", "longer than eight"});
    const double elements[] = {1, 2};
    const auto bytes = std::as_bytes(std::span(elements));
    m.rest.assign(bytes.begin(), bytes.end());
    m.slot(at + 64, 8, 0, 0);
    // The rest starts behind the metadata and one checksum; the description of the array has 27 bytes and 16.
    const std::uint64_t end = (m.meta.size() + 7) / 8 * 8 + 48;
    m.array(at + 48, Type::array("<f8", 8, {2}), (end + 4 + 63) / 64 * 64, 16);
    return m.finish();
}

}  // namespace pymm::test
