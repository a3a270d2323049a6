"""What the pages print, typed in the Region that `make up` starts, with nothing in the environment.

What runs by itself, and what needs an account: tests/unit/test_documented_commands.py.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from demos import tour
from local.made_up import made_up
from local.region import MEMORY, ROOT
from tests.documented import IN_THE_REGION
from tests.documents import PAGES, Block, blocks, commands, prose, spans

#: What a person also has: a link, a dead proxy, libpq's variables, strict rights, a terminal of ASCII.
ALSO_TYPED = (
    'ln -s "$PWD/rewards" "$HOME/rewards" && HTTP_PROXY=http://127.0.0.1:9 "$HOME/rewards" queues list',
    "PGSSLMODE=require PGSERVICE=nobody ./rewards audit",
    "umask 077 && ./rewards outbox status",
    "PYTHONPATH=/nowhere PYTHONHOME=/nowhere PYTHONWARNINGS=error PYTHONOPTIMIZE=2 LC_ALL=C ./rewards audit",
    "ALL_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 CDPATH=/ sh tests/../rewards queues list",
    "PYTHONHOME=/nowhere PYTHONWARNINGS=error HTTP_PROXY=http://127.0.0.1:9 make token",
    "PYTHONPATH=/nowhere PYTHONWARNINGS=error ALL_PROXY=http://127.0.0.1:9 LC_ALL=C "
    "make invoke FUNCTION=StorefrontFunction",
    "PGSSLMODE=require PGSERVICE=nobody PGOPTIONS=-cx=y PGHOST=nowhere make psql ARGS=\"-Atc 'select 1'\"",
    "PYTHONIOENCODING=ascii LANG=C ./rewards customer carlos_salazar_121",
    "make psql ARGS=\"-Atc 'select count(*) >= 1000 from customers'\" | grep -x t",
    '. .local/region.env && curl -fsS -H "Authorization: $TOKEN" "$API/cart"',
    '. .local/region.env && curl -fsS -H "Authorization: $(make token)" "$API/points"',
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder in which nothing is."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module", autouse=True)
def starter(home: Path) -> Iterator[psutil.Process]:
    """The process that `make up` starts, with the sample data: one for all tests of this file.

    It begins as poor as the commands, for somebody whose new files nobody else may read.
    """
    with made_up(empty(home), umask=0o077) as process:
        yield psutil.Process(process.pid)


def empty(home: Path) -> dict[str, str]:
    """Give an environment with nothing in it but what a shell cannot do without."""
    return {"HOME": str(home), "PATH": os.environ["PATH"]}


def typed(command: str, home: Path) -> str:
    """Type a command in the project's folder; give what it printed. It has to end well."""
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env=empty(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("command", [*IN_THE_REGION, *ALSO_TYPED])
def test_a_command_does_as_it_is_printed(command: str, home: Path) -> None:
    typed(command, home)


def statements() -> list[str]:
    """Give what the pages have the database asked, in the order of the pages."""
    found = [
        block.text
        for page in PAGES
        for block in blocks(page)
        if block.language == "sql" and block.page != "docs/extend.md"
    ]
    found += [span for page in PAGES for span in spans(page) if re.match("select .+ from ", span)]
    return sorted(set(found), key=found.index)


@pytest.mark.parametrize("statement", statements())
def test_the_database_answers_a_statement(statement: str, home: Path, tmp_path: Path) -> None:
    script = tmp_path / "typed.sql"
    script.write_text(statement)

    typed(f"make psql ARGS='-v ON_ERROR_STOP=1 -f {script}'", home)


def skeleton(value: Any) -> Any:
    """Give what of an answer is the same each time: members and kinds of values, and of a list its first."""
    match value:
        case dict():
            return {name: skeleton(each) for name, each in value.items()}
        case list():
            return [skeleton(each) for each in value[:1]]
    return None if value is None else type(value).__name__


def alike(one: Any, other: Any) -> bool:
    """Tell whether two skeletons are the same; a value that is not there may be of any kind."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one is None or other is None or one == other


def shape(block: Block) -> Any:
    """Give what of a block is the same each time: commands; an answer's status, headers and members."""
    if block.language != "http":
        return commands(block)
    head, _, body = block.text.partition("\n\n")
    status, *headers = head.strip().splitlines()
    return [status, *(line.partition(":")[0] for line in headers), skeleton(json.loads(body or "null"))]


def test_the_tour_of_the_api_goes_as_the_page_has_it(tmp_path: Path) -> None:
    taken = tmp_path / "api.md"
    tour.write(tour.take(), taken)

    def shapes(page: Path) -> list[Any]:
        return [shape(block) for block in blocks(page)]

    stale = "the page is not what comes back: .local/dev/bin/python -m demos.tour"
    for now, then in zip(shapes(taken), shapes(tour.PAGE), strict=True):
        assert alike(now, then), f"{stale}\n{now}\n{then}"
    assert prose(taken) == prose(tour.PAGE), stale


def test_a_region_stopped_by_sigterm_leaves_no_process_and_no_file(starter: psutil.Process) -> None:
    family = starter.children(recursive=True)
    assert any("ministack" in " ".join(member.cmdline()) for member in family)

    starter.terminate()

    _, alive = psutil.wait_procs([starter, *family], timeout=30)
    assert [member for member in alive if member != starter] == []
    assert not list((ROOT / ".local").glob(f"region.{starter.pid}.*"))
    assert not list((ROOT / ".local" / "run").glob(f"{starter.pid}-*"))
    assert not list(MEMORY.glob(f"rewards-{starter.pid}-*"))
