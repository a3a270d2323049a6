"""What all tests share: credentials that belong to nobody, and a look at every SQL statement they ran.

Whenever a server stops that a test started with its statement log on, the statements of the project's own
connections (application name `rewards...`) are checked against what Aurora DSQL refuses. The session fails
when there is a finding, even if all tests passed. Under pytest-xdist each worker checks its own servers and
hands its findings to the process that runs the workers.

Under pytest-xdist (`make test`; by hand, tests run in one process unless `-n` is given) each worker gets one
file of tests after the other (`FilesOfTests`), and a failure is told when it happens.
"""

import os
from types import TracebackType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from local_dsql.postgres import EmbeddedPostgres
from tests.not_tested import BROWSER_TESTS, NotTested
from tools.dsql_check import executed_findings

# No test may reach a real account, whoever runs it.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_SESSION_TOKEN="test",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
)
for _name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
    os.environ.pop(_name, None)

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

_WORKER_OUTPUT = "dsql_findings"


class FilesOfTests(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives each worker a file of tests after the other: what its tests share is made once.

    One worker begins with the system's, which take longest and share a Region that takes long to start; only
    when nothing else is left does another start a Region, to help.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._has_region: set[Any] = set()

    def _split_scope(self, nodeid: str) -> str:
        # One browser and one pair of Regions serve all tests of the pages.
        return BROWSER_TESTS if nodeid.startswith(BROWSER_TESTS) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        wants_region = node in self._has_region or not self._has_region
        ranked = sorted(self.workqueue, key=lambda file: file.startswith("tests/system/") != wants_region)
        if ranked[0].startswith("tests/system/"):
            self._has_region.add(node)
        self.workqueue.move_to_end(ranked[0], last=False)
        super()._assign_work_unit(node)


class ExecutedStatementsCheck:
    """Gathers findings from each server as it stops, and fails the session with them at its end."""

    def __init__(self) -> None:
        self._findings: list[str] = []
        self._stop = EmbeddedPostgres.__exit__

    def pytest_configure(self) -> None:
        check = self

        def stop_and_check(
            server: EmbeddedPostgres,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            check._stop(server, kind, error, trace)
            # Only now is the log complete, and still there.
            check._findings += map(str, executed_findings(server.executed_statements()))

        EmbeddedPostgres.__exit__ = stop_and_check  # type: ignore[method-assign]

    def pytest_unconfigure(self) -> None:
        EmbeddedPostgres.__exit__ = self._stop  # type: ignore[method-assign]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self._findings += getattr(node, "workeroutput", {}).get(_WORKER_OUTPUT, [])

    # Last: session fixtures, and with them servers, may end as late as in this hook.
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._findings = sorted(set(self._findings))
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_WORKER_OUTPUT] = self._findings
        elif self._findings and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._findings:
            terminalreporter.section("statements that Aurora DSQL would refuse", sep="=", red=True)
            for finding in self._findings:
                terminalreporter.line(finding)


class FailuresAtOnce:
    """Names each test that fails when it does: whoever waits for the other thousand can begin to look."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = (crash.message if crash else report.longreprtext).partition("\n")[0]
            self._terminal.write_line("")
            self._terminal.write_line(f"{report.nodeid} fails: {said}"[:200], red=True)


@pytest.hookimpl(trylast=True)  # the terminal's own comes first
def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ExecutedStatementsCheck(), "executed-statements-check")
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:  # a worker has none
        config.pluginmanager.register(FailuresAtOnce(terminal), "failures-at-once")
        config.pluginmanager.register(NotTested(), "not-tested")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Give `-n` its scheduler, unless `--dist` names another."""
    return FilesOfTests(config, log) if config.getvalue("dist") == "load" else None
