#include "check/checker.hpp"

#include "check/image.hpp"

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

}  // namespace

CheckReport check_media(const CheckTarget& target, const CheckOptions& options) {
    CheckReport report;
    Image image(target, options, report);
    look(image);
    return report;
}

}  // namespace pymm
