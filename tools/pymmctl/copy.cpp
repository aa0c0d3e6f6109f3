#include "copy.hpp"

#include "failure.hpp"
#include "transfer.hpp"

namespace pymmctl {

Location locate_target_blob(const std::string& path, const Location& from) {
    Location to = locate(path);
    if (to.is_namespace())
        throw Failure(Exit::usage, path + ": names a namespace: give NAMESPACE/SHELF[/BLOB]");
    if (to.is_shelf()) to.blob = from.blob;
    return to;
}

void check_target(const pymm::Shelf& shelf, const Location& to, bool replace) {
    pymm::check_blob_name(to.blob);
    if (!replace && shelf.contains(to.blob))
        throw Failure(Exit::exists, to.given + ": exists: not replaced");
}

void copy_blob(const pymm::Shelf& source, const Location& from, pymm::Shelf& target,
               const Location& to, bool replace, const Context& context) {
    find_blob(source, from);
    const pymm::View view = source.get(from.blob);
    check_target(target, to, replace);
    const auto bytes = view.bytes();
    if (bytes.size() < stage_from) {
        view.check_readable();
        target.put(to.blob, bytes, view.type());
    } else {
        Progress progress(context.quiet, from.blob, bytes.size());
        target.put(to.blob, stage_copy(target, view, progress));
    }
}

void copy_all(const pymm::Shelf& source, pymm::Shelf& target, const Context& context) {
    const std::vector<pymm::BlobInfo> blobs = source.list();
    std::uint64_t total = 0;
    for (const auto& info : blobs) total += info.size;
    Progress progress(context.quiet, source.name(), total);

    // Many small blobs share a commit: on ordinary disks each one is a synced write.
    constexpr std::size_t most_blobs = 256;
    constexpr std::uint64_t most_bytes = 64u << 20;
    auto batch = std::make_unique<pymm::Batch>(target.batch());
    std::uint64_t batched = 0;
    const auto commit = [&] {
        if (batch->size() > 0) batch->commit();
        batch = std::make_unique<pymm::Batch>(target.batch());
        batched = 0;
    };
    for (const auto& info : blobs) {
        std::optional<pymm::View> view;
        try {
            view = source.get(info.name);
        } catch (const pymm::NotFoundError&) {
            continue;  // another process erased it since we listed it
        }
        const auto bytes = view->bytes();
        if (bytes.size() < stage_from) {
            view->check_readable();
            batch->put(info.name, bytes, view->type());
            progress.advance(bytes.size());
        } else {
            batch->put(info.name, stage_copy(target, *view, progress));
        }
        batched += bytes.size();
        if (batch->size() >= most_blobs || batched >= most_bytes) commit();
    }
    commit();
    // What is immutable in the one is so in the other.
    for (const auto& info : blobs)
        if (info.sealed && target.contains(info.name)) target.seal(info.name);
}

}  // namespace pymmctl
