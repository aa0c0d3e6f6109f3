// The workloads that the power-cut tests share, and how they are run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/crash_run.hpp"

namespace pymm::sim {

using Workload = std::function<void(CrashRun&)>;

/// More of everything: PYMM_TEST_LONG is set.
bool thorough();

/// `name` and the granularity make the workload's name, as failures print it.
CrashOptions options_for(std::string name, Granularity granularity);

/// Runs a workload with all checks; what the first wrong image showed, or nothing.
std::string run(CrashOptions options, const Workload& workload);

/// "123 cut points, ..." of all run() calls and what add() was given.
std::string coverage();
void add(const CrashTotals& totals);

/// A few blobs of each way of storing: inline, beside its header, on pages of its own.
void furnish(CrashRun& crash);

struct Step {
    const char* name;
    Workload apply;
};
/// Every operation there is, each legal on the furnished shelf and after any other of them.
const std::vector<Step>& steps();

/// One of everything, with checkpoints; each flush in it matters.
void everything(CrashRun& crash);
/// Transactions that are committed. Each flush matters.
void transact(CrashRun& crash);
/// A transaction that is rolled back. Each flush matters; the last fence does only where its journals' space is used
/// again at once, as every later one does its work.
void roll_back(CrashRun& crash);

}  // namespace pymm::sim
