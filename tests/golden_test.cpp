// Images of shelves that earlier versions wrote, in tests/images: each opens, reads as is recorded beside it, is clean to
// fsck, and can be written to.
#include <doctest/doctest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "check/checker.hpp"
#include "format/names.hpp"
#include "sim/image_shelf.hpp"
#include "sim/ram_media.hpp"
#include "specimen/anatomy.hpp"
#include "specimen/manifest.hpp"
#include "specimen/sparse.hpp"

using namespace pymm;
using namespace pymm::test;
namespace fs = std::filesystem;

namespace {

std::string contents(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE_MESSAGE(in, path);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::set<fs::path> images() {
    const char* root = std::getenv("PYMM_SOURCE_DIR");
    REQUIRE_MESSAGE(root != nullptr, "PYMM_SOURCE_DIR: where the sources are");
    std::set<fs::path> all;
    for (const auto& item : fs::directory_iterator(std::string(root) + "/tests/images"))
        if (item.path().extension() == ".image") all.insert(item.path());
    return all;
}

Shelf open(ShelfImage& image, sim::SimLocks& locks, Mode mode) {
    auto spans = image.spans();
    return sim::open_image(spans, locks, Granularity::cache_line, mode);
}

}  // namespace

TEST_CASE("golden images read as they were written") {
    std::array<std::uint64_t, static_cast<std::size_t>(Part::count)> parts{};
    std::uint64_t sealed = 0, with_journals = 0;
    std::set<Kind> kinds;
    for (fs::path path : images()) {
        CAPTURE(path.filename().string());
        const std::string encoded = contents(path);
        ShelfImage image;
        decode_sparse(std::as_bytes(std::span(encoded)), image);
        const std::string want = contents(path.replace_extension(".txt"));
        for (const Mode mode : {Mode::read_only, Mode::read_write}) {
            sim::SimLocks locks;
            const Shelf shelf = open(image, locks, mode);
            CHECK(manifest_of(shelf) == want);
            for (const BlobInfo& info : shelf.list()) {
                sealed += info.sealed;
                kinds.insert(info.type.kind);
            }
            sim::inspect_shelf(shelf, [&](Catalogue& catalogue) {
                format::EntryView entry;
                with_journals += catalogue.find(format::journal_name(1), entry);
                CHECK((mode == Mode::read_only || !catalogue.find(format::journal_name(0), entry)));
            });
        }
        const Anatomy anatomy = dissect(image);
        for (const Part p : anatomy.map) ++parts[static_cast<std::size_t>(p)];
        for (const Part p : anatomy.data) ++parts[static_cast<std::size_t>(p)];

        sim::RamMedia map("map", image.map, Granularity::cache_line, false), data("data", image.data, Granularity::cache_line, false);
        CheckOptions options;
        options.scrub = true;
        const CheckReport report = check_media({map, data, nullptr, false, {}}, options);
        CHECK(report.uncorrected() == 0);

        sim::SimLocks locks;
        Shelf shelf = open(image, locks, Mode::read_write);
        const std::vector<std::byte> value(5000, std::byte{7});
        shelf.put("~written", value);
        shelf.close();
        shelf = open(image, locks, Mode::read_only);
        CHECK(shelf.get("~written").bytes()[4999] == std::byte{7});
        CHECK(manifest_of(shelf).starts_with(want));  // a tilde is behind all names
    }
    // Together they hold every structure of the format.
    for (std::size_t i = 0; i < parts.size(); ++i) {
        CAPTURE(part_name(static_cast<Part>(i)));
        CHECK(parts[i] != 0);
    }
    CHECK(sealed != 0);
    CHECK(with_journals == 1);
    for (const Kind kind : {Kind::ndarray, Kind::scalar, Kind::string, Kind::tree, Kind::pickled, Kind::linked_list})
        CHECK(kinds.contains(kind));
}
