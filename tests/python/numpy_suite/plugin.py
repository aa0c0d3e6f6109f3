"""A pytest plugin that runs each test plain and then with shelved arrays.

A test that passes plain has to pass with shelved arrays, too, unless it is listed as an expected difference; and what
is listed has to differ.
"""

import collections

import numpy
import pytest
from _pytest.runner import runtestprotocol

from substitution import Namespace, Shelves, parameters, substituted


def outcome(reports):
    """'failed', 'skipped' (which an expected failure is, too) or 'passed'."""
    outcomes = {report.outcome for report in reports}
    return next((name for name in ("failed", "skipped") if name in outcomes), "passed")


def name_of(item):
    """As differences.py has it: 'core/test_umath.py::TestClass::test_name[parameters]'."""
    path, colons, rest = item.nodeid.partition("::")
    parts = path.replace("\\", "/").split("/")
    package = parts[-3] if len(parts) > 2 and parts[-2] == "tests" else ""
    return f"{package.lstrip('_')}/{parts[-1]}{colons}{rest}".lstrip("/")


def applies(group):
    return numpy.__version__.startswith(group.version)


class Suite:
    """The plugin. `path` is an empty directory; `differences` are Groups."""

    def __init__(self, path, differences):
        self.shelves = Shelves(path)
        self._namespace = Namespace(self.shelves)
        self._reasons = {test: group.reason for group in differences if applies(group) for test in group.tests}
        self._substituting = False
        self._differed = {}  # expected difference that was run: whether it did differ
        self._counts = collections.Counter()

    # --- running ----------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        verdict, reports = self._run_both(item, nextitem)
        self._counts[verdict] += 1
        for report in reports:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def _run_both(self, item, nextitem):
        plain = runtestprotocol(item, log=False, nextitem=nextitem)
        if outcome(plain) == "skipped":
            return "skipped", plain
        if outcome(plain) == "failed":
            return "failed plain", set_aside(plain, "it fails with plain arrays")
        before = self.shelves.substituted
        reports = self._run_substituted(item, nextitem)
        if self.shelves.substituted == before:
            self._counts["without arrays"] += 1
        expected = self._expected(item)
        if outcome(reports) == "passed":
            self._differed.setdefault(expected, False)
            return "passed", reports
        if expected is not None:
            self._differed[expected] = True
            return "expected", set_aside(reports, self._reasons[expected])
        if outcome(runtestprotocol(item, log=False, nextitem=nextitem)) != "passed":
            return "not repeatable", set_aside(reports, "it does not pass twice with plain arrays")
        return "unexpected", [as_failure(report) for report in reports]

    def _run_substituted(self, item, nextitem):
        self._substituting = True
        try:
            with substituted(item.module, self._namespace):
                return runtestprotocol(item, log=False, nextitem=nextitem)
        finally:
            self._substituting = False
            self.shelves.erase()

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem):
        if self._substituting:
            pyfuncitem.funcargs.update(parameters(pyfuncitem.funcargs, self._namespace, self.shelves))

    def _expected(self, item):
        """The entry that this is: of its parameters, of the test with any of them, or of its class; else None."""
        name = name_of(item)
        test = name.partition("[")[0]
        return next((key for key in (name, test, test.rpartition("::")[0]) if key in self._reasons), None)

    # --- reporting --------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report):
        # No dot for each of ten thousand.
        if report.outcome != "failed":
            return report.outcome if report.when == "call" else "", "", ""
        return None

    def _agreeing(self):
        return sorted(name for name, differed in self._differed.items() if name is not None and not differed)

    def pytest_sessionfinish(self, session):
        self.shelves.close()
        if self._agreeing() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        counts = self._counts
        ran = counts["passed"] + counts["expected"] + counts["unexpected"] + counts["not repeatable"]
        left = self.shelves.left_plain.most_common()
        terminalreporter.ensure_newline()
        for line in (
            f"{ran} tests of NumPy pass plain. With shelved arrays: {counts['passed']} pass, {counts['expected']} differ "
            f"as expected, {counts['unexpected']} otherwise.",
            f"Left out: {counts['skipped']} that NumPy skips or expects to fail here, {counts['failed plain']} that "
            f"fail plain, {counts['not repeatable']} that do not pass twice.",
            f"{self.shelves.substituted} arrays were on a shelf; {counts['without arrays']} tests made none that could "
            "be. Plain stayed " + (", ".join(f"{n} ({reason})" for reason, n in left) or "none") + ".",
            *(f"FAILED: listed in differences.py, and does not differ: {name}" for name in self._agreeing()),
        ):
            terminalreporter.write_line(line)


def set_aside(reports, reason):
    for report in reports:
        if report.outcome != "passed":
            report.outcome = "skipped"
            report.wasxfail = reason
    return reports


def as_failure(report):
    # One that skips itself, or fails as it says it will, only with shelved arrays is a difference like any other.
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"passes with plain arrays, but not with shelved ones: {report.longrepr}"
    return report
