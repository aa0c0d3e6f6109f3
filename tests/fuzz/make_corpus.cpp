// Writes the fuzzer's seed corpus: make_corpus FOLDER. Salts and times are drawn anew, so each run gives other bytes.
#include <cstdio>
#include <fstream>

#include "specimen/sparse.hpp"
#include "specimen/specimen.hpp"

using namespace pymm::test;

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: make_corpus FOLDER\n");
        return 2;
    }
    for (const Specimen& s : corpus_specimens()) {
        const std::vector<std::byte> bytes = encode_sparse(s.image);
        std::ofstream out(std::string(argv[1]) + "/" + s.name, std::ios::binary);
        out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        if (!out.flush()) {
            std::perror(s.name.c_str());
            return 1;
        }
    }
}
