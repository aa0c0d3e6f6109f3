// pymmctl mv: another name in the same shelf, or another shelf.
#include "command.hpp"
#include "copy.hpp"
#include "failure.hpp"
#include "location.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string from, to;
    bool keep = false;
};

Exit move(const Options& options, const Context& context) {
    const Location from = locate(options.from);
    if (!from.is_blob())
        throw Failure(Exit::usage, from.given + ": only blobs can be moved: use 'cp' and 'erase'");
    const Location to = locate_target_blob(options.to, from);
    if (same_shelf(from, to)) {
        if (from.blob == to.blob)
            throw Failure(Exit::usage, from.given + ": is the same blob as " + to.given);
        pymm::Shelf shelf = open_for_writing(from);
        find_blob(shelf, from);
        check_target(shelf, to, !options.keep);
        shelf.rename(from.blob, to.blob, !options.keep);
        shelf.close();
        return Exit::success;
    }
    // Both are opened before anything changes. The copy is durable before the original goes.
    pymm::Shelf source = open_for_writing(from);
    pymm::Shelf target = open_for_writing(to);
    const bool sealed = find_blob(source, from).sealed;
    copy_blob(source, from, target, to, !options.keep, context);
    if (sealed) target.seal(to.blob);
    target.close();
    source.erase(from.blob);
    source.close();
    return Exit::success;
}

}  // namespace

void add_mv(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("mv", "Rename a blob, or move it to another shelf");
    command->add_option("FROM", options->from, "NAMESPACE/SHELF/BLOB")->required();
    command->add_option("TO", options->to, "NAMESPACE/SHELF[/BLOB]; the same name if not given")
        ->required();
    command->add_flag("-n,--no-replace", options->keep, "Fail (exit code 4) if TO exists");
    on_run(command, context, options, move);
}

}  // namespace pymmctl
