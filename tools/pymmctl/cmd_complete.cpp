// pymmctl complete: candidates for shell completion. Hidden from help; see completion/pymmctl.bash.
#include <algorithm>
#include <filesystem>

#include "command.hpp"
#include "location.hpp"
#include "output.hpp"

namespace pymmctl {
namespace {

struct Options {
    std::string path, want = "any", options_of;
    bool commands = false;
};

// Nobody reads through more, and a shelf may hold millions.
constexpr std::size_t most_candidates = 1000;
constexpr std::size_t most_visited = 100'000;

/// One per line: names that a line cannot hold are left out.
void offer(TextOutput& out, const std::string& candidate) {
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (std::none_of(candidate.begin(), candidate.end(), control)) out << candidate << "\n";
}

void offer_directories(TextOutput& out, const std::string& base, const std::string& stem) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(base.empty() ? "." : base, error), end;
         !error && at != end; at.increment(error)) {
        const std::string name = at->path().filename();
        if (!name.starts_with(stem) || (name.starts_with('.') && stem.empty())) continue;
        // What a repair replaced is no namespace, and stands before the shelf that is meant.
        if (name.find(".fsck-") != std::string::npos && stem.find(".fsck-") == std::string::npos) continue;
        std::error_code unreadable;
        if (at->is_directory(unreadable)) offer(out, base + name + "/");
    }
}

void offer_shelves(TextOutput& out, const Options& options, const std::string& base,
                   const std::string& stem) {
    for (const auto& entry : pymm::Namespace::open(base.empty() ? "." : base).list()) {
        if (!entry.name.starts_with(stem)) continue;
        // Both forms of "any" share a prefix, so that the shell stops before the slash.
        if (options.want != "blob") offer(out, base + entry.name);
        if (options.want != "shelf") offer(out, base + entry.name + "/");
    }
}

/// Blob names up to their next slash, as if they were directories.
void offer_blobs(TextOutput& out, const Options& options, const Location& at,
                 const std::string& prefix) {
    const std::string before = options.path.substr(0, options.path.size() - prefix.size());
    std::string last;
    std::size_t candidates = 0, visited = 0;
    open_for_reading(at).for_each(prefix, [&](const pymm::BlobInfo& info) {
        const std::size_t slash = info.name.find('/', prefix.size());
        std::string candidate = info.name.substr(0, slash == std::string::npos ? slash : slash + 1);
        if (candidate != last) {
            offer(out, before + candidate);
            last = std::move(candidate);
            ++candidates;
        }
        return candidates < most_candidates && ++visited < most_visited;
    });
}

void offer_paths(TextOutput& out, const Options& options) {
    const std::size_t slash = options.path.rfind('/');
    const std::size_t cut = slash == std::string::npos ? 0 : slash + 1;
    const std::string base = options.path.substr(0, cut), stem = options.path.substr(cut);
    std::error_code error;
    if (base.empty() || std::filesystem::is_directory(base, error)) {
        offer_directories(out, base, stem);
        if (options.want != "namespace") offer_shelves(out, options, base, stem);
    }
    if (base.empty() || options.want == "namespace" || options.want == "shelf") return;
    // The stem is part of the blob's name, so what is located is everything before it.
    const Location at = locate(base);
    if (at.is_namespace()) return;
    const std::size_t known = at.blob.size();
    offer_blobs(out, options, at, options.path.substr(base.size() - known));
}

Exit complete(const Options& options, const Context&, const CLI::App& app) {
    TextOutput out;
    try {
        if (options.commands) {
            for (const auto* command : app.get_subcommands(nullptr))
                if (!command->get_group().empty()) offer(out, command->get_name());
        } else if (!options.options_of.empty()) {
            for (const auto* command : app.get_subcommands(nullptr)) {
                if (!command->check_name(options.options_of)) continue;
                for (const auto* option : command->get_options())
                    for (const auto& name : option->get_lnames()) offer(out, "--" + name);
            }
        } else {
            offer_paths(out, options);
        }
    } catch (const std::exception&) {
        // Whoever presses Tab wants candidates, not messages.
    }
    out.flush();
    return Exit::success;
}

}  // namespace

void add_complete(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto* command = app.add_subcommand("complete", "Candidates for shell completion")->group("");
    command->add_option("PATH", options->path, "What was typed so far");
    command->add_option("--want", options->want, "namespace, shelf, blob or any");
    command->add_option("--options", options->options_of, "List the options of a command instead");
    command->add_flag("--commands", options->commands, "List the commands instead");
    on_run(command, context, options, [&app](const Options& chosen, const Context& at) {
        return complete(chosen, at, app);
    });
}

}  // namespace pymmctl
