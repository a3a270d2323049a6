"""Some seeds on a local DSQL, where what only DSQL does goes wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

SEEDS = 8


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    report = tmp_path_factory.mktemp("chaos") / "figures.json"
    command = [
        sys.executable,
        "-m",
        "tests.chaos.on_local_dsql",
        "--seeds",
        str(SEEDS),
        "--json",
        str(report),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert report.exists(), done.stdout + done.stderr
    read: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return read


def test_whatever_fails_everything_that_must_hold_holds(figures: dict[str, Any]) -> None:
    assert figures["problems"] == []
    assert figures["done"] > SEEDS


@pytest.mark.parametrize("code", ["OC000", "OC001", "XX000", "lost"])
def test_conflicts_changes_of_the_schema_failures_and_lost_connections_were_met(
    figures: dict[str, Any], code: str
) -> None:
    assert figures["met"][code] > 0


def test_every_kind_of_transaction_has_met_a_conflict_at_commit(figures: dict[str, Any]) -> None:
    assert figures["kinds"] > 30
    assert figures["without_a_conflict"] == []
