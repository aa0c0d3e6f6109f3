// Negative controls of the power-cut tests: each leaves out one thing that crash safety rests on, and must
// be caught. A suite that does not fail them proves nothing.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "format/crc32c.hpp"
#include "format/layout.hpp"
#include "format/superblock.hpp"
#include "sim/workloads.hpp"

using namespace pymm;
using namespace pymm::sim;

namespace {

/// What nobody misses at once when it is left out. The second copy of a superblock only guards against
/// damage to the first; `used` in the data file's header only guides salvage.
bool redundant(const std::string& skipped) {
    return skipped.find("write of map+") != std::string::npos ||
           skipped.find("write of data+0,") != std::string::npos;
}

struct Control {
    std::uint64_t tried = 0;
    std::uint64_t caught = 0;
    std::vector<std::string> missed;  // the redundant ones not counted
};

/// Leaves each flush, or each drain, out once.
Control leave_out(std::uint64_t Options::* what, Granularity granularity, const Workload& workload = everything) {
    const auto counted = [what](CrashRun& crash) {
        return what == &Options::skip_flush ? crash.machine().flushes() : crash.machine().drains();
    };
    CrashOptions options = options_for("control", granularity);
    options.images = 1;
    options.checksum = true;
    options.log_size = 32 << 10;  // checkpoints at sessions only: else their fences cover for others
    CrashRun counting(options);
    const std::uint64_t first = counted(counting) + 1;  // creation is not cut
    workload(counting);
    REQUIRE(counting.failure() == "");
    const std::uint64_t last = counted(counting);

    options.images = 24;
    options.write_again_every = 4;
    options.recut_every = 0;
    Control control;
    for (std::uint64_t k = first; k <= last; ++k) {
        options.machine.*what = k;
        CrashRun crash(options);
        workload(crash);
        add(crash.totals());
        ++control.tried;
        if (!crash.failure().empty()) ++control.caught;
        else if (!redundant(crash.machine().skipped())) control.missed.push_back(crash.machine().skipped());
    }
    return control;
}

void report(const std::string& what, const Control& control) {
    MESSAGE(what << " left out: " << control.tried << ", caught: " << control.caught);
    for (const std::string& missed : control.missed) MESSAGE("not caught: " << missed);
    CHECK(control.missed.empty());
    CHECK(control.caught * 10 >= control.tried * 8);
}

/// What a recovery without checksums would take for a commit: makes the checksum right of whatever
/// looks like the next one.
void mend_checksums(Image& image) {
    std::byte* data = image.media[1].data();
    const auto root = format::choose_superblock(image.media[0]).best;
    if (!root) return;
    std::uint64_t at = root->log_offset;
    const std::uint64_t end = at + root->log_size;
    for (std::uint64_t sequence = root->sequence + 1; at + sizeof(format::CommitHeader) <= end; ++sequence) {
        format::CommitHeader header;
        std::memcpy(&header, data + at, sizeof header);
        if (header.magic != format::kCommitMagic || header.salt != root->log_salt ||
            header.sequence != sequence || header.size < sizeof header || header.size > end - at)
            return;
        header.crc = 0;
        std::memcpy(data + at, &header, sizeof header);
        header.crc = crc32c(data + at, header.size);
        std::memcpy(data + at, &header, sizeof header);
        at += (header.size + format::kLine - 1) / format::kLine * format::kLine;
    }
}

}  // namespace

TEST_CASE("control: each flush or fence left out is caught") {
    report("line granularity: flushes", leave_out(&Options::skip_flush, Granularity::cache_line));
    report("line granularity: fences", leave_out(&Options::skip_drain, Granularity::cache_line));
    report("page granularity: syncs", leave_out(&Options::skip_flush, Granularity::page));
}

TEST_CASE("control: each flush of transactions left out is caught") {
    report("line granularity: flushes", leave_out(&Options::skip_flush, Granularity::cache_line, transact));
    report("line granularity: fences", leave_out(&Options::skip_drain, Granularity::cache_line, transact));
    report("page granularity: syncs", leave_out(&Options::skip_flush, Granularity::page, transact));
}

TEST_CASE("control: each flush of a rollback left out is caught") {
    report("line granularity: flushes", leave_out(&Options::skip_flush, Granularity::cache_line, roll_back));
    report("page granularity: syncs", leave_out(&Options::skip_flush, Granularity::page, roll_back));
}

TEST_CASE("control: a recovery without checksums is caught") {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for("no-checksum", granularity);
        options.tamper = mend_checksums;
        const std::string caught = run(options, everything);
        CHECK(caught != "");
        MESSAGE(caught);
    }
}

TEST_CASE("control: superblocks that do not alternate are caught") {
    for (const Granularity granularity : {Granularity::cache_line, Granularity::page}) {
        CrashOptions options = options_for("one-superblock", granularity);
        options.one_superblock = true;
        const std::string caught = run(options, everything);
        CHECK(caught != "");
        MESSAGE(caught);
    }
}

TEST_CASE("control: coverage") { MESSAGE(coverage()); }
