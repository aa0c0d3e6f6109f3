// pymmctl erase: erases blobs and whole shelves.
#include <cstdio>
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
    bool force = false;
};

/// Shelves stay open over several blobs: opening one for writing and closing it costs commits.
class Eraser {
public:
    void erase(const std::string& path) {
        const Location at = locate(path);
        const auto key = std::pair(at.directory, at.shelf);
        if (at.is_namespace())
            throw Failure(Exit::usage, path + ": names a namespace: erase its shelves, then rmdir it");
        if (at.is_shelf()) {
            close();  // or it might be busy: we hold it
            pymm::Namespace::open(at.directory).erase(at.shelf);
            return;
        }
        auto shelf = open_.find(key);
        if (shelf == open_.end()) shelf = open_.emplace(key, open_for_writing(at)).first;
        find_blob(shelf->second, at);
        shelf->second.erase(at.blob);
    }

    void close() {
        for (auto& [key, shelf] : open_) shelf.close();
        open_.clear();
    }

private:
    std::map<std::pair<std::string, std::string>, pymm::Shelf> open_;
};

Exit erase(const Options& options, const Context& context) {
    // As rm(1) does: one that cannot be erased does not keep the others.
    Exit result = Exit::success;
    Eraser eraser;
    for (const std::string& path : options.paths) {
        const Exit code = guarded(context, [&] { eraser.erase(path); }, [&](Exit failed) {
            return !(options.force && failed == Exit::not_found);
        });
        if (options.force && code == Exit::not_found) continue;
        if (result == Exit::success) result = code;
    }
    eraser.close();
    return result;
}

}  // namespace

void add_erase(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("erase", "Erase blobs or whole shelves");
    command->alias("rm");
    command->add_option("PATH", options->paths, "NAMESPACE/SHELF[/BLOB]; several are allowed")
        ->required();
    command->add_flag("-f,--force", options->force, "What does not exist is no error");
    on_run(command, context, options, erase);
}

}  // namespace pymmctl
