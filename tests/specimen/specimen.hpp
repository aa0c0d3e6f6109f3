// Specimens: small shelves that hold every kind of record, as files in memory, with what they must read as.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/crash_run.hpp"
#include "specimen/image.hpp"

namespace pymm::test {

struct Specimen {
    std::string name;
    ShelfImage image;
    sim::State model;
    /// Without the last commit of the log: what damage to that one may bring back, as it cannot be told from
    /// a commit that was cut short.
    std::optional<sim::State> before_last;
};

/// Just formatted, nothing in it.
Specimen fresh_specimen();
/// Closed cleanly: several runs, one of them with index pages, and an empty log.
Specimen clean_specimen();
/// Copied while a writer had it open: runs, and a log with a commit of each kind of record.
Specimen open_specimen();
/// The power went between the writing of the two superblocks of a checkpoint.
Specimen switched_specimen();
/// In a smaller shelf, one value of each kind, and a few commits in the log.
Specimen small_specimen();
/// The same with content checksums and sealed blobs.
Specimen checksum_specimen();

/// Containers: trees, one of them an object, a pickled one, a linked list of two versions, and an array that was appended to.
Specimen container_specimen();
/// Copied in a transaction, when memory had been stored to: several journals, with one range and with more, a value that no
/// commit names yet. The model is what was there before it.
Specimen transaction_specimen();

/// Those that the sweeps damage byte by byte: all but the last two, which have nothing more outside of blobs' data.
std::vector<Specimen> all_specimens();
/// Those of the fuzzer's corpus, tests/fuzz/corpus.
std::vector<Specimen> corpus_specimens();

}  // namespace pymm::test
