// Linked lists: what a reader finds in sound ones, that it survives all others, and what a shelf does with them.
#include <doctest/doctest.h>

#include <pymm/check.hpp>
#include <pymm/pymm.hpp>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "format/list.hpp"
#include "list_maker.hpp"
#include "scratch.hpp"

using namespace pymm;
using namespace pymm::format;
using namespace pymm::test;

namespace {

using Bytes = std::vector<std::byte>;
using Item = ListMaker::Item;

/// Everything that there is to see, as text; ends, and reads nothing outside, for the sanitizer to see.
std::string seen(const Bytes& bytes) {
    // A vector of its own, so that the first byte behind it is not ours.
    const Bytes exact(bytes);
    std::string text;
    const LinkedList list{std::span(exact)};
    list.check();
    std::uint64_t number = 0;
    list.for_each([&](const TreeNode& node) {
        text += std::to_string(static_cast<int>(node.kind()));
        if (!node.is_container())
            for (const std::byte byte : node.bytes()) text += "," + std::to_string(std::to_integer<int>(byte));
        text += ' ';
        CHECK(list.at(number++).kind() == node.kind());
        return true;
    });
    CHECK(number == list.size());
    return text;
}

bool refused(const Bytes& bytes) {
    const Bytes exact(bytes);
    (void)list_problem(exact);
    try {
        seen(bytes);
    } catch (const CorruptError&) {
        return true;
    } catch (const VersionError&) {
        return true;
    }
    return false;
}

}  // namespace

TEST_CASE("elements are found by their number, on every level") {
    for (const std::size_t count : {0u, 1u, 2u, 32u, 33u, 1024u, 1025u, 3000u}) {
        CAPTURE(count);
        ListMaker m;
        const Bytes bytes = m.list(sample_elements(m, count));
        const LinkedList list{std::span(bytes)};
        REQUIRE(list.size() == count);
        CHECK(list_problem(bytes) == nullptr);
        list.check();
        for (std::size_t i = 0; i < count; ++i) {
            const TreeNode node = list.at(i);
            if (i % 10 == 3) {
                CHECK(node.text() == "a text of more than eight bytes, number " + std::to_string(i));
            } else if (i % 100 == 7) {
                REQUIRE(node.kind() == TreeKind::list);
                CHECK(node.at(0).bytes()[0] == std::byte{7});
            } else {
                REQUIRE(node.kind() == TreeKind::integer);
                CHECK(node.bytes()[0] == static_cast<std::byte>(i % 50 == 7 ? 7 : i % 100));
            }
        }
        CHECK_THROWS_AS(list.at(count), InvalidArgumentError);
        std::size_t visited = 0;
        list.for_each([&](const TreeNode&) { return ++visited < 5; });
        CHECK(visited == std::min<std::size_t>(count, 5));
    }
}

TEST_CASE("every flipped byte is noticed, and every other length") {
    ListMaker m;
    const Bytes sound = m.list(sample_elements(m, 60));
    const std::string all = seen(sound);
    for (std::size_t at = 0; at < sound.size(); ++at) {
        Bytes bytes = sound;
        bytes[at] ^= std::byte{0x55};
        CAPTURE(at);
        if (!refused(bytes)) CHECK(seen(bytes) == all);  // it was padding
    }
    for (std::size_t size = 0; size < sound.size(); ++size) CHECK(refused({sound.begin(), sound.begin() + static_cast<std::ptrdiff_t>(size)}));
}

TEST_CASE("forged numbers under right checksums: an answer or CorruptError") {
    unsigned refusals = 0;
    for (unsigned seed = 0; seed < 3000; ++seed) {
        ListMaker m;
        m.random.seed(seed);
        std::vector<Item> items = sample_elements(m, 40 + seed % 90);
        m.forged = true;
        refusals += refused(m.list(items));
    }
    CHECK(refusals > 1000);
}

TEST_CASE("values that are used several times are refused, where all are wanted") {
    ListMaker m;
    const Item text = m.text(std::string(4000, 'x'));
    const Bytes bytes = m.list(std::vector<Item>(100, text));
    CHECK(list_problem(bytes) != nullptr);
    const LinkedList list{std::span(bytes)};
    CHECK(list.at(99).size() == 4000);
    CHECK_THROWS_AS(list.for_each([](const TreeNode&) { return true; }), CorruptError);
    CHECK_THROWS_AS(list.check(), CorruptError);
}

TEST_CASE("a later version is refused, which is no damage") {
    ListMaker m;
    Bytes bytes = m.list(sample_elements(m, 3));
    const std::uint32_t version = 2;
    std::memcpy(bytes.data() + bytes.size() - sizeof(ListRoot) + offsetof(ListRoot, version), &version, 4);
    CHECK_THROWS_AS(LinkedList{std::span(bytes)}, VersionError);
    CHECK(list_problem(bytes) == nullptr);
}

TEST_CASE("on a shelf: what is appended makes the next version, and a scrub finds what is damaged") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    const auto findings = [&] {
        CheckOptions options;
        options.scrub = true;
        std::vector<std::string> parts;
        for (const Finding& finding : check(ns.path(), "s", options).findings) parts.push_back(finding.message());
        return parts;
    };
    BlobInfo info;
    {
        Shelf s = ns.create("s", {.capacity = 8 << 20});
        ListMaker m;
        const Bytes first = m.list(sample_elements(m, 100));
        s.put("l", first, Type::value(Kind::linked_list));
        const View old = s.get("l");
        const Bytes second = m.list(sample_elements(m, 200));
        s.append("l", std::span(second).subspan(first.size()), {{}, first.size()});
        CHECK(LinkedList(s.get("l").bytes()).size() == 200);
        CHECK(LinkedList(old.bytes()).size() == 100);
        CHECK_THROWS_AS(s.put("m", std::span(first).first(60), Type::value(Kind::linked_list)), InvalidArgumentError);
        info = *s.find("l");
    }
    CHECK(findings().empty());
    std::fstream file(scratch.path() + "/s.data", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(info.offset + info.size - 40));
    const char before = static_cast<char>(file.peek());
    file.seekp(static_cast<std::streamoff>(info.offset + info.size - 40));
    file.put(static_cast<char>(before ^ 1));
    file.close();
    REQUIRE(findings().size() == 1);
    CHECK(findings()[0].find("list") != std::string::npos);
}

TEST_CASE("replace: other bytes for the same blob, unless it is another one by now") {
    Scratch scratch;
    const Namespace ns = Namespace::open(scratch.path());
    const auto staged = [](Shelf& s, std::size_t size, char fill) {
        Staged stage = s.stage(Type::raw(), size);
        const std::string text(size, fill);
        stage.write(0, std::as_bytes(std::span(text)));
        return stage;
    };
    {
        Shelf s = ns.create("s", {.capacity = 8 << 20});
        s.put("x", staged(s, 100, 'a'));
        const BlobInfo before = *s.find("x");
        for (const std::size_t size : {5000u, 50u, 0u, 70000u}) {
            s.replace("x", staged(s, size, 'b'), before.id, s.find("x")->size);
            const BlobInfo now = *s.find("x");
            CHECK(now.id == before.id);
            CHECK(now.created == before.created);
            CHECK(now.size == size);
        }
        CHECK_THROWS_AS(s.replace("x", staged(s, 10, 'c'), before.id + 100, 70000), NotFoundError);
        CHECK_THROWS_AS(s.replace("x", staged(s, 10, 'c'), before.id, 69999), NotFoundError);
        CHECK_THROWS_AS(s.replace("y", staged(s, 10, 'c'), before.id, 70000), NotFoundError);
        s.put("x", staged(s, 70000, 'd'));
        CHECK_THROWS_AS(s.replace("x", staged(s, 10, 'c'), before.id, 70000), NotFoundError);
        CHECK(s.get("x").bytes()[69999] == std::byte{'d'});
        s.seal("x");
        CHECK_THROWS_AS(s.replace("x", staged(s, 10, 'c'), s.find("x")->id, 70000), ReadOnlyError);
        CHECK(s.size() == 1);
        s.rename("x", "z");
    }
    const Shelf s = ns.shelf("s");
    CHECK(s.find("z")->size == 70000);
    CheckOptions options;
    options.scrub = true;
    CHECK(check(ns.path(), "s", options).findings.empty());
}
