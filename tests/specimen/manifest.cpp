#include "specimen/manifest.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <pymm/list.hpp>
#include <pymm/tree.hpp>

#include "format/crc32c.hpp"

namespace pymm::test {

namespace {

/// What is in a container, a line for each node.
std::string contents(Kind kind, std::span<const std::byte> bytes) {
    std::string text;
    const auto node = [&](const TreeNode& n, unsigned depth) {
        const std::string_view name = n.is_container() ? std::string_view() : kind_name(static_cast<Kind>(n.kind()));
        text += fmt::format("\t{:>{}}{} {}", "", depth, static_cast<int>(n.kind()), n.size());
        if (!n.is_container())
            text += fmt::format(" {} {} {:08x}", name, n.type().dtype, crc32c(n.bytes().data(), n.bytes().size()));
        text += '\n';
        return true;
    };
    if (kind == Kind::tree || kind == Kind::pickled) {
        const Tree tree(bytes);
        tree.check();
        tree.walk(node);
    } else if (kind == Kind::linked_list) {
        const LinkedList list(bytes);
        list.check();
        list.for_each([&](const TreeNode& n) { return node(n, 1); });
    }
    return text;
}

std::string line(const std::string& name, const Type& type, std::span<const std::byte> bytes, bool sealed) {
    return fmt::format("{}\t{}\t{}\t{}\t[{}]\t[{}]\t{}\t{:08x}\t{}\n", name, kind_name(type.kind), type.dtype, type.itemsize,
                       fmt::join(type.shape, ","), fmt::join(type.strides, ","), bytes.size(),
                       crc32c(bytes.data(), bytes.size()), sealed ? "sealed" : "-") +
           contents(type.kind, bytes);
}

}  // namespace

std::string manifest_of(const sim::State& model) {
    std::string text;
    for (const auto& [name, value] : model) text += line(name, value.type, value.bytes, value.sealed);
    return text;
}

std::string manifest_of(const Shelf& shelf) {
    std::string text;
    for (const BlobInfo& info : shelf.list()) text += line(info.name, info.type, shelf.get(info.name).bytes(), info.sealed);
    return text;
}

}  // namespace pymm::test
