// pymmctl: shelves from the shell. Parses the command line, runs one command, reports.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include <pymm/version.hpp>

#include "command.hpp"
#include "failure.hpp"
#include "report.hpp"

namespace {

using pymmctl::Context;
using pymmctl::Exit;

/// A closed standard descriptor would be given to the next file opened, perhaps a shelf, and our output
/// would land in it. These placeholders make such reads and writes fail instead.
void occupy_standard_descriptors() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (fcntl(fd, F_GETFD) != -1) continue;
        const int wrong_way = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (open("/dev/null", wrong_way) != fd) std::_Exit(static_cast<int>(Exit::failure));
    }
}

/// As tools that know nothing of SIGPIPE end, so that shells see the usual status.
[[noreturn]] void die_of_closed_output() {
    std::signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
    std::_Exit(static_cast<int>(Exit::failure));  // blocked by whoever started us
}

Exit parse(CLI::App& app, const Context& context, int argc, char** argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {  // --help and --version
            app.exit(error);
            return Exit::success;
        }
        std::string command, problem = error.what();
        const auto commands = app.get_subcommands(nullptr);
        const auto word = std::find_if(argv + 1, argv + argc, [](const char* a) { return *a != '-'; });
        if (word != argv + argc) {
            const auto named = std::find_if(commands.begin(), commands.end(),
                                            [&](const CLI::App* one) { return one->check_name(*word); });
            if (named != commands.end()) command = (*named)->get_name() + " ";
            else problem = "'" + std::string(*word) + "' is no command";
        }
        pymmctl::complain(context, problem + ": see 'pymmctl " + command + "--help'");
        return Exit::usage;
    }
    return Exit::success;
}

}  // namespace

int main(int argc, char** argv) {
    occupy_standard_descriptors();
    std::signal(SIGPIPE, SIG_IGN);  // EPIPE is reported where we write, and destructors run

    Context context;
    CLI::App app{"Shelves of typed blobs on persistent memory. Paths are NAMESPACE[/SHELF[/BLOB]].",
                 "pymmctl"};
    bool verbose = false;
    app.require_subcommand(1);
    app.fallthrough();
    app.set_version_flag("--version", std::string("pymmctl ") + pymm::version());
    app.add_flag("-v,--verbose", verbose, "Let the library log to standard error (PYMM_DEBUG=1)");
    app.add_flag("-q,--quiet", context.quiet, "No progress bar");
    app.footer("Exit codes: 0 success, 1 I/O error, 2 usage, 3 not found, 4 exists, 5 busy, "
               "6 no space,\n7 corrupt, 8 newer version, 9 permission or read-only. See pymmctl(1). "
               "fsck has its own.");

    for (const auto add : {pymmctl::add_create, pymmctl::add_list, pymmctl::add_erase,
                           pymmctl::add_info, pymmctl::add_put, pymmctl::add_get, pymmctl::add_cat,
                           pymmctl::add_mv, pymmctl::add_cp, pymmctl::add_df, pymmctl::add_dump, pymmctl::add_fsck,
                           pymmctl::add_map, pymmctl::add_seal, pymmctl::add_complete})
        add(app, context);

    if (const Exit code = parse(app, context, argc, argv); code != Exit::success || !context.run)
        return context.status(code);
    if (verbose) setenv("PYMM_DEBUG", "1", 1);

    try {
        Exit result = Exit::success;
        const Exit code = pymmctl::guarded(context, [&] { result = context.run(); });
        return context.status(code == Exit::success ? result : code);
    } catch (const pymmctl::OutputClosed&) {
        die_of_closed_output();
    }
}
