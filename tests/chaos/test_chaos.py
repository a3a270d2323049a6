"""The same seeds in every run of the tests, and their repeatability.

A hundred bring every kind of fault and of work. With them go those that guards were last missed by in
`make mutations`, as docs/proof.md has them: a seed beyond the hundredth is there for its guard.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.mutations import seeds_of
from tests.chaos.world import JOBS, KINDS

ROOT = Path(__file__).resolve().parents[2]

FIRST = 100
OF_GUARDS = sorted(set(seeds_of(ROOT / "docs" / "proof.md").values()) - set(range(1, FIRST + 1)))
SEEDS = FIRST + len(OF_GUARDS)


def chaos(report: Path, *arguments: str) -> dict[str, Any]:
    """Run chaos in processes of its own; give its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments, "--json", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    figures["said"] = done.stdout
    return figures


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nchaos: {SEEDS} seeds, half a minute or so ...", flush=True)  # noqa: T201
    report = tmp_path_factory.mktemp("chaos") / "figures.json"
    return chaos(report, "--before", *map(str, OF_GUARDS), "--seeds", str(FIRST))


def test_whatever_fails_everything_that_must_hold_holds(figures: dict[str, Any]) -> None:
    assert figures["seeds"] == SEEDS
    assert figures["failed"] == [], figures["said"]


def test_the_seeds_bring_every_kind_of_fault_and_plenty_of_work(figures: dict[str, Any]) -> None:
    counts = figures["counts"]
    assert {kind for kind in KINDS if not counts.get(kind)} == set()
    assert counts["told: done"] > SEEDS
    assert counts["told: replayed"] > SEEDS / 4
    assert counts["relays"] > SEEDS
    assert {kind for kind in JOBS if counts.get(f"job: {kind}", 0) < 10} == set()


def test_a_seed_repeats_the_same_run_step_by_step(figures: dict[str, Any], tmp_path: Path) -> None:
    # In another process, on another server, after other seeds than the first time.
    again = chaos(tmp_path / "again.json", "--first", "20", "--seeds", "6", "--jobs", "1")
    assert again["fingerprints"] == {seed: figures["fingerprints"][seed] for seed in map(str, range(20, 26))}


#: Runs a seed with the database's clock two days before this machine's, and two behind it.
AT_ANOTHER_HOUR = """
import sys
from tests.chaos import wire
from tests.chaos.runner import open_links, open_server, quieten, run_seed
quieten()
with open_server() as server:
    links = open_links(server, "another_hour")
    noon = wire.SET_CLOCK
    for hours in (-36, 60):
        wire.SET_CLOCK = noon.replace(b"'12 hours'", b"'%d hours'" % hours)
        print(run_seed(int(sys.argv[1]), links).fingerprint)
    links.close()
"""


def test_a_seed_is_the_same_at_any_hour(figures: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_ANOTHER_HOUR, "1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(map(int, done.stdout.split())) == {figures["fingerprints"]["1"]}
