// pymmctl create: makes shelves.
#include <charconv>

#include <unistd.h>

#include "command.hpp"
#include "failure.hpp"
#include "json.hpp"
#include "location.hpp"
#include "output.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string path;
    std::uint64_t size = pymm::CreateOptions{}.capacity;
    std::optional<std::string> mode;
    bool sparse = false, force = false, checksum = false, json = false;
};

std::uint32_t parse_mode(const std::string& text) {
    std::uint32_t mode = 0;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, mode, 8);
    if (parsed.ec != std::errc() || parsed.ptr != end || mode > 0777)
        throw Failure(Exit::usage, "--mode " + text + ": give octal permissions such as 640");
    return mode;
}

Exit create(const Options& options, const Context&) {
    const Location at = locate_new_shelf(options.path);
    pymm::CreateOptions wanted;
    wanted.capacity = options.size;
    wanted.sparse = options.sparse;
    wanted.force = options.force;
    wanted.checksum = options.checksum;
    if (options.mode) wanted.mode = parse_mode(*options.mode);
    pymm::Shelf shelf = pymm::Namespace::open(at.directory).create(at.shelf, wanted);
    const pymm::ShelfInfo info = shelf.stat();
    shelf.close();
    if (options.json) {
        TextOutput out;
        out << shelf_json(at.directory, info, 2) << "\n";
        out.flush();
    }
    return Exit::success;
}

}  // namespace

void add_create(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("create", "Create a shelf");
    command->add_option("PATH", options->path, "NAMESPACE/SHELF; the namespace is a directory")
        ->required();
    command
        ->add_option("-s,--size", options->size,
                     "Capacity: 512M, 1G, 1GiB ... (powers of 1024); 32M if not given")
        ->transform(size_value());
    command->add_flag("--sparse", options->sparse,
                      "Take space blob by blob instead of promising all of it now");
    command->add_flag("--checksum", options->checksum,
                      "Record a checksum of the content at every put, for scrubbing");
    command->add_flag("-f,--force", options->force, "Discard an existing shelf of that name");
    add_text(command, "--mode", options->mode, "Permissions of the files, octal; 600 if not given");
    command->add_flag("--json", options->json, "Describe the new shelf in JSON");
    on_run(command, context, options, create);
}

}  // namespace pymmctl
