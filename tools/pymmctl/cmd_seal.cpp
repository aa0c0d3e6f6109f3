// pymmctl seal: makes blobs immutable and records their checksums.
#include <map>
#include <utility>

#include "command.hpp"
#include "failure.hpp"
#include "location.hpp"
#include "report.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::vector<std::string> paths;
};

Exit seal(const Options& options, const Context& context) {
    // Shelves stay open over several blobs. One that cannot be sealed does not keep the others.
    std::map<std::pair<std::string, std::string>, pymm::Shelf> open;
    Exit result = Exit::success;
    for (const std::string& path : options.paths) {
        const Exit code = guarded(context, [&] {
            const Location at = locate(path);
            if (!at.is_blob()) throw Failure(Exit::usage, path + ": only blobs can be sealed: give NAMESPACE/SHELF/BLOB");
            const auto key = std::pair(at.directory, at.shelf);
            auto shelf = open.find(key);
            if (shelf == open.end()) shelf = open.emplace(key, open_for_writing(at)).first;
            find_blob(shelf->second, at);
            shelf->second.seal(at.blob);
        });
        if (result == Exit::success) result = code;
    }
    for (auto& [key, shelf] : open) shelf.close();
    return result;
}

}  // namespace

void add_seal(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("seal", "Make blobs immutable and record their checksums");
    command->add_option("PATH", options->paths, "NAMESPACE/SHELF/BLOB; several are allowed")->required();
    on_run(command, context, options, seal);
}

}  // namespace pymmctl
