"""What all tests share: credentials that belong to nobody, and how they are spread over processes.

Under pytest-xdist (`make test`; by hand, tests run in one process unless `-n` is given) each worker gets one
file of tests after the other (`FilesOfTests`), and a failure is told when it happens.
"""

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from local_dsql.environment import forget_account
from tests.not_tested import BROWSER_TESTS, NotTested

# No test may reach a real account, whoever runs it.
forget_account()
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_SESSION_TOKEN="test",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
)

# What tests start has bytecode, as `make` sees to: to compile takes longer than most of it runs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Garbage is looked for a tenth as often. At a session's end pytest collects all, and says what was left open.
gc.set_threshold(10_000)

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Have each test find the environment as it was: commands that are tested in it forget AWS's keys."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


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
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:  # a worker has none
        config.pluginmanager.register(FailuresAtOnce(terminal), "failures-at-once")
        config.pluginmanager.register(NotTested(terminal), "not-tested")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Give one worker more than there are cores: a quarter of their time, tests wait for other processes."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Give `-n` its scheduler, unless `--dist` names another."""
    return FilesOfTests(config, log) if config.getvalue("dist") == "load" else None
