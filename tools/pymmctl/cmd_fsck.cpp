// pymmctl fsck: checks shelves, and mends them where asked to. Its exit codes are those of fsck(8).
#include <unistd.h>

#include <algorithm>
#include <new>
#include <optional>
#include <set>

#include <fmt/format.h>

#include <pymm/check.hpp>
#include <pymm/leftovers.hpp>

#include "command.hpp"
#include "failure.hpp"
#include "json.hpp"
#include "location.hpp"
#include "output.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "text.hpp"

namespace pymmctl {
namespace {

// fsck(8). CheckReport::exit_code() gives 1, 2 and 4.
constexpr unsigned operational_error = 8, usage_error = 16, library_error = 128;

struct Options {
    std::string path;
    bool none = false, safe = false, all = false, scrub = false, json = false;

    pymm::Repair repair() const {
        return all ? pymm::Repair::all : safe ? pymm::Repair::safe : pymm::Repair::none;
    }
};

/// What this run comes to, all shelves together.
struct Status {
    unsigned bits = 0;
};

int status_of(const Status& status, Exit failure) {
    unsigned bits = status.bits;
    if (failure == Exit::usage) bits |= usage_error;
    else if (failure != Exit::success) bits |= operational_error;
    return static_cast<int>(bits);
}

class Checker {
public:
    Checker(const Options& options, const Context& context, std::string directory, TextOutput& out)
        : options_(options), context_(context), directory_(std::move(directory)), out_(out) {}

    /// One that cannot be checked does not keep the others.
    unsigned check(const std::string& shelf) {
        std::optional<pymm::CheckReport> report;
        std::string problem;
        unsigned status = 0;
        try {
            report = run(shelf);
            status = report->exit_code();
        } catch (const OutputClosed&) {
            throw;
        } catch (const pymm::Error& error) {
            problem = error.what();
            status = operational_error;
        } catch (const std::bad_alloc&) {
            problem = directory_ + "/" + shelf + ": out of memory";
            status = library_error;
        } catch (const std::exception& error) {
            problem = directory_ + "/" + shelf + ": " + error.what();
            status = library_error;
        }
        if (!problem.empty()) complain(context_, problem);
        if (options_.json) {
            out_ << (first_ ? "\n  " : ",\n  ") << check_json(shelf, report ? &*report : nullptr, problem, status);
            first_ = false;
        } else if (report) {
            print(shelf, *report);
        }
        return status;
    }

private:
    pymm::CheckReport run(const std::string& shelf) {
        pymm::CheckOptions wanted;
        wanted.repair = options_.repair();
        wanted.scrub = options_.scrub;
        std::optional<Progress> bar;
        std::uint64_t shown = 0;
        wanted.progress = [&](std::uint64_t done, std::uint64_t total) {
            if (!bar) bar.emplace(context_.quiet, shelf, total);
            if (done > shown) bar->advance(done - shown);
            shown = std::max(shown, done);
        };
        return pymm::check(directory_, shelf, wanted);
    }

    void line(const std::string& text) { out_ << for_fd(STDOUT_FILENO, text) << "\n"; }

    void print(const std::string& shelf, const pymm::CheckReport& report) {
        for (const pymm::Finding& finding : report.findings)
            line(fmt::format("{}: {}", finding.severity == pymm::Severity::error ? "error" : "note",
                             finding.message()));
        const std::string place = directory_ + "/" + shelf;
        if (report.omitted != 0) line(fmt::format("{}: {} more findings of this kind", place, report.omitted));
        if (report.salvaged + report.lost_found + report.lost != 0)
            line(fmt::format("{}: {} salvaged, {} put under lost+found/, {} lost", place,
                             counted(report.salvaged, "blob"), report.lost_found, counted(report.lost, "name")));
        if (!report.backup.empty()) line(fmt::format("{}: what was replaced is in {}", place, report.backup));
        if (options_.scrub)
            line(fmt::format("{}: {} verified in {}, {} without a checksum", place, human_size(report.scrubbed_bytes),
                             counted(report.scrubbed, "blob"), counted(report.unverified, "blob")));
        line(fmt::format("{}: {}; {}, {}", place, verdict(report), counted(report.blobs, "blob"),
                         human_size(report.bytes)));
    }

    std::string verdict(const pymm::CheckReport& report) const {
        std::string text;
        if (report.corrected() != 0) text = counted(report.corrected(), "error") + " corrected";
        if (report.uncorrected() != 0) {
            if (!text.empty()) text += ", ";
            text += counted(report.uncorrected(), "error") + " left";
            // Where the finding itself says what to do, no repair helps.
            const bool repairable = std::any_of(report.findings.begin(), report.findings.end(), [](const auto& f) {
                return f.severity == pymm::Severity::error && !f.corrected && f.action.empty();
            });
            if (repairable && !options_.safe && !options_.all) text += " (-p repairs what needs no guess, -y the rest)";
            else if (repairable && options_.safe) text += " (-y repairs more)";
        }
        if (report.reopen) text += ", open it again where it is open";
        return text.empty() ? "clean" : text;
    }

    const Options& options_;
    const Context& context_;
    std::string directory_;
    TextOutput& out_;
    bool first_ = true;
};

/// The shelves of a namespace, those that lack one of their files too.
std::set<std::string> shelves_of(const std::string& directory) {
    std::set<std::string> names;
    for (const auto& entry : pymm::Namespace::open(directory).list()) names.insert(entry.name);
    for (const pymm::Leftover& leftover : pymm::find_leftovers(directory))
        if (leftover.kind == pymm::Leftover::Kind::orphan) names.insert(leftover.shelf);
    return names;
}

Exit fsck(const Options& options, const Context& context, Status& status) {
    const Location at = locate(options.path);
    if (at.is_blob()) throw Failure(Exit::usage, at.given + ": names a blob: give NAMESPACE[/SHELF]");
    TextOutput out;
    const std::set<std::string> shelves =
        at.is_namespace() ? shelves_of(at.directory) : std::set<std::string>{at.shelf};
    if (options.json) out << "{\"namespace\": " << quoted_json(at.directory) << ", \"shelves\": [";
    Checker checker(options, context, at.directory, out);
    for (const std::string& shelf : shelves) {
        status.bits |= checker.check(shelf);
        if (!options.json) out.flush();
    }
    // As they are now: a repair takes orphans in, and leaves a backup.
    const std::vector<pymm::Leftover> leftovers =
        at.is_namespace() ? pymm::find_leftovers(at.directory) : std::vector<pymm::Leftover>{};
    if (options.json) {
        out << (shelves.empty() ? "]" : "\n]") << ", \"leftovers\": [";
        const char* separator = "\n  ";
        for (const pymm::Leftover& leftover : leftovers) {
            out << separator << leftover_json(leftover);
            separator = ",\n  ";
        }
        out << (leftovers.empty() ? "]" : "\n]") << fmt::format(", \"exit_code\": {}}}\n", status.bits);
    } else {
        for (const pymm::Leftover& leftover : leftovers)
            out << for_fd(STDOUT_FILENO, fmt::format("note: {}/{}: {}", at.directory, leftover.file,
                                                     pymm::leftover_text(leftover.kind)))
                << "\n";
    }
    out.flush();
    return Exit::success;
}

}  // namespace

void add_fsck(CLI::App& app, Context& context) {
    auto options = std::make_shared<Options>();
    auto status = std::make_shared<Status>();
    auto* command = app.add_subcommand("fsck", "Check shelves for damage, and repair it");
    command->add_option("PATH", options->path, "NAMESPACE[/SHELF]")->required();
    auto* none = command->add_flag("-n,--no", options->none, "Change nothing (as without any of these three)");
    auto* safe = command->add_flag("-p,--preen", options->safe, "Repair what needs no guess");
    auto* all = command->add_flag("-y,--yes", options->all, "Repair all that can be repaired; salvage the rest");
    none->excludes(safe)->excludes(all);
    safe->excludes(all);
    command->add_flag("--scrub", options->scrub, "Read all data and verify content checksums");
    command->add_flag("--json", options->json, "JSON instead of text");
    command->footer("Exit codes, combined by or: 0 clean, 1 corrected, 2 to be opened again, 4 errors left,\n"
                    "8 operational error, 16 usage, 128 library error. See pymmctl-fsck(8).");
    // From the moment that the command is recognised, so that its wrong options count as well.
    command->preparse_callback([&context, status](std::size_t) {
        context.status = [status](Exit failure) { return status_of(*status, failure); };
    });
    on_run(command, context, options, [status](const Options& chosen, const Context& at) {
        return fsck(chosen, at, *status);
    });
}

}  // namespace pymmctl
