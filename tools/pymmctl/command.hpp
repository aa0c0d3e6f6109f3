// What all commands share: each cmd_*.cpp adds one subcommand, whose callback only notes what to run,
// so that nothing happens before the whole command line is understood.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "exit_codes.hpp"

namespace pymmctl {

struct Context {
    bool quiet = false;         ///< no progress bar
    std::string name;           ///< the subcommand, for messages
    std::function<Exit()> run;  ///< set by the chosen subcommand
    /// Set by a subcommand with exit codes of its own, fsck: the process's, from what happened.
    std::function<int(Exit)> status = [](Exit code) { return static_cast<int>(code); };
};

void add_create(CLI::App& app, Context& context);
void add_list(CLI::App& app, Context& context);
void add_erase(CLI::App& app, Context& context);
void add_info(CLI::App& app, Context& context);
void add_put(CLI::App& app, Context& context);
void add_get(CLI::App& app, Context& context);
void add_cat(CLI::App& app, Context& context);
void add_mv(CLI::App& app, Context& context);
void add_cp(CLI::App& app, Context& context);
void add_df(CLI::App& app, Context& context);
void add_dump(CLI::App& app, Context& context);
void add_fsck(CLI::App& app, Context& context);
void add_map(CLI::App& app, Context& context);
void add_seal(CLI::App& app, Context& context);
void add_complete(CLI::App& app, Context& context);

/// For sizes: 512M, 1G, 1GiB, in powers of 1024. CLI11 alone would take "M" for 1M, and so a script's
/// empty variable for a size.
inline CLI::Validator size_value() {
    return CLI::Validator(
        [](std::string& text) {
            const std::string given = text;
            try {
                if (!text.empty() && text[0] >= '0' && text[0] <= '9' && CLI::AsSizeValue(false)(text).empty())
                    return std::string();
            } catch (const CLI::ValidationError&) {
            }
            return "'" + given + "' is no size: give a whole number and K, M, G, T, P or E";
        },
        "SIZE");
}

/// An option that tells "not given" from "given as empty text", as CLI11's optionals do not.
inline CLI::Option* add_text(CLI::App* command, const std::string& name,
                             std::optional<std::string>& target, const std::string& description) {
    return command->add_option_function<std::string>(
        name, [&target](const std::string& text) { target = text; }, description);
}

/// Binds `function(options, context)` to `command`. Options live as long as the parser does.
template <class Options, class Function>
void on_run(CLI::App* command, Context& context, std::shared_ptr<Options> options,
            Function function) {
    command->callback([command, options, function, &context] {
        context.name = command->get_name();
        context.run = [options, function, &context] { return function(*options, context); };
    });
}

}  // namespace pymmctl
