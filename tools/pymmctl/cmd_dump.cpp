// pymmctl dump: the structures of a shelf as they lie in its files.
#include <unistd.h>

#include <chrono>
#include <optional>

#include <fmt/format.h>

#include <pymm/dump.hpp>

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
    std::optional<std::string> blob;
    bool superblocks = false, zones = false, log = false, runs = false, blobs = false, json = false;
};

std::string time_text(std::uint64_t nanoseconds) {
    const auto since = std::chrono::nanoseconds(static_cast<std::int64_t>(nanoseconds));
    return iso_time(pymm::Clock::time_point(std::chrono::duration_cast<pymm::Clock::duration>(since)), true);
}

/// As a JSON value; text also for people, since names of a damaged shelf can hold anything.
std::string value_of(const pymm::DumpField& field) {
    switch (field.form) {
        case pymm::DumpField::Form::number: return fmt::format("{}", field.number);
        case pymm::DumpField::Form::hex: return fmt::format("\"{:#x}\"", field.number);
        case pymm::DumpField::Form::time: return "\"" + time_text(field.number) + "\"";
        case pymm::DumpField::Form::text: return quoted_json(field.text);
    }
    return "null";
}

std::string text_of(const pymm::DumpField& field) {
    switch (field.form) {
        case pymm::DumpField::Form::hex: return fmt::format("{:#x}", field.number);
        case pymm::DumpField::Form::time: return time_text(field.number);
        default: return value_of(field);
    }
}

std::string json_of(const pymm::DumpItem& item) {
    std::string line = fmt::format(R"({{"kind": "{}", "depth": {}, "file": "{}", "offset": {}, "size": {}, "problem": {})",
                                   item.kind, item.depth, item.in_map ? "map" : "data", item.offset, item.size,
                                   item.problem.empty() ? "null" : quoted_json(item.problem));
    line += ", \"fields\": {";
    const char* separator = "";
    for (const pymm::DumpField& field : item.fields) {
        line += fmt::format("{}\"{}\": {}", separator, field.name, value_of(field));
        separator = ", ";
    }
    return line + "}}";
}

/// What stands at the top has a line for each field, its parts a line for each of them.
std::string text_of(const pymm::DumpItem& item) {
    std::string text = fmt::format("{}{} at {} {}", std::string(2 * item.depth, ' '), item.kind,
                                   item.in_map ? ".map" : ".data", item.offset);
    if (item.size != 0) text += fmt::format(", {} bytes", item.size);
    for (const pymm::DumpField& field : item.fields)
        text += item.depth == 0 ? fmt::format("\n  {:<17}{}", field.name, text_of(field))
                                : fmt::format("  {}={}", field.name, text_of(field));
    if (!item.problem.empty())
        text += fmt::format("{}!! {}", item.depth == 0 ? "\n  " : "  ", quoted_json(item.problem));
    return text;
}

Exit dump(const Options& options, const Context&) {
    const Location at = locate_shelf(options.path);
    pymm::DumpOptions wanted;
    const bool chosen = options.superblocks || options.zones || options.log || options.runs || options.blobs;
    if (chosen || options.blob) {
        // What speaks of one blob is in these three.
        const bool all = !chosen;
        wanted = {options.superblocks, options.zones, options.log || all, options.runs || all, options.blobs || all, {}};
    }
    if (options.blob) {
        if (options.blob->empty()) throw Failure(Exit::usage, "--blob: an empty name");
        wanted.blob = *options.blob;
    }
    TextOutput out;
    if (options.json)
        out << "{\"namespace\": " << quoted_json(at.directory) << ", \"name\": " << quoted_json(at.shelf)
            << ", \"items\": [";
    const char* separator = "\n  ";
    bool sound = true, first = true;
    const auto show = [&](const pymm::DumpItem& item) {
        sound = sound && item.problem.empty();
        if (options.json) out << separator << json_of(item);
        else out << (first || item.depth != 0 ? "" : "\n") << text_of(item) << "\n";
        separator = ",\n  ";
        first = false;
        return true;
    };
    pymm::dump(at.directory, at.shelf, wanted, show);
    if (options.json) out << "\n]}\n";
    out.flush();
    return sound ? Exit::success : Exit::corrupt;
}

}  // namespace

void add_dump(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("dump", "Show the structures of a shelf as they lie in its files");
    command->add_option("PATH", options->path, "NAMESPACE/SHELF")->required();
    command->add_flag("--superblocks", options->superblocks, "Superblocks, live page and data header");
    command->add_flag("--zones", options->zones, "The zone table");
    command->add_flag("--log", options->log, "Commits and their records");
    command->add_flag("--runs", options->runs, "Sorted runs, page by page");
    command->add_flag("--blobs", options->blobs, "The blobs in effect: extents and their headers");
    add_text(command, "--blob", options->blob, "Only what speaks of this name, and what is damaged");
    command->add_flag("--json", options->json, "JSON instead of text");
    on_run(command, context, options, dump);
}

}  // namespace pymmctl
