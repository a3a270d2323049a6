"""What all tests share: credentials that belong to nobody, and a look at every SQL statement they ran.

Whenever a server stops that a test started with its statement log on, the statements of the project's own
connections (application name `rewards...`) are checked against what Aurora DSQL refuses. The session fails
when there is a finding, even if all tests passed. Under pytest-xdist each worker checks its own servers and
hands its findings to the process that runs the workers.
"""

import os
from types import TracebackType
from typing import Any

import pytest

from local_dsql.postgres import EmbeddedPostgres
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

_WORKER_OUTPUT = "dsql_findings"


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


def pytest_configure(config: pytest.Config) -> None:
    check = ExecutedStatementsCheck()
    config.pluginmanager.register(check, "executed-statements-check")
