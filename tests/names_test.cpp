// Which names are legal: UTF-8 to the letter of RFC 3629, and the rules for blobs and shelves.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

#include <pymm/namespace.hpp>

#include "format/names.hpp"

using namespace pymm::format;
using namespace std::string_literals;

namespace {

std::string encode(std::uint32_t c) {
    const auto byte = [](std::uint32_t v) { return static_cast<char>(v); };
    if (c < 0x80) return {byte(c)};
    if (c < 0x800) return {byte(0xc0 | c >> 6), byte(0x80 | (c & 63))};
    if (c < 0x10000) return {byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 63)), byte(0x80 | (c & 63))};
    return {byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 63)), byte(0x80 | (c >> 6 & 63)), byte(0x80 | (c & 63))};
}

// The grammar of RFC 3629, section 4, rule by rule; a different way to the same answer.
bool by_grammar(std::string_view s) {
    std::size_t i = 0;
    const auto in = [&](std::size_t k, unsigned low, unsigned high) {
        if (k >= s.size()) return false;
        const auto c = static_cast<unsigned char>(s[k]);
        return c >= low && c <= high;
    };
    const auto tail = [&](std::size_t k) { return in(k, 0x80, 0xbf); };
    while (i < s.size()) {
        if (in(i, 0, 0x7f)) i += 1;
        else if (in(i, 0xc2, 0xdf) && tail(i + 1)) i += 2;
        else if (in(i, 0xe0, 0xe0) && in(i + 1, 0xa0, 0xbf) && tail(i + 2)) i += 3;
        else if (in(i, 0xe1, 0xec) && tail(i + 1) && tail(i + 2)) i += 3;
        else if (in(i, 0xed, 0xed) && in(i + 1, 0x80, 0x9f) && tail(i + 2)) i += 3;
        else if (in(i, 0xee, 0xef) && tail(i + 1) && tail(i + 2)) i += 3;
        else if (in(i, 0xf0, 0xf0) && in(i + 1, 0x90, 0xbf) && tail(i + 2) && tail(i + 3)) i += 4;
        else if (in(i, 0xf1, 0xf3) && tail(i + 1) && tail(i + 2) && tail(i + 3)) i += 4;
        else if (in(i, 0xf4, 0xf4) && in(i + 1, 0x80, 0x8f) && tail(i + 2) && tail(i + 3)) i += 4;
        else return false;
    }
    return true;
}

}  // namespace

TEST_CASE("every code point but the surrogates is UTF-8, and nothing above them") {
    for (std::uint32_t c = 0; c < 0x200000; ++c) {
        const bool legal = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
        if (is_utf8(encode(c)) != legal) FAIL("code point " << c);
    }
}

TEST_CASE("every sequence of up to three bytes, and every start of four, as the grammar has it") {
    for (unsigned a = 0; a < 256; ++a) {
        std::string s{static_cast<char>(a)};
        if (is_utf8(s) != by_grammar(s)) FAIL("byte " << a);
        s.resize(2);
        for (unsigned b = 0; b < 256; ++b) {
            s.resize(2);
            s[1] = static_cast<char>(b);
            if (is_utf8(s) != by_grammar(s)) FAIL("bytes " << a << " " << b);
            for (unsigned c = 0; c < 256; c += a < 0xe0 ? 51 : 1) {
                s.resize(3);
                s[2] = static_cast<char>(c);
                if (is_utf8(s) != by_grammar(s)) FAIL("bytes " << a << " " << b << " " << c);
                if (a < 0xf0) continue;
                s += '\x80';
                if (is_utf8(s) != by_grammar(s)) FAIL("bytes " << a << " " << b << " " << c << " 80");
            }
        }
    }
}

TEST_CASE("random bytes, as the grammar has it") {
    REQUIRE(rc::check([](const std::vector<std::uint8_t>& bytes) {
        const std::string s(bytes.begin(), bytes.end());
        RC_ASSERT(is_utf8(s) == by_grammar(s));
    }));
    REQUIRE(rc::check([](const std::vector<std::uint32_t>& raw) {
        std::string s;
        for (const std::uint32_t c : raw) s += encode(c % 0x110000);
        RC_ASSERT(is_utf8(s) == by_grammar(s));
        if (!s.empty()) s.pop_back();  // most likely in the middle of a character
        RC_ASSERT(is_utf8(s) == by_grammar(s));
    }));
}

TEST_CASE("blob names") {
    const std::vector<std::string> legal{
        "x", "X 1", "model/conv1.weight", "a/b/c/d", "...", "..a", "a..", ".hidden", "a/.b", "-", "\x01", "\x7f",
        "persist", "\xc3\xa4/\xe4\xbd\xa0\xe5\xa5\xbd", "\xf0\x9f\x90\xa8", "a\\b", "a b", "\xef\xbb\xbf", "C:x",
        std::string(1024, 'n'), std::string(1022, 'n') + "\xc3\xa4", "a/" + std::string(1022, 'n')};
    for (const std::string& name : legal) {
        CAPTURE(name);
        CHECK(blob_name_problem(name) == nullptr);
        CHECK_NOTHROW(pymm::check_blob_name(name));
    }
    const std::vector<std::string> illegal{
        "", "/", "/x", "x/", "x//y", ".", "..", "./x", "x/.", "x/./y", "../x", "x/..", "x/../y", "\0"s, "a\0b"s,
        "a\0"s, "\xff", "a\x80", "\xc3", "x/\xc0\xaf/y", "\xed\xa0\x80", std::string(1025, 'n'),
        std::string(1023, 'n') + "\xc3\xa4", std::string(1023, 'n') + "\xc3"};
    for (const std::string& name : illegal) {
        CAPTURE(name);
        CHECK(blob_name_problem(name) != nullptr);
        CHECK_THROWS_AS(pymm::check_blob_name(name), pymm::InvalidArgumentError);
    }
}

TEST_CASE("shelf names") {
    for (const std::string& name : {"a"s, "my shelf"s, "a.b"s, "\xc3\xa4"s, "a.map"s, "-x"s, std::string(200, 's')}) {
        CAPTURE(name);
        CHECK(shelf_name_problem(name) == nullptr);
        CHECK_NOTHROW(pymm::check_shelf_name(name));
    }
    for (const std::string& name : {""s, "."s, ".."s, ".a"s, "a/b"s, "/"s, "a\0"s, "\xff"s, std::string(201, 's')}) {
        CAPTURE(name);
        CHECK(shelf_name_problem(name) != nullptr);
        CHECK_THROWS_AS(pymm::check_shelf_name(name), pymm::InvalidArgumentError);
    }
}

TEST_CASE("illegal names in messages") {
    using pymm::format::printable_name;
    CHECK(printable_name("a/b c") == "a/b c");
    CHECK(printable_name(std::string_view("a\0b\n\x7f", 5)) == "a\\x00b\\x0a\\x7f");
    CHECK(printable_name("\xc3\xa4") == "\xc3\xa4");
    CHECK(printable_name("\xc3\xa4\xff") == "\\xc3\\xa4\\xff");
    CHECK(printable_name("") == "");
    const std::string exact(80, 'x');
    CHECK(printable_name(exact) == exact);
    CHECK(printable_name(exact + "y") == exact + "...");
    // Cut between characters, not inside one.
    CHECK(printable_name(std::string(79, 'x') + "\xc3\xa4") == std::string(79, 'x') + "...");
    CHECK(printable_name(std::string(200, '\x80')).size() < 400);
}
