// pymmctl get and cat: blobs to files and standard output.
#include <unistd.h>

#include "command.hpp"
#include "failure.hpp"
#include "location.hpp"
#include "npy.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "safetensors.hpp"
#include "text.hpp"
#include "transfer.hpp"
#include "tree_text.hpp"

namespace pymmctl {
namespace {

struct GetOptions {
    std::string path, file, format = "auto";
    bool keep = false;
};

struct CatOptions {
    std::vector<std::string> paths;
    bool json = false;
};

std::string format_for(const GetOptions& options, const pymm::Type& type) {
    if (options.format != "auto") return options.format;
    if (options.file.ends_with(".npy")) return "npy";
    if (options.file.ends_with(".safetensors")) return "safetensors";
    if (pymm::has_elements(type.kind)) return options.file.empty() || options.file == "-" ? "npy" : "raw";
    return "text";
}

/// What goes before the bytes of the blob, or instead of them.
struct Output {
    std::string text;
    bool bytes = true;
};

Output text_of(const pymm::View& view, const std::string& given, bool json = false) {
    const pymm::Kind kind = view.type().kind;
    if (kind != pymm::Kind::raw && !pymm::is_array(kind)) view.check_readable();
    if (json && kind != pymm::Kind::tree && kind != pymm::Kind::linked_list)
        throw Failure(Exit::usage, given + ": is no list, tuple or dict: leave --json out");
    std::string text;
    try {
        if (json && kind == pymm::Kind::linked_list) return {list_json(view.bytes()) + "\n", false};
        if (json) return {tree_json(view.bytes()) + "\n", false};
        if (value_text(view.type(), view.bytes(), text)) return {text + "\n", false};
    } catch (const pymm::CorruptError& error) {
        throw Failure(Exit::corrupt, given + ": " + error.what());
    }
    return {};
}

Exit get(const GetOptions& options, const Context& context) {
    const Location at = locate_blob(options.path);
    const pymm::Shelf shelf = open_for_reading(at);
    find_blob(shelf, at);
    const pymm::View view = shelf.get(at.blob);
    const std::string format = format_for(options, view.type());
    if (options.file.empty() && pymm::has_elements(view.type().kind) && format != "text" &&
        isatty(STDOUT_FILENO) == 1)
        throw Failure(Exit::usage, at.given + ": is an array, and standard output a terminal: "
                                              "give a file, or '-' to insist");
    if (format == "safetensors") {
        const SafetensorsOutput tensors(view, at.given);
        OutputFile file(options.file.empty() ? "-" : options.file, !options.keep);
        Progress progress(context.quiet, at.blob, tensors.size());
        tensors.write(file, progress);
        file.commit();
        return Exit::success;
    }
    Output output;
    if (format == "text") output = text_of(view, at.given);
    if (format == "npy") {
        output.text = npy_header(view.type(), at.given);
        if (view.type().nbytes() != view.bytes().size())
            throw Failure(Exit::corrupt, at.given + ": size and shape disagree: check the shelf");
    }

    OutputFile file(options.file.empty() ? "-" : options.file, !options.keep);
    Progress progress(context.quiet, at.blob, output.bytes ? view.bytes().size() : 0);
    file.write(std::as_bytes(std::span(output.text)));
    if (output.bytes)
        for_each_piece(view, [&](std::span<const std::byte> piece) { file.write(piece, progress.callback()); });
    file.commit();
    return Exit::success;
}

Exit cat(const CatOptions& options, const Context& context) {
    // As cat(1) does: one that cannot be read does not keep the others.
    Exit result = Exit::success;
    for (const std::string& path : options.paths) {
        const Exit code = guarded(context, [&] {
            const Location at = locate_blob(path);
            const pymm::Shelf shelf = open_for_reading(at);
            find_blob(shelf, at);
            const pymm::View view = shelf.get(at.blob);
            const Output output = text_of(view, at.given, options.json);
            const std::string name = "standard output";
            write_all(STDOUT_FILENO, std::as_bytes(std::span(output.text)), name);
            if (output.bytes)
                for_each_piece(view, [&](std::span<const std::byte> piece) { write_all(STDOUT_FILENO, piece, name); });
        });
        if (result == Exit::success) result = code;
    }
    return result;
}

}  // namespace

void add_get(CLI::App& app, Context& context) {
    auto options = std::make_shared<GetOptions>();
    auto* command = app.add_subcommand("get", "Write a blob to a file or standard output");
    command->add_option("PATH", options->path, "NAMESPACE/SHELF/BLOB")->required();
    command->add_option("FILE", options->file, "'-' (also when not given) is standard output");
    command
        ->add_option("--format", options->format,
                     "npy, safetensors, raw, text, or auto: .npy for arrays unless FILE ends otherwise, .safetensors "
                     "where it ends so, text for numbers and containers, else the bytes")
        ->check(CLI::IsMember({"auto", "npy", "raw", "safetensors", "text"}));
    command->add_flag("-n,--no-replace", options->keep, "Fail (exit code 4) if FILE exists");
    on_run(command, context, options, get);
}

void add_cat(CLI::App& app, Context& context) {
    auto options = std::make_shared<CatOptions>();
    auto* command = app.add_subcommand(
        "cat", "Print blobs: numbers and containers as text, everything else byte by byte");
    command->add_option("PATH", options->paths, "NAMESPACE/SHELF/BLOB; several are allowed")
        ->required();
    command->add_flag("--json", options->json, "Lists, tuples and dicts as JSON, all of each");
    on_run(command, context, options, cat);
}

}  // namespace pymmctl
