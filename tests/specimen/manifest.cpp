#include "specimen/manifest.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "format/crc32c.hpp"

namespace pymm::test {

namespace {

std::string line(const std::string& name, const Type& type, std::span<const std::byte> bytes, bool sealed) {
    return fmt::format("{}\t{}\t{}\t{}\t[{}]\t[{}]\t{}\t{:08x}\t{}\n", name, kind_name(type.kind), type.dtype, type.itemsize,
                       fmt::join(type.shape, ","), fmt::join(type.strides, ","), bytes.size(),
                       crc32c(bytes.data(), bytes.size()), sealed ? "sealed" : "-");
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
