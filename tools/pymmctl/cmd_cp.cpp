// pymmctl cp: copies of blobs and of whole shelves.
#include "command.hpp"
#include "copy.hpp"
#include "failure.hpp"
#include "location.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string from, to;
    std::uint64_t size = 0;
    bool keep = false;
};

Exit copy_one(const Options& options, const Location& from, const Context& context) {
    if (options.size != 0)
        throw Failure(Exit::usage, "--size: only a copy of a whole shelf makes a new one");
    const Location to = locate_target_blob(options.to, from);
    const bool same = same_shelf(from, to);
    if (same && from.blob == to.blob)
        throw Failure(Exit::usage, from.given + ": is the same blob as " + to.given);
    pymm::Shelf target = open_for_writing(to);
    const pymm::Shelf source = same ? target : open_for_reading(from);
    copy_blob(source, from, target, to, !options.keep, context);
    target.close();
    return Exit::success;
}

Exit copy_shelf(const Options& options, const Location& from, const Context& context) {
    Location to = locate(options.to);
    if (to.is_namespace()) to.shelf = from.shelf;
    if (to.is_blob())
        throw Failure(Exit::usage, to.given + ": a shelf cannot be copied to a blob, and no shelf '" +
                                       to.shelf + "' is made with blobs in it: give NAMESPACE/SHELF");
    if (same_shelf(from, to))
        throw Failure(Exit::usage, from.given + ": is the same shelf as " + to.given);

    const pymm::Shelf source = open_for_reading(from);
    const auto space = pymm::Namespace::open(to.directory);
    if (space.contains(to.shelf)) {
        if (options.keep) throw Failure(Exit::exists, to.text() + ": exists: nothing was copied");
        if (options.size != 0)
            throw Failure(Exit::usage, "--size: " + to.text() + " exists and keeps its size");
        pymm::Shelf target = open_for_writing(to);
        copy_all(source, target, context);
        target.close();
        return Exit::success;
    }
    pymm::CreateOptions wanted;
    wanted.capacity = options.size != 0 ? options.size : source.stat().capacity;
    wanted.checksum = source.stat().checksum;
    pymm::Shelf target = space.create(to.shelf, wanted);
    try {
        copy_all(source, target, context);
        target.close();
    } catch (...) {
        // Half a shelf under the full name would be taken for the whole.
        try {
            target.close();
            space.erase(to.shelf);
        } catch (const pymm::Error&) {
            // The first error says more.
        }
        throw;
    }
    return Exit::success;
}

Exit copy(const Options& options, const Context& context) {
    const Location from = locate(options.from);
    if (from.is_namespace())
        throw Failure(Exit::usage, from.given + ": names a namespace: give NAMESPACE/SHELF[/BLOB]");
    return from.is_blob() ? copy_one(options, from, context) : copy_shelf(options, from, context);
}

}  // namespace

void add_cp(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("cp", "Copy a blob, or a whole shelf");
    command->add_option("FROM", options->from, "NAMESPACE/SHELF[/BLOB]")->required();
    command->add_option("TO", options->to, "NAMESPACE[/SHELF[/BLOB]]; the same name where not given")
        ->required();
    command
        ->add_option("-s,--size", options->size,
                     "Capacity of a shelf that is made; that of FROM if not given")
        ->transform(size_value());
    command->add_flag("-n,--no-replace", options->keep, "Fail (exit code 4) if TO exists");
    on_run(command, context, options, copy);
}

}  // namespace pymmctl
