#include "check.hpp"

#include <pybind11/stl.h>

#include <chrono>
#include <string>
#include <vector>

#include <pymm/check.hpp>
#include <pymm/leftovers.hpp>
#include <pymm/namespace.hpp>

namespace py = pybind11;

namespace pymm::python {

namespace {

Repair repair_of(const std::string& text) {
    if (text == "safe") return Repair::safe;
    if (text == "all") return Repair::all;
    return Repair::none;  // fsck() in _check.py has looked at it
}

py::dict dict_of(const Finding& finding) {
    py::dict all;
    all["error"] = finding.severity == Severity::error;
    all["structure"] = finding.structure;
    all["file"] = finding.file;
    all["offset"] = finding.offset;
    all["expected"] = finding.expected;
    all["found"] = finding.found;
    all["blob"] = finding.blob;
    all["corrected"] = finding.corrected;
    all["action"] = finding.action;
    all["message"] = finding.message();
    return all;
}

py::dict check_shelf(const std::string& path, const std::string& name, const std::string& repair, bool scrub) {
    CheckOptions options;
    options.repair = repair_of(repair);
    options.scrub = scrub;
    // Ctrl-C must end a check that reads terabytes; the GIL is taken for that now and then only.
    auto next = std::chrono::steady_clock::now();
    options.progress = [&next](std::uint64_t, std::uint64_t) {
        const auto now = std::chrono::steady_clock::now();
        if (now < next) return;
        next = now + std::chrono::milliseconds(100);
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    };
    const CheckReport report = [&] {
        const py::gil_scoped_release release;
        return check(path, name, options);
    }();
    py::dict all;
    py::list findings;
    for (const Finding& finding : report.findings) findings.append(dict_of(finding));
    all["findings"] = findings;
    all["exit_code"] = report.exit_code();
    all["omitted"] = report.omitted;
    all["blobs"] = report.blobs;
    all["bytes"] = report.bytes;
    all["metadata"] = report.metadata;
    all["leaked"] = report.leaked;
    all["scrubbed"] = report.scrubbed;
    all["scrubbed_bytes"] = report.scrubbed_bytes;
    all["unverified"] = report.unverified;
    all["salvaged"] = report.salvaged;
    all["lost_found"] = report.lost_found;
    all["lost"] = report.lost;
    all["repaired"] = report.repaired;
    all["reopen"] = report.reopen;
    all["backup"] = report.backup;
    return all;
}

py::list leftovers(const std::string& path) {
    std::vector<Leftover> found;
    {
        const py::gil_scoped_release release;
        found = find_leftovers(path);
    }
    py::list all;
    for (const Leftover& leftover : found)
        all.append(py::make_tuple(leftover.file, std::string(leftover_name(leftover.kind)), leftover.shelf,
                                  std::string(leftover_text(leftover.kind))));
    return all;
}

std::vector<std::string> shelf_names(const std::string& path) {
    const py::gil_scoped_release release;
    std::vector<std::string> names;
    for (const ShelfEntry& entry : Namespace::open(path).list()) names.push_back(entry.name);
    return names;
}

}  // namespace

void add_check(py::module_& module) {
    using namespace py::literals;
    module.def("check_shelf", &check_shelf, "path"_a, "name"_a, "repair"_a, "scrub"_a);
    module.def("leftovers", &leftovers, "path"_a);
    module.def("shelf_names", &shelf_names, "path"_a);
}

}  // namespace pymm::python
