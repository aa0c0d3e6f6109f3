// Trees: what a reader finds in sound ones, and that it survives all others.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <pymm/tree.hpp>
#include <pymm/tree_writer.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "format/layout.hpp"
#include "format/type_codec.hpp"
#include "tree_maker.hpp"

using namespace pymm;
using namespace pymm::format;
using namespace pymm::test;

namespace {

using Bytes = std::vector<std::byte>;

/// Everything that there is to see, as text; ends, and reads nothing outside, for the sanitizer to see.
std::string seen(const Bytes& bytes) {
    // A vector of its own, so that the first byte behind it is not ours.
    const Bytes exact(bytes);
    std::string text;
    const Tree tree{std::span(exact)};
    tree.check();
    tree.walk([&](const TreeNode& node, unsigned depth) {
        text += std::to_string(depth) + ":" + std::to_string(static_cast<int>(node.kind()));
        if (!node.is_container())
            for (const std::byte byte : node.bytes()) text += "," + std::to_string(std::to_integer<int>(byte));
        if (node.is_dict()) text += node.find("alpha") ? "+" : "-";
        text += ' ';
        return true;
    });
    return text;
}

bool refused(const Bytes& bytes) {
    try {
        (void)seen(bytes);
        return false;
    } catch (const CorruptError&) {
        return true;
    } catch (const VersionError&) {
        return true;
    }
}

}  // namespace

TEST_CASE("a tree gives back what it was made of") {
    const Bytes bytes = sample_tree();
    const TreeNode root = Tree(bytes).root();
    REQUIRE(root.kind() == TreeKind::list);
    REQUIRE(root.size() == 5);
    CHECK(root.at(0).kind() == TreeKind::integer);
    const TreeNode number = root.at(0);
    CHECK(number.bytes()[0] == std::byte{7});
    const TreeNode text = root.at(1);
    CHECK(text.text() == "text");
    const TreeNode dict = root.at(2);
    REQUIRE(dict.is_dict());
    const TreeNode key = dict.key(1);
    CHECK(key.text() == "longer than eight");
    const auto found = dict.find("longer than eight");
    REQUIRE(found);
    CHECK(found->bytes()[0] == std::byte{1});
    CHECK(!dict.find("beta"));
    const TreeNode array = root.at(3);
    CHECK(array.type() == Type::array("<f8", 8, {2}));
    double second;
    std::memcpy(&second, array.bytes().data() + 8, 8);
    CHECK(second == 2);
    CHECK(array.array<double>()(1) == 2);
    CHECK_THROWS_AS(array.array<float>(), InvalidArgumentError);
    CHECK_THROWS_AS(text.array<char>(), InvalidArgumentError);
    CHECK(root.at(4).kind() == TreeKind::none);
    CHECK_THROWS_AS(root.at(5), InvalidArgumentError);
    CHECK_THROWS_AS(root.bytes(), InvalidArgumentError);
    CHECK_THROWS_AS(number.text(), InvalidArgumentError);
    Tree(bytes).check();
}

TEST_CASE("a dict of many keys finds each of them, and no other") {
    std::vector<std::string> keys;
    for (int i = 0; i < 1000; ++i) keys.push_back("key " + std::to_string(i));
    TreeMaker m;
    m.dict(kTreeRoot, keys);
    const Bytes bytes = m.finish();
    const TreeNode dict = Tree(bytes).root();
    for (int i = 0; i < 1000; ++i) {
        const auto found = dict.find(keys[static_cast<std::size_t>(i)]);
        REQUIRE(found);
        CHECK(found->bytes()[0] == static_cast<std::byte>(i));
    }
    CHECK(!dict.find("key 1000"));
    CHECK(!dict.find(""));
}

TEST_CASE("an object has a name and a dict of parts, and nothing else") {
    const auto made = [](unsigned first, unsigned second, std::uint64_t count) {
        TreeMaker m;
        const std::uint64_t list = m.container(kTreeRoot, kTreeList, 1), at = m.reserve(48);
        m.slot(list, kTreeObject, count, at);
        if (first == 2) m.text(at, "pandas.Series");
        else m.slot(at, first, 0, 0);
        if (second == kTreeDict) m.dict(at + 16, {"alpha", "beta"});
        else m.slot(at + 16, second, 0, 0);
        m.integer(at + 32, 1);
        return m.finish();
    };
    const Bytes bytes = made(2, kTreeDict, 2);
    const TreeNode object = Tree(bytes).root().at(0);
    REQUIRE(object.is_object());
    CHECK(object.is_container());
    CHECK(!object.is_dict());
    CHECK(object.size() == 2);
    const TreeNode name = object.at(0);
    CHECK(name.text() == "pandas.Series");
    CHECK(object.at(1).find("beta"));
    CHECK_THROWS_AS(object.key(0), InvalidArgumentError);
    CHECK(!refused(bytes));
    for (const std::uint64_t count : {0, 1, 3}) CHECK(refused(made(2, kTreeDict, count)));
    for (const unsigned tag : {3u, 8u, 16u, 17u, 18u, 20u}) CHECK(refused(made(tag, kTreeDict, 2)));
    for (const unsigned tag : {2u, 8u, 16u, 17u, 19u, 20u}) CHECK(refused(made(2, tag, 2)));
}

TEST_CASE("what a writer lays out is read again") {
    auto tensors = TreeSource::dict(), parts = TreeSource::dict(), metadata = TreeSource::dict();
    Type bfloat = Type::array("bfloat16", 2, {3});
    bfloat.kind = Kind::tensor;
    const std::vector<std::pair<std::string, Type>> arrays{
        {"w", Type::array("<f8", 8, {2, 2})}, {"a name of more than eight", bfloat}, {"empty", Type::array("<f4", 4, {0, 3})},
        {"", Type::array("|u1", 1, {100})}};
    for (const auto& [key, type] : arrays) tensors.add(key, TreeSource::array(type));
    for (int i = 0; i < 300; ++i) metadata.add("key " + std::to_string(i), TreeSource::text("text " + std::to_string(i)));
    parts.add("tensors", tensors);
    parts.add("metadata", metadata);
    const TreeWriter writer(TreeSource::object("an object", parts));
    REQUIRE(writer.places().size() == arrays.size());
    Bytes bytes(writer.size());
    std::copy(writer.front().begin(), writer.front().end(), bytes.begin());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
        if (arrays[i].second.nbytes() != 0) CHECK(writer.places()[i] % kTreeAlign == 0);
        for (std::uint64_t k = 0; k < arrays[i].second.nbytes(); ++k) bytes[writer.places()[i] + k] = static_cast<std::byte>(i + 1);
    }
    Tree(bytes).check();
    const TreeNode root = Tree(bytes).root();
    REQUIRE(root.is_object());
    const TreeNode name = root.at(0);
    CHECK(name.text() == "an object");
    const TreeNode found = root.at(1).find("tensors").value();
    REQUIRE(found.size() == arrays.size());
    for (std::size_t i = 0; i < arrays.size(); ++i) {
        const TreeNode node = found.find(arrays[i].first).value(), key = found.key(i);
        CHECK(key.text() == arrays[i].first);
        CHECK(node.type() == arrays[i].second);
        CHECK(node.size() == arrays[i].second.nbytes());
        for (const std::byte byte : node.bytes()) CHECK(byte == static_cast<std::byte>(i + 1));
    }
    const TreeNode texts = root.at(1).find("metadata").value();
    for (int i = 0; i < 300; ++i) {
        const TreeNode text = texts.find("key " + std::to_string(i)).value();
        CHECK(text.text() == "text " + std::to_string(i));
    }
    CHECK(!texts.find("key 300"));

    const TreeWriter empty(TreeSource::dict());
    CHECK(empty.size() == empty.front().size());
    CHECK(Tree(empty.front()).root().size() == 0);
    auto one = TreeSource::dict();
    one.add("a", TreeSource::array(Type::array("|u1", 1, {1})));
    CHECK(TreeWriter(one).size() >= kMaxInline + 1);  // in an extent, where it is aligned
    CHECK_THROWS_AS(TreeWriter(TreeSource::text("x")), InvalidArgumentError);
    CHECK_THROWS_AS(TreeSource::array(Type::raw()), InvalidArgumentError);
    CHECK_THROWS_AS(TreeSource::object("x", TreeSource::text("x")), InvalidArgumentError);
    auto text = TreeSource::text("x");
    CHECK_THROWS_AS(text.add("a", TreeSource::dict()), InvalidArgumentError);
    auto deep = TreeSource::dict();
    for (int i = 0; i < 120; ++i) {
        auto outer = TreeSource::dict();
        outer.add("a", std::move(deep));
        deep = std::move(outer);
    }
    CHECK_THROWS_AS(TreeWriter{deep}, InvalidArgumentError);
}

TEST_CASE("every bit of the metadata counts: a flipped one is an error, or changes nothing") {
    const Bytes sound = sample_tree();
    const std::string expected = seen(sound);
    std::uint64_t meta;
    std::memcpy(&meta, sound.data() + offsetof(TreeHeader, meta), 8);
    for (std::size_t at = 0; at < sound.size(); ++at)
        for (unsigned bit = 0; bit < 8; ++bit) {
            Bytes bytes = sound;
            bytes[at] ^= static_cast<std::byte>(1u << bit);
            CAPTURE(at);
            const bool in_array = at >= sound.size() - 16;
            if (at < meta + 4) CHECK(refused(bytes));
            else if (!in_array) CHECK(seen(bytes) == expected);
        }
}

TEST_CASE("a tree that was cut off is refused at every length") {
    Bytes bytes = sample_tree();
    while (!bytes.empty()) {
        bytes.pop_back();
        CHECK(refused(bytes));
    }
}

TEST_CASE("forged slots with right checksums are refused") {
    const auto forged = [](unsigned tag, std::uint64_t size, std::uint64_t value) {
        TreeMaker m;
        const std::uint64_t at = m.container(kTreeRoot, kTreeList, 2);
        m.integer(at, 1);
        m.slot(at + 16, tag, size, value);
        return m.finish();
    };
    constexpr std::uint64_t all = (std::uint64_t{1} << 56) - 1, most = ~std::uint64_t{0};
    CHECK(!refused(forged(4, 1, 5)));
    for (const unsigned tag : {0u, 10u, 15u, 20u, 255u}) CHECK(refused(forged(tag, 0, 0)));
    for (const unsigned tag : {1u, 2u, 3u, 4u, 9u, 16u, 17u, 18u, 19u, 20u})
        for (const std::uint64_t size : {std::uint64_t{9}, std::uint64_t{17}, std::uint64_t{4096}, all / 40, all})
            for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{32}, std::uint64_t{48}, std::uint64_t{64},
                                              std::uint64_t{72}, std::uint64_t{80}, std::uint64_t{1000}, most})
                CHECK_MESSAGE(refused(forged(tag, size, value)), tag << " " << size << " " << value);
    CHECK(refused(forged(7, 1, 2)));            // a boolean
    CHECK(refused(forged(2, 1, 'a' | 1 << 8)));  // more than its size
    CHECK(refused(forged(5, 4, 0)));
    CHECK(refused(forged(6, 8, 0)));
    CHECK(refused(forged(8, 1, 0)));
    CHECK(refused(forged(4, 0, 0)));
    CHECK(refused(forged(16, 1, 64)));  // the slot itself
    CHECK(refused(forged(16, 1, 48)));  // what is around it
}

TEST_CASE("forged arrays with right checksums are refused") {
    const auto forged = [](const Type& type, std::uint64_t offset, std::uint64_t size) {
        TreeMaker m;
        m.rest.resize(256);
        m.array(m.container(kTreeRoot, kTreeList, 1), type, offset, size);
        return m.finish();
    };
    const Type type = Type::array("<f8", 8, {2, 2});
    CHECK(!refused(forged(type, 192, 32)));
    for (const std::uint64_t offset : {0, 48, 64, 128, 193, 200, 448, 512, 1 << 20}) {
        CAPTURE(offset);
        CHECK(refused(forged(type, offset, 32)));
    }
    CHECK(refused(forged(type, ~std::uint64_t{0} - 63, 32)));
    CHECK(refused(forged(type, 192, 31)));
    CHECK(refused(forged(type, 192, 256)));
    Type wide = type;
    wide.strides = {64, 8};
    CHECK(refused(forged(wide, 192, 32)));
    wide.strides = {-16, 8};
    CHECK(refused(forged(wide, 192, 32)));
    wide.shape = {std::int64_t{1} << 62, 4};
    CHECK(refused(forged(wide, 192, 32)));
}

TEST_CASE("parts that are used several times do not make a reader endless") {
    // Each list holds the next one ten times: 10^90 elements in 14 KiB.
    TreeMaker m;
    std::uint64_t at = m.container(kTreeRoot, kTreeList, 10);
    for (int depth = 1; depth < 90; ++depth) {
        const std::uint64_t next = m.reserve(160);
        for (std::uint64_t i = 0; i < 10; ++i) m.slot(at + 16 * i, kTreeList, 10, next);
        at = next;
    }
    for (std::uint64_t i = 0; i < 10; ++i) m.integer(at + 16 * i, 1);
    CHECK(refused(m.finish()));

    // A hundred texts that are the same half of the tree.
    TreeMaker n;
    const std::uint64_t texts = n.container(kTreeRoot, kTreeList, 100);
    const std::uint64_t place = n.reserve(2000);
    for (std::uint64_t i = 0; i < 100; ++i) n.slot(texts + 16 * i, 3, 2000, place);
    CHECK(refused(n.finish()));
}

TEST_CASE("a hundred containers within each other are read, one more is refused") {
    for (const int depth : {100, 101}) {
        TreeMaker m;
        std::uint64_t at = kTreeRoot;
        for (int i = 0; i < depth; ++i) at = m.container(at, i % 2 != 0 ? kTreeList : kTreeTuple, 1);
        m.integer(at, 1);
        CHECK(refused(m.finish()) == (depth == 101));
    }
}

TEST_CASE("what cannot be a key is refused, and an index may say anything") {
    for (const unsigned tag : {16u, 18u, 19u, 20u}) {
        TreeMaker m;
        const std::uint64_t at = m.container(kTreeRoot, kTreeDict, 1);
        m.slot(at, tag, 0, 0);
        m.integer(at + 16, 1);
        CHECK(refused(m.finish()));
    }
    TreeMaker m;
    m.dict(kTreeRoot, {"alpha", "b"});
    std::uint64_t word;
    const std::uint64_t index = sizeof(TreeHeader) + 64;
    for (const std::uint64_t number : {std::uint64_t{2}, std::uint64_t{0xffffffff}}) {
        for (int i = 0; i < 2; ++i) {
            std::memcpy(&word, m.meta.data() + index + 8 * i, 8);
            word = (word >> 32 << 32) | number;
            std::memcpy(m.meta.data() + index + 8 * i, &word, 8);
        }
        CHECK(refused(m.finish()));
    }
}

TEST_CASE("arbitrary metadata under right checksums: an answer or an error") {
    REQUIRE(rc::check([](const std::vector<std::uint8_t>& raw) {
        TreeMaker m;
        m.container(kTreeRoot, *rc::gen::element(16u, 17u, 18u, 19u, 20u), *rc::gen::inRange(0u, 20u));
        for (std::size_t i = 0; i < raw.size(); ++i) {
            // Plausible numbers, or nothing but the first check is ever met.
            const std::size_t at = sizeof(TreeHeader) + i * 8;
            if (at + 8 > m.meta.size()) m.reserve(8);
            const std::uint64_t word = raw[i] % 3 == 0 ? std::uint64_t{raw[i]} << 8 | *rc::gen::inRange(1u, 20u)
                                                       : std::uint64_t{raw[i]} * 8;
            std::memcpy(m.meta.data() + at, &word, 8);
        }
        (void)refused(m.finish());
    }));
}
