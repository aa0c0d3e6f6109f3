#include "literal.hpp"

#include <charconv>
#include <optional>
#include <utility>

namespace pymmctl {
namespace {

// A structured dtype of structured dtypes of ... : far more than anybody has.
constexpr int max_depth = 64;

class Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    Literal whole() {
        Literal value = parse(0);
        skip_space();
        if (at_ != text_.size()) fail("something follows the value");
        return value;
    }

private:
    [[noreturn]] void fail(const std::string& what) const {
        throw LiteralError(what + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    // What Python's tokenizer skips inside brackets: no vertical tab.
    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\n\f\r").find(peek()) != std::string_view::npos) ++at_;
    }

    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }

    Literal parse(int depth) {
        if (depth > max_depth) fail("nested too deeply");
        skip_space();
        const std::size_t begin = at_;
        Literal value;
        const char c = peek();
        if (c == '\'' || c == '"') {
            value.is = Literal::Is::text;
            value.text = string();
        } else if (c == '(') {
            value = sequence(')', depth);
        } else if (c == '[') {
            value = sequence(']', depth);
        } else if (c == '{') {
            value = dict(depth);
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            value.is = Literal::Is::integer;
            value.number = integer();
        } else if (take("True")) {
            value.is = Literal::Is::boolean;
            value.number = 1;
        } else if (take("False")) {
            value.is = Literal::Is::boolean;
        } else if (!take("None")) {
            fail("no literal");
        }
        if (value.source.empty())  // (x) is x, also as source
            value.source = text_.substr(begin, at_ - begin);
        return value;
    }

    Literal sequence(char close, int depth) {
        Literal value;
        value.is = close == ')' ? Literal::Is::tuple : Literal::Is::list;
        ++at_;
        bool comma = true;
        for (;;) {
            skip_space();
            if (peek() == close) break;
            if (!comma) fail("a comma is missing");
            value.items.push_back(parse(depth + 1));
            skip_space();
            comma = take(",");
        }
        ++at_;
        // (x) is x: only a comma makes a tuple of one.
        if (close == ')' && value.items.size() == 1 && !comma)
            return Literal(std::move(value.items.front()));
        return value;
    }

    Literal dict(int depth) {
        Literal value;
        value.is = Literal::Is::dict;
        ++at_;
        bool comma = true;
        for (;;) {
            skip_space();
            if (take("}")) return value;
            if (!comma) fail("a comma is missing");
            value.items.push_back(parse(depth + 1));
            skip_space();
            if (!take(":")) fail("a colon is missing");
            value.items.push_back(parse(depth + 1));
            skip_space();
            comma = take(",");
        }
    }

    std::int64_t integer() {
        std::int64_t number = 0;
        const auto [end, error] =
            std::from_chars(text_.data() + at_, text_.data() + text_.size(), number);
        if (error != std::errc()) fail("no integer of 64 bits");
        at_ = static_cast<std::size_t>(end - text_.data());
        take("L");  // Python 2 wrote long integers so
        return number;
    }

    std::uint32_t hexadecimal(std::size_t digits) {
        std::uint32_t code = 0;
        if (text_.size() - at_ < digits) fail("an escape is cut off");
        const char* const begin = text_.data() + at_;
        const auto [end, error] = std::from_chars(begin, begin + digits, code, 16);
        if (error != std::errc() || end != begin + digits) fail("bad escape");
        at_ += digits;
        return code;
    }

    std::string string() {
        std::string out;
        const char quote = text_[at_++];
        for (;;) {
            if (at_ == text_.size()) fail("a string does not end");
            const char c = text_[at_++];
            if (c == quote) return out;
            if (c == '\n' || c == '\0') fail("a string holds a line end or NUL");
            if (c != '\\') {
                out += c;
                continue;
            }
            const char escaped = peek();
            ++at_;
            std::optional<std::uint32_t> code;
            switch (escaped) {
                case '\\':
                case '\'':
                case '"': out += escaped; break;
                case 'n': out += '\n'; break;
                case 't': out += '\t'; break;
                case 'r': out += '\r'; break;
                case 'x': code = hexadecimal(2); break;
                case 'u': code = hexadecimal(4); break;
                case 'U': code = hexadecimal(8); break;
                default: --at_; fail("unknown escape");
            }
            if (code) {
                if (*code == 0 || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000))
                    fail("no character");
                append_utf8(out, *code);
            }
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

Literal parse_literal(std::string_view text) { return Parser(text).whole(); }

void append_utf8(std::string& out, std::uint32_t c) {
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (c < 0x80) return put(c);
    if (c < 0x800) {
        put(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            put(0xe0 | c >> 12);
        } else {
            put(0xf0 | c >> 18);
            put(0x80 | (c >> 12 & 0x3f));
        }
        put(0x80 | (c >> 6 & 0x3f));
    }
    put(0x80 | (c & 0x3f));
}

}  // namespace pymmctl
