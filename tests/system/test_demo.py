"""`make demo`, in short: it goes through, and it does not when something is not as it must be."""

import subprocess
import sys

import psycopg
import pytest

from demos import demo
from local.region import ROOT, LocalRegion
from local.sample_data import SampleData, load


def test_the_demo_tells_its_story_and_everything_adds_up() -> None:
    command = [sys.executable, "-m", "demos.demo", "--orders", "4", "--in-flight", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    for chapter in range(1, 8):
        assert f"\n{chapter}. " in done.stdout
    for shown in (
        "2 database round trips",
        "OrderPlaced.v1",
        "Subject: Your order",
        "422 idempotency-key-reused",
    ):
        assert shown in done.stdout
    assert "4 orders were placed, 1 duplicate requests" in done.stdout
    assert "Everything was as it must be" in done.stdout


def test_the_demo_fails_when_a_balance_is_not_its_ledgers_sum(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_shop(region: LocalRegion, data: SampleData) -> None:
        with psycopg.connect(region.database.conninfo(), autocommit=True) as connection:
            load(connection, data)
            connection.execute(
                "update xpoints.points_balances set points_balance = points_balance + 1 "
                "where customer_id = %s",
                [data.customers[-1].id],
            )

    monkeypatch.setattr(demo, "_open_shop", open_shop)

    assert demo.main(["--orders", "1"]) == 1
    assert "Not as it must be: no balances that differ from their ledger" in capsys.readouterr().out
