"""A server that was killed leaves nothing for long, and one that was stopped nothing at all."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.clean import PREFIXES
from local_dsql.places import own_directory
from local_dsql.ports import free_port
from tests.local_dsql.conftest import Connect

ROOT = Path(__file__).parents[2]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory that PostgreSQL's user can reach, too."""
    with own_directory("local-dsql-tests", passable=True) as place:
        yield place


def start(temporary: Path) -> subprocess.Popen[str]:
    """Start a server as a command in a script's background, and wait until it is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "local_dsql", "--plain", "--port", str(free_port())],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": str(temporary), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as a shell does for `&`
    )
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    return process


def left(temporary: Path) -> list[str]:
    """Give what is there, but for the one copy of PostgreSQL's programs."""
    return [
        path.name for path in temporary.iterdir() if not path.name.startswith("rewards-postgres-programs-")
    ]


def test_what_a_killed_server_leaves_goes_with_the_next_one(temporary: Path) -> None:
    killed = start(temporary)
    family = psutil.Process(killed.pid).children(recursive=True)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    assert left(temporary) != []

    stopped = start(temporary)
    assert len(left(temporary)) <= 3, "its data, its settings and their stand-in"
    stopped.terminate()
    stopped.communicate()

    assert stopped.returncode == 0
    assert left(temporary) == []


def test_whoever_makes_a_directory_of_its_own_is_known_to_make_clean() -> None:
    used = set()
    for path in [*ROOT.glob("[a-z]*/**/*.py")]:
        # One that was killed would leave these for ever. The last one's place is beside what it becomes.
        others = re.findall(r"tempfile\.(?:TemporaryD|mkd|mks|NamedT)\w+\(", path.read_text("utf-8"))
        assert not others or path.name == "postgres.py", f"{path}: use own_directory"
        used |= set(re.findall(r'own_directory\(\s*"([\w-]+)"', path.read_text("utf-8")))

    assert len(used) > 5
    assert used - {"x"} <= set(PREFIXES), "add it to PREFIXES of local/clean.py"


def test_memory_that_sessions_share_lies_beside_the_data(connect: Connect) -> None:
    ((kind,),) = connect().execute("show dynamic_shared_memory_type").fetchall()
    assert kind == "mmap"


def test_a_directory_of_a_process_that_lives_stays(tmp_path: Path) -> None:
    (tmp_path / f"x-{os.getppid()}-1").mkdir()
    (tmp_path / "x-of-somebody").mkdir()
    (tmp_path / "x-999999999-1").mkdir()

    with own_directory("x", tmp_path) as place:
        assert place.is_dir()
        assert {path.name for path in tmp_path.iterdir()} == {
            *(place.name, f"x-{os.getppid()}-1", "x-of-somebody")
        }
    assert not place.exists()
