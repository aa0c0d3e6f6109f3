// pymmctl df: space of a namespace and its shelves.
#include <unistd.h>

#include <fmt/format.h>

#include "command.hpp"
#include "failure.hpp"
#include "location.hpp"
#include "rows.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string path;
    bool bytes = false, json = false;

    std::string size(std::uint64_t value) const {
        return bytes ? fmt::format("{}", value) : human_size(value);
    }
};

Exit df(const Options& options, const Context&) {
    const Location at = locate(options.path);
    if (at.is_blob())
        throw Failure(Exit::usage, at.given + ": names a blob: give NAMESPACE[/SHELF]");
    const auto space = pymm::Namespace::open(at.directory);
    const auto rows = shelf_rows(space, at.shelf);
    TextOutput out;
    if (options.json) {
        out << space_json(space, rows) << "\n";
        out.flush();
        return Exit::success;
    }
    const pymm::SpaceInfo info = space.space();
    out << fmt::format("{}: {}, {} of {} available\n", for_fd(STDOUT_FILENO, space.path()),
                       info.file_system, options.size(info.available), options.size(info.total));
    std::vector<std::vector<std::string>> table;
    table.push_back({"SHELF", "CAPACITY", "USED", "FREE", "USE%", "BLOBS"});
    for (const ShelfRow& row : rows) {
        const std::string name = for_fd(STDOUT_FILENO, row.entry.name);
        if (!row.info) {
            table.push_back({name, options.size(row.entry.capacity), "-", "-", "-",
                             "[" + for_fd(STDOUT_FILENO, row.entry.problem) + "]"});
            continue;
        }
        const double share = row.info->capacity == 0 ? 0
                                                     : 100.0 * static_cast<double>(row.info->used) /
                                                           static_cast<double>(row.info->capacity);
        table.push_back({name, options.size(row.info->capacity), options.size(row.info->used),
                         options.size(row.info->free), fmt::format("{:.0f}%", share),
                         fmt::format("{}", row.info->blobs)});
    }
    if (table.size() > 1) print_table(out, table, "lrrrrr");
    out.flush();
    return Exit::success;
}

}  // namespace

void add_df(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    options->path = default_path();
    auto* command = app.add_subcommand("df", "Show the space of a namespace and of its shelves");
    command->add_option("PATH", options->path,
                        "NAMESPACE[/SHELF]; $PYMM_PATH, else '.', if not given");
    command->add_flag("-b,--bytes", options->bytes, "Sizes in bytes instead of 1.5 MiB");
    command->add_flag("--json", options->json, "JSON instead of text");
    on_run(command, context, options, df);
}

}  // namespace pymmctl
