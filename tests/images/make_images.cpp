// Writes golden images of today's format: make_images FOLDER. For a new version of the format, in a folder of its own; those
// of a version that was released are never made again.
#include <cstdio>
#include <fstream>

#include "format/layout.hpp"
#include "sim/image_shelf.hpp"
#include "specimen/manifest.hpp"
#include "specimen/sparse.hpp"
#include "specimen/specimen.hpp"

using namespace pymm;
using namespace pymm::test;

namespace {

/// Written to once more and closed: runs and a clean, empty log.
Specimen closed(Specimen s, const char* name) {
    s.name = name;
    sim::SimLocks locks;
    auto spans = s.image.spans();
    Shelf shelf = sim::open_image(spans, locks, Granularity::cache_line, Mode::read_write);
    const sim::Value& value = s.model.at("real");
    shelf.put("real", value.bytes, value.type);
    shelf.close();
    return s;
}

bool write(const std::string& path, std::span<const std::byte> bytes) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return static_cast<bool>(out.flush());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: make_images FOLDER\n");
        return 2;
    }
    for (const Specimen& s : {fresh_specimen(), closed(small_specimen(), "closed"), checksum_specimen(), open_specimen(),
                              closed(container_specimen(), "containers"), transaction_specimen()}) {
        const std::string base = std::string(argv[1]) + "/v" + std::to_string(format::kVersion) + "-" + s.name;
        const std::string manifest = manifest_of(s.model);
        if (!write(base + ".image", encode_sparse(s.image)) || !write(base + ".txt", std::as_bytes(std::span(manifest)))) {
            std::perror(base.c_str());
            return 1;
        }
    }
}
