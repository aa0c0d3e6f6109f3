// The fuzzer's corpus and what it once found, without the fuzzer; and some mutations of the corpus, the same ones in
// each run. PYMM_FUZZ_SEED=N makes only mutant N, and with PYMM_FUZZ_SAVE=FILE writes it there, for tests/fuzz/crashes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/mutate.hpp"
#include "sim/image_shelf.hpp"
#include "specimen/exercise.hpp"
#include "specimen/sparse.hpp"
#include "specimen/specimen.hpp"

using namespace pymm;
using namespace pymm::test;
namespace fs = std::filesystem;

namespace {

struct Input {
    std::string name;
    std::vector<std::byte> bytes;
};

std::vector<Input> inputs(const std::string& folder) {
    const char* root = std::getenv("PYMM_SOURCE_DIR");
    REQUIRE_MESSAGE(root != nullptr, "PYMM_SOURCE_DIR: where the sources are");
    std::vector<Input> all;
    for (const auto& item : fs::directory_iterator(std::string(root) + "/tests/fuzz/" + folder)) {
        if (item.path().extension() == ".md") continue;
        std::ifstream in(item.path(), std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        const auto bytes = std::as_bytes(std::span(text));
        all.push_back({item.path().filename().string(), {bytes.begin(), bytes.end()}});
    }
    std::sort(all.begin(), all.end(), [](const Input& a, const Input& b) { return a.name < b.name; });
    return all;
}

bool equal(const ShelfImage& a, const ShelfImage& b) {
    const auto same = [](const PageBytes& x, const PageBytes& y) {
        return x.size() == y.size() && std::equal(x.data(), x.data() + x.size(), y.data());
    };
    return same(a.map, b.map) && same(a.data, b.data);
}

}  // namespace

TEST_CASE("the sparse encoding gives back what went in, and takes anything") {
    for (const Specimen& s : all_specimens()) {
        CAPTURE(s.name);
        ShelfImage image;
        decode_sparse(encode_sparse(s.image), image);
        CHECK(equal(image, s.image));
        const std::vector<std::byte> bytes = encode_sparse(s.image);
        for (std::size_t cut = 0; cut < bytes.size(); cut += bytes.size() / 50 + 1) decode_sparse(std::span(bytes).first(cut), image);
    }
    std::minstd_rand random(7);
    for (int i = 0; i < 200; ++i) {
        std::vector<std::byte> bytes(random() % 300);
        for (std::byte& b : bytes) b = static_cast<std::byte>(random());
        ShelfImage image, again;
        decode_sparse(bytes, image);
        decode_sparse(encode_sparse(image), again);
        CHECK(equal(image, again));
    }
}

TEST_CASE("the corpus holds what the specimens are") {
    const std::vector<Input> corpus = inputs("corpus");
    for (const Specimen& s : corpus_specimens()) {
        CAPTURE(s.name);
        const auto found = std::find_if(corpus.begin(), corpus.end(), [&](const Input& i) { return i.name == s.name; });
        REQUIRE(found != corpus.end());
        ShelfImage image;
        decode_sparse(found->bytes, image);
        sim::SimLocks locks;
        auto spans = image.spans();
        CHECK(sim::compare(sim::open_image(spans, locks, Granularity::cache_line, Mode::read_only), s.model) == "");
    }
}

TEST_CASE("inputs of the corpus, and those that once did harm") {
    std::size_t opened = 0;
    for (const char* folder : {"corpus", "crashes"})
        for (const Input& input : inputs(folder)) {
            CAPTURE(input.name);
            ShelfImage image;
            decode_sparse(input.bytes, image);
            opened += exercise(image).opened;
        }
    CHECK(opened != 0);
}

TEST_CASE("mutations of the corpus") {
    const char* text = std::getenv("PYMM_FUZZ_SEED");
    const unsigned first = text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 1;
    const unsigned rounds = text != nullptr ? 1 : std::getenv("PYMM_TEST_LONG") != nullptr ? 20000 : 500;
    const std::vector<Input> corpus = inputs("corpus");
    Exercised sum;
    std::uint64_t opened = 0, written = 0, found = 0, repaired = 0;
    ShelfImage image;
    for (unsigned seed = first; seed < first + rounds; ++seed) {
        CAPTURE(seed);
        std::minstd_rand random(seed);
        decode_sparse(corpus[seed % corpus.size()].bytes, image);
        for (unsigned n = random() % 3 + 1; n > 0; --n) mutate(image, random);
        if (const char* save = std::getenv("PYMM_FUZZ_SAVE"); save != nullptr && text != nullptr) {
            const std::vector<std::byte> bytes = encode_sparse(image);
            std::ofstream(save, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        }
        const Exercised done = exercise(image);
        opened += done.opened, written += done.written, found += done.findings != 0, repaired += done.repaired;
        sum.blobs += done.blobs;
    }
    MESSAGE(rounds << " mutants: " << opened << " opened, " << sum.blobs << " blobs read, " << written << " written to, " << found
                   << " with findings, " << repaired << " repaired");
    if (rounds > 1) CHECK(opened != 0);
}
