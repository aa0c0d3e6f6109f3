#include "check/reporter.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pymm {

std::string Finding::message() const {
    std::string text = fmt::format("{}: {} at offset {}: ", file, structure, offset);
    if (!expected.empty() && !found.empty()) text += fmt::format("expected {}, found {}", expected, found);
    else text += expected.empty() ? found : fmt::format("expected {}", expected);
    if (corrected) text += action.empty() ? "; corrected" : fmt::format("; corrected: {}", action);
    else if (!action.empty()) text += fmt::format("; {}", action);
    return text;
}

std::uint64_t CheckReport::corrected() const noexcept {
    const auto n = std::count_if(findings.begin(), findings.end(), [](const Finding& f) {
        return f.severity == Severity::error && f.corrected;
    });
    return static_cast<std::uint64_t>(n);
}

std::uint64_t CheckReport::uncorrected() const noexcept {
    const auto n = std::count_if(findings.begin(), findings.end(), [](const Finding& f) {
        return f.severity == Severity::error && !f.corrected;
    });
    return static_cast<std::uint64_t>(n) + omitted_errors;
}

unsigned CheckReport::exit_code() const noexcept {
    return (corrected() != 0 ? 1u : 0u) | (reopen ? 2u : 0u) | (uncorrected() != 0 ? 4u : 0u);
}

void Reporter::add(Cure cure, Finding finding) {
    if (finding.severity == Severity::error) ++errors_[static_cast<std::size_t>(cure)];
    if (report_.findings.size() < CheckReport::max_findings) {
        report_.findings.push_back(std::move(finding));
        cures_.push_back(cure);
        return;
    }
    ++report_.omitted;
    if (finding.severity == Severity::error) {
        ++report_.omitted_errors;
        ++omitted_[static_cast<std::size_t>(cure)];
    }
}

void Reporter::cured(Cure cure, const std::string& action) {
    const auto kind = static_cast<std::size_t>(cure);
    for (std::size_t i = 0; i < cures_.size(); ++i) {
        Finding& f = report_.findings[i];
        if (cures_[i] != cure || f.corrected) continue;
        f.corrected = true;
        f.action = action;
    }
    report_.omitted_errors -= omitted_[kind];
    omitted_[kind] = 0;
    errors_[kind] = 0;
}

}  // namespace pymm
