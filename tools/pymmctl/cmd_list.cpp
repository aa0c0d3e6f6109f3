// pymmctl list: names of shelves or blobs.
#include <unistd.h>

#include <cstdlib>

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
    bool details = false, human = false, null = false, json = false;

    std::string size(std::uint64_t bytes) const {
        return human ? human_size(bytes) : fmt::format("{}", bytes);
    }
    std::string name(const std::string& text) const {
        return null ? text + '\0' : for_fd(STDOUT_FILENO, text) + '\n';
    }
};

/// Structured dtypes can be very long; `info` shows all of them.
std::string brief_dtype(const pymm::Type& type) {
    constexpr std::size_t most = 40;
    if (!pymm::has_elements(type.kind)) return "-";
    if (type.dtype.size() <= most) return for_fd(STDOUT_FILENO, type.dtype);
    std::size_t end = most - 3;
    while (end > 0 && (static_cast<unsigned char>(type.dtype[end]) & 0xc0) == 0x80) --end;
    return for_fd(STDOUT_FILENO, type.dtype.substr(0, end)) + "...";
}

void list_shelves(const Options& options, const Location& at, TextOutput& out) {
    const auto space = pymm::Namespace::open(at.directory);
    if (!options.details && !options.json) {
        for (const auto& entry : space.list()) out << options.name(entry.name);
        return;
    }
    std::vector<ShelfRow> rows;
    if (options.details) {
        rows = shelf_rows(space);
    } else {
        for (auto& entry : space.list()) rows.push_back({std::move(entry), {}});
    }
    if (options.json) {
        out << "{\"namespace\": " << quoted_json(at.directory) << ", \"shelves\": [";
        const char* separator = "\n  ";
        for (const ShelfRow& row : rows) {
            out << separator << shelf_row_json(row);
            separator = ",\n  ";
        }
        out << "\n]}\n";
        return;
    }
    std::vector<std::vector<std::string>> table;
    for (const ShelfRow& row : rows) {
        std::string name = for_fd(STDOUT_FILENO, row.entry.name);
        if (!row.entry.problem.empty())
            name += "  [" + for_fd(STDOUT_FILENO, row.entry.problem) + "]";
        table.push_back({options.size(row.entry.capacity),
                         row.info ? options.size(row.info->used) : "-",
                         row.info ? fmt::format("{}", row.info->blobs) : "-",
                         row.info ? iso_time(row.info->created) : "-", std::move(name)});
    }
    print_table(out, table, "rrrll");
}

void list_blobs(const Options& options, const Location& at, TextOutput& out) {
    const pymm::Shelf shelf = open_for_reading(at);
    std::uint64_t found = 0;
    if (options.json) {
        out << "{\"namespace\": " << quoted_json(at.directory)
            << ", \"shelf\": " << quoted_json(at.shelf) << ", \"prefix\": " << quoted_json(at.blob)
            << ", \"blobs\": [";
        shelf.for_each(at.blob, [&](const pymm::BlobInfo& info) {
            out << (found++ > 0 ? ",\n  " : "\n  ") << blob_json(info);
            return true;
        });
        out << "\n]}\n";
    } else if (options.details) {
        std::vector<std::vector<std::string>> table;
        shelf.for_each(at.blob, [&](const pymm::BlobInfo& info) {
            const auto& type = info.type;
            table.push_back({std::string(pymm::kind_name(type.kind)), brief_dtype(type), shape_text(type),
                             options.size(info.size), iso_time(info.modified),
                             info.sealed ? "sealed" : info.checksum ? "checksum" : "-",
                             for_fd(STDOUT_FILENO, info.name)});
            return true;
        });
        found = table.size();
        print_table(out, table, "lllrlll");
    } else {
        shelf.for_each(at.blob, [&](const pymm::BlobInfo& info) {
            out << options.name(info.name);
            ++found;
            return true;
        });
    }
    if (found == 0 && at.is_blob()) {
        out.flush();
        throw Failure(Exit::not_found,
                      at.given + ": no blob of shelf '" + at.shelf + "' starts with '" + at.blob + "'");
    }
}

Exit list(const Options& options, const Context&) {
    const Location at = locate(options.path);
    TextOutput out;
    if (at.is_namespace()) list_shelves(options, at, out);
    else list_blobs(options, at, out);
    out.flush();
    return Exit::success;
}

}  // namespace

void add_list(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    options->path = default_path();
    auto* command = app.add_subcommand("list", "List the shelves of a namespace, or blobs of a shelf");
    command->alias("ls");
    command->add_option("PATH", options->path,
                        "NAMESPACE[/SHELF[/PREFIX]]; $PYMM_PATH, else '.', if not given");
    auto* details = command->add_flag("-l,--long", options->details,
                                      "Kind, dtype, shape, size, time of change and checksum too");
    command->add_flag("-H,--human", options->human, "With -l: sizes as 1.5 MiB")->needs(details);
    auto* json = command->add_flag("--json", options->json, "JSON instead of text");
    command->add_flag("-0,--null", options->null, "End names with NUL, for xargs -0")
        ->excludes(details)
        ->excludes(json);
    on_run(command, context, options, list);
}

}  // namespace pymmctl
