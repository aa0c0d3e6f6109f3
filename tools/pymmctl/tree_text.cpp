#include "tree_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include <pymm/list.hpp>
#include <pymm/tree.hpp>

#include "json.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

constexpr std::size_t kMostText = 64 << 10;  // of all
constexpr std::size_t kMostBytes = 4096;     // of one text or bytes

bool is_text(std::string_view text) { return is_utf8(std::as_bytes(std::span(text))); }

/// Python's notation. Where the bytes are text, characters beyond ASCII are themselves.
std::string quoted(std::string_view bytes, bool text) {
    const std::size_t all = bytes.size();
    std::size_t end = std::min(all, kMostBytes);
    if (text)  // not within a character
        while (end != 0 && end < all && (static_cast<unsigned char>(bytes[end]) & 0xc0) == 0x80) --end;
    bytes = bytes.substr(0, end);
    const bool plain = text && is_text(bytes);
    std::string out = text ? "'" : "b'";
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto c = static_cast<unsigned char>(bytes[i]);
        const auto next = i + 1 < bytes.size() ? static_cast<unsigned char>(bytes[i + 1]) : 0u;
        if (c == '\\' || c == '\'') (out += '\\') += static_cast<char>(c);
        else if (c == '\n') out += "\\n";
        else if (c == '\t') out += "\\t";
        else if (c == '\r') out += "\\r";
        else if (plain && c == 0xc2 && next < 0xa0) out += fmt::format("\\x{:02x}", next), ++i;  // C1 controls
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !plain)) out += fmt::format("\\x{:02x}", c);
        else out += static_cast<char>(c);
    }
    out += "'";
    return bytes.size() < all ? out + "..." : out;
}

std::string leaf_text(const pymm::TreeNode& node) {
    std::string text;
    switch (node.kind()) {
        case pymm::TreeKind::string: return quoted(node.text(), true);
        case pymm::TreeKind::bytes: {
            const auto bytes = node.bytes();
            return quoted({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, false);
        }
        case pymm::TreeKind::ndarray:
        case pymm::TreeKind::tensor:
            return fmt::format("{}({}, {})", node.kind() == pymm::TreeKind::tensor ? "tensor" : "array",
                               shape_text(node.type()), quoted(node.type().element(), true));
        default:
            if (value_text(node.type(), node.bytes(), text)) return text;
            return fmt::format("scalar({})", quoted(node.type().dtype, true));
    }
}

/// The name of an object as it is, where it is one.
std::string plain_name(std::string_view name) {
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    });
    return plain && !name.empty() && name.size() <= 80 ? std::string(name) : "object " + quoted(name, true);
}

/// False when it became too long.
bool append(std::string& out, const pymm::TreeNode& node) {
    if (out.size() > kMostText) {
        out += "...";
        return false;
    }
    if (!node.is_container()) {
        out += leaf_text(node);
        return true;
    }
    if (node.is_object()) {
        const pymm::TreeNode name = node.at(0);
        (out += plain_name(name.text())) += '(';
        if (!append(out, node.at(1))) return false;
        out += ')';
        return true;
    }
    const bool tuple = node.kind() == pymm::TreeKind::tuple;
    const std::string_view brackets = node.is_dict() ? "{}" : tuple ? "()" : "[]";
    if (node.kind() == pymm::TreeKind::ordered_dict) out += "OrderedDict(";
    out += brackets[0];
    for (std::uint64_t i = 0; i < node.size(); ++i) {
        if (i != 0) out += ", ";
        if (node.is_dict()) {
            if (!append(out, node.key(i))) return false;
            out += ": ";
        }
        if (!append(out, node.at(i))) return false;
    }
    if (tuple && node.size() == 1) out += ',';
    out += brackets[1];
    if (node.kind() == pymm::TreeKind::ordered_dict) out += ')';
    return true;
}

bool has_text_keys(const pymm::TreeNode& dict) {
    for (std::uint64_t i = 0; i < dict.size(); ++i)
        if (dict.key(i).kind() != pymm::TreeKind::string) return false;
    return true;
}

std::string text_json(const pymm::TreeNode& node) { return quoted_json(std::string(node.text())); }

std::string leaf_json(const pymm::TreeNode& node) {
    const auto bytes = node.bytes();
    switch (node.kind()) {
        case pymm::TreeKind::string: return text_json(node);
        case pymm::TreeKind::none: return "null";
        case pymm::TreeKind::boolean: return bytes[0] == std::byte{0} ? "false" : "true";
        case pymm::TreeKind::integer:
            if (bytes.size() <= 8) return leaf_text(node);
            break;
        case pymm::TreeKind::real: {
            double value;
            std::memcpy(&value, bytes.data(), sizeof value);
            if (std::isfinite(value)) return leaf_text(node);
            break;
        }
        case pymm::TreeKind::ndarray:
        case pymm::TreeKind::tensor: {
            std::string shape;
            for (const std::int64_t n : node.type().shape) shape += fmt::format("{}{}", shape.empty() ? "" : ",", n);
            return fmt::format(R"({{"dtype":{},"shape":[{}]}})", quoted_json(std::string(node.type().element())), shape);
        }
        default: break;
    }
    return quoted_json(leaf_text(node));
}

void append_json(std::string& out, const pymm::TreeNode& node) {
    if (!node.is_container()) {
        out += leaf_json(node);
        return;
    }
    if (node.is_object()) {
        const pymm::TreeNode name = node.at(0);
        (out += R"({"object":)") += text_json(name);
        out += R"(,"parts":)";
        append_json(out, node.at(1));
        out += '}';
        return;
    }
    const bool object = node.is_dict() && has_text_keys(node);
    out += object ? '{' : '[';
    for (std::uint64_t i = 0; i < node.size(); ++i) {
        if (i != 0) out += ',';
        if (object) (out += text_json(node.key(i))) += ':';
        else if (node.is_dict()) {
            out += '[';
            append_json(out, node.key(i));
            out += ',';
        }
        append_json(out, node.at(i));
        if (node.is_dict() && !object) out += ']';
    }
    out += object ? '}' : ']';
}

}  // namespace

std::string tree_text(std::span<const std::byte> bytes) {
    std::string out;
    append(out, pymm::Tree(bytes).root());
    return out;
}

std::string list_text(std::span<const std::byte> bytes) {
    std::string out = "[";
    pymm::LinkedList(bytes).for_each([&](const pymm::TreeNode& element) {
        if (out.size() > 1) out += ", ";
        return append(out, element);
    });
    return out.ends_with("...") && out.size() > kMostText ? out : out + "]";
}

std::string list_json(std::span<const std::byte> bytes) {
    const pymm::LinkedList list(bytes);
    list.check();  // that it ends
    std::string out = "[";
    list.for_each([&](const pymm::TreeNode& element) {
        if (out.size() > 1) out += ',';
        append_json(out, element);
        return true;
    });
    return out + "]";
}

std::string tree_object(std::span<const std::byte> bytes) {
    const pymm::TreeNode root = pymm::Tree(bytes).root();
    if (!root.is_object()) return {};
    const pymm::TreeNode name = root.at(0);
    return plain_name(name.text());
}

std::string tree_json(std::span<const std::byte> bytes) {
    const pymm::Tree tree(bytes);
    tree.check();  // that it ends
    std::string out;
    append_json(out, tree.root());
    return out;
}

}  // namespace pymmctl
