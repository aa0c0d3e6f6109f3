#include "check/checker.hpp"

#include <algorithm>

#include "check/image.hpp"
#include "check/repair.hpp"

namespace pymm {

using namespace format;

namespace {

void look(Image& image) {
    check_root(image);
    if (!image.root || image.mixed) return;
    const Superblock& root = *image.root;
    image.total = root.log_size;
    for (std::uint32_t i = 0; i < root.run_count; ++i) image.total += root.runs[i].size;
    // An estimate; what blobs do not use of their extents is never read.
    if (image.options.scrub) image.total += root.used;
    check_log(image);
    check_runs(image);
    check_entries(image);
    check_space(image);
    image.progress(image.total);
}

// The shelf as it is after a repair: figures from a look of its own, and what is still wrong.
void look_again(const CheckTarget& target, CheckReport& report) {
    CheckTarget now{target.map, target.data, target.lease, false, {}};
    CheckReport after;
    CheckOptions quiet;
    Image image(now, quiet, after);
    look(image);
    report.blobs = after.blobs;
    report.bytes = after.bytes;
    report.metadata = after.metadata;
    for (Finding& f : after.findings) {
        const bool known = std::any_of(report.findings.begin(), report.findings.end(), [&](const Finding& before) {
            return !before.corrected && before.structure == f.structure && before.offset == f.offset;
        });
        if (!known && f.severity == Severity::error) report.findings.push_back(std::move(f));
    }
}

}  // namespace

CheckReport check_media(const CheckTarget& target, const CheckOptions& options) {
    CheckReport report;
    {
        Image image(target, options, report);
        look(image);
        if (!repair(image)) return report;
    }
    look_again(target, report);
    return report;
}

}  // namespace pymm
