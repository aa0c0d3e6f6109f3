// pymmctl info: everything known of a namespace, shelf or blob.
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "command.hpp"
#include "location.hpp"
#include "rows.hpp"
#include "text.hpp"
#include "tree_text.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string path;
    bool json = false;
};

using Rows = std::vector<std::vector<std::string>>;

std::string exact(std::uint64_t bytes) {
    return bytes < 1024 ? fmt::format("{} B", bytes)
                        : fmt::format("{} B ({})", bytes, human_size(bytes));
}

Rows rows_of(const pymm::ShelfInfo& info, const std::string& directory) {
    return {{"shelf", for_fd(STDOUT_FILENO, info.name)},
            {"namespace", for_fd(STDOUT_FILENO, directory)},
            {"uuid", info.uuid},
            {"capacity", exact(info.capacity)},
            {"used", exact(info.used)},
            {"free", exact(info.free)},
            {"largest free", exact(info.largest_free)},
            {"blobs", fmt::format("{}", info.blobs)},
            {"created", iso_time(info.created, true)},
            {"sequence", fmt::format("{}", info.sequence)},
            {"generation", fmt::format("{}", info.generation)},
            {"format", fmt::format("{}", info.format_version)},
            {"runs", fmt::format("{}", info.runs)},
            {"log", exact(info.log_bytes)},
            {"granularity", std::string(pymm::granularity_name(info.granularity))},
            {"checksums", info.checksum ? "of every put" : "of sealed blobs"},
            {"closed cleanly", info.clean ? "yes" : "no"}};
}

Rows rows_of(const pymm::BlobInfo& info, const std::string& object) {
    const pymm::Type& type = info.type;
    Rows rows{{"blob", for_fd(STDOUT_FILENO, info.name)},
              {"kind", std::string(pymm::kind_name(type.kind))}};
    if (!object.empty()) rows.push_back({"object", for_fd(STDOUT_FILENO, object)});
    if (pymm::has_elements(type.kind)) {
        const std::string dtype(type.max_rows() ? type.element() : std::string_view(type.dtype));
        rows.push_back({"dtype", for_fd(STDOUT_FILENO, dtype)});
        rows.push_back({"itemsize", fmt::format("{}", type.itemsize)});
    }
    if (pymm::is_array(type.kind)) {
        const auto order = order_text(type);
        rows.push_back({"shape", shape_text(type)});
        if (type.max_rows()) rows.push_back({"maxshape", maxshape_text(type)});
        rows.push_back({"strides", fmt::format("({})", fmt::join(type.strides, ", "))});
        rows.push_back({"order", std::string(order.empty() ? "strided" : order)});
    }
    rows.push_back({"size", exact(info.size)});
    if (info.inlined) {
        rows.push_back({"stored", "in the catalogue"});
    } else {
        rows.push_back({"offset", fmt::format("{}", info.offset)});
        rows.push_back({"extent", exact(info.extent)});
    }
    rows.push_back({"id", fmt::format("{}", info.id)});
    rows.push_back({"sequence", fmt::format("{}", info.sequence)});
    rows.push_back({"created", iso_time(info.created, true)});
    rows.push_back({"modified", iso_time(info.modified, true)});
    rows.push_back({"mode", fmt::format("{:04o}", info.mode)});
    rows.push_back({"sealed", info.sealed ? "yes" : "no"});
    rows.push_back({"checksum", info.checksum ? fmt::format("crc32c {:#010x}", *info.checksum) : "none"});
    return rows;
}

/// What a Python package made of it: "pandas.DataFrame". Empty for other blobs, and for damaged ones: `cat` says more.
std::string object_of(const pymm::Shelf& shelf, const pymm::BlobInfo& info) {
    if (info.type.kind != pymm::Kind::tree) return {};
    try {
        const pymm::View view = shelf.get(info.name);
        view.check_readable(0, std::min<std::uint64_t>(info.size, 1 << 20));  // a writer has the name in front
        return tree_object(view.bytes());
    } catch (const pymm::Error&) {
        return {};
    }
}

Rows rows_of(const pymm::Namespace& space, std::size_t shelves) {
    const pymm::SpaceInfo info = space.space();
    return {{"namespace", for_fd(STDOUT_FILENO, space.path())},
            {"file system", info.file_system},
            {"total", exact(info.total)},
            {"available", exact(info.available)},
            {"shelves", fmt::format("{}", shelves)}};
}

Exit info(const Options& options, const Context&) {
    const Location at = locate(options.path);
    TextOutput out;
    Rows rows;
    std::string json;
    if (at.is_namespace()) {
        const auto space = pymm::Namespace::open(at.directory);
        const std::size_t shelves = space.list().size();
        if (options.json) json = namespace_json(space, shelves, 2);
        else rows = rows_of(space, shelves);
    } else {
        const pymm::Shelf shelf = open_for_reading(at);
        if (at.is_shelf()) {
            const pymm::ShelfInfo figures = shelf.stat();
            if (options.json) json = shelf_json(at.directory, figures, 2);
            else rows = rows_of(figures, at.directory);
        } else {
            const pymm::BlobInfo blob = find_blob(shelf, at);
            const std::string object = object_of(shelf, blob);
            if (options.json) json = blob_json(blob, 2, object);
            else rows = rows_of(blob, object);
        }
    }
    if (options.json) out << json << "\n";
    else print_table(out, rows, "ll");
    out.flush();
    return Exit::success;
}

}  // namespace

void add_info(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("info", "Show what is known of a namespace, shelf or blob");
    command->add_option("PATH", options->path, "NAMESPACE[/SHELF[/BLOB]]")->required();
    command->add_flag("--json", options->json, "JSON instead of text");
    on_run(command, context, options, info);
}

}  // namespace pymmctl
