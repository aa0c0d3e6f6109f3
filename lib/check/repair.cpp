#include "check/repair.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "catalogue/catalogue.hpp"
#include "check/entry_stream.hpp"
#include "check/rebuild.hpp"
#include "check/salvage.hpp"

namespace pymm {

using namespace format;

namespace {

Plan plan_of(const Image& image) {
    Plan plan;
    plan.capacity = image.target.data.size() & ~(kPage - 1);
    if (image.root) {
        plan.base = *image.root;
        plan.base.sequence = image.sequence;
        plan.base.base_log_size = std::min(plan.base.base_log_size, plan.capacity);
    } else {
        plan.base.created_ns =
            static_cast<std::uint64_t>(Clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
        plan.base.base_log_size = Catalogue::default_log_size(plan.capacity);
        plan.base.generation = image.generation;
        plan.base.next_run_id = 1;
    }
    return plan;
}

// The entries are sound; all that is derived from them is made anew.
void rebuild_accounts(Image& image) {
    Plan plan = plan_of(image);
    std::sort(image.bad_headers.begin(), image.bad_headers.end());
    if (!image.bad_headers.empty())
        for (EntryStream stream(image); stream.next();) {
            const EntryView& entry = stream.entry();
            if (entry.tombstone() ||
                !std::binary_search(image.bad_headers.begin(), image.bad_headers.end(), entry.name))
                continue;
            NewEntry fresh;
            fresh.name = entry.name;
            fresh.fixed = entry.fixed;
            fresh.type.assign(entry.type.begin(), entry.type.end());
            fresh.new_header = true;
            plan.left_out.insert(fresh.name);
            plan.extra.push_back(std::move(fresh));
        }
    rebuild(image, plan);
}

bool rebuild_catalogue(Image& image) {
    const bool guessed = !image.root;
    Plan plan = plan_of(image);
    if (guessed && !reconstruct(image, plan)) return false;
    salvage(image, plan, guessed);
    rebuild(image, plan);
    return true;
}

// Before the other copy is written over, the one that counts is made durable; then both are the same.
void write_copies(Image& image) {
    Media& map = image.target.map;
    if (image.reporter.errors(Cure::superblock) != 0) save_replaced(image, {});
    for (const int i : {image.root_index, 1 - image.root_index}) {
        map.write(kSuperblockOffset[i], &*image.root, sizeof(Superblock));
        map.drain();
    }
    image.report.repaired = true;
}

void fold(Image& image) {
    // What a writer's next session would do.
    Catalogue catalogue(image.target.map, image.target.data, nullptr);
    catalogue.begin_session();
    catalogue.close_session();
    image.report.repaired = true;
}

}  // namespace

bool repair(Image& image) {
    Reporter& reporter = image.reporter;
    const bool all = image.options.repair == Repair::all;
    if (image.options.repair == Repair::none || image.mixed) return false;
    const std::string anew = "a new catalogue was written";
    if (reporter.errors(Cure::catalogue) != 0) {
        if (all) {
            if (!rebuild_catalogue(image)) return false;
            for (const Cure cure : {Cure::catalogue, Cure::accounts, Cure::header, Cure::fold, Cure::superblock,
                                    Cure::data_header})
                reporter.cured(cure, anew);
            return true;
        }
    } else if (reporter.errors(Cure::accounts) + reporter.errors(Cure::header) != 0) {
        rebuild_accounts(image);
        for (const Cure cure : {Cure::accounts, Cure::header, Cure::fold, Cure::superblock, Cure::data_header})
            reporter.cured(cure, anew);
        return true;
    }
    if (!image.root) return false;
    bool changed = false;
    if (reporter.any(Cure::superblock)) {
        write_copies(image);
        reporter.cured(Cure::superblock, "written again from the other copy");
        changed = true;
    }
    // Nothing else proves that the two files belong together.
    if (reporter.any(Cure::data_header) && reporter.errors(Cure::catalogue) == 0) {
        save_replaced(image, {});
        write_data_header(image, image.root->uuid, image.root->capacity);
        reporter.cured(Cure::data_header, "written again from the superblock");
        changed = image.report.repaired = true;
    }
    if (reporter.any(Cure::fold) && reporter.errors(Cure::catalogue) == 0) {
        fold(image);
        reporter.cured(Cure::fold, "folded into the catalogue, which was closed cleanly");
        changed = true;
    }
    return changed;
}

}  // namespace pymm
