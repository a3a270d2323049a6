"""What a run did not test for want of a browser: said in its last lines, and a failure where it must be.

`CI=true` or `BROWSER=required` make it one: there a browser is expected, and green is to mean everything.
"""

import os

import pytest

from tools.browser import DEBIAN, why_not

BROWSER_TESTS = "tests/browser/"


class NotTested:
    """Counts the tests of pages that were skipped, and fails the session where they are required."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal
        self._skipped = 0
        self._skipped_files = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and report.nodeid.startswith(BROWSER_TESTS) and not hasattr(report, "wasxfail"):
            self._skipped += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped and report.nodeid.startswith(BROWSER_TESTS):
            self._skipped_files += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        done = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if (self._skipped or self._skipped_files) and is_required() and done:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Say it after pytest's own summary, whose list of what was skipped is long."""
        if self._skipped or self._skipped_files:
            self._terminal.line(said(self._skipped), yellow=True)


def is_required() -> bool:
    """Say whether a run without a browser is a failure."""
    return os.environ.get("CI") == "true" or os.environ.get("BROWSER") == "required"


def said(skipped: int) -> str:
    """Say what was not tested, and what to do. Without Playwright nobody has counted them."""
    if not skipped:
        return "NOT TESTED: the pages, for want of Playwright. make test has it."
    return (
        f"NOT TESTED: {skipped} behaviours of the pages, for want of a browser ({why_not()}). "
        f"On Debian: {DEBIAN}, then make test."
    )
