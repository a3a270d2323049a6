"""`make demo`, in short: it goes through, and it does not when something is not as it must be."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from demos import demo
from local.region import ROOT, LocalRegion
from local.sample_data import SampleData, load
from tests.developer import developer


def test_the_demo_tells_its_story_and_everything_adds_up(tmp_path: Path) -> None:
    """By somebody who has all set up otherwise: account, database, proxies, Python, language, rights."""
    home = tmp_path / "home"
    shadow = tmp_path / "shadow"
    for folder in (home, shadow):
        folder.mkdir()
    for module in ("psycopg", "yaml", "boto3", "httpx"):
        (shadow / f"{module}.py").write_text("raise SystemExit('another one of this name')")
    nobody = "http://127.0.0.1:9"
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {
        "PATH": os.environ["PATH"],
        **developer(home, nobody),
        **dict.fromkeys((*proxies, *map(str.lower, proxies)), nobody),
        "PYTHONPATH": str(shadow),
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "1",
        "PYTHONIOENCODING": "ascii",
        # An encoding of ASCII for files and arguments, too.
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    }
    done = subprocess.run(
        ["make", "demo", "ARGS=--orders 4 --in-flight 2"],
        cwd=ROOT,
        env=environment,
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert not (home / "asked").exists()
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
        with psycopg.connect(region.conninfo(), autocommit=True) as connection:
            load(connection, data)
            connection.execute(
                "update xpoints.points_balances set points_balance = points_balance + 1 "
                "where customer_id = %s",
                [data.customers[-1].id],
            )

    monkeypatch.setattr(demo, "_open_shop", open_shop)

    assert demo.main(["--orders", "1"]) == 1
    assert "Not as it must be: no balances that differ from their ledger" in capsys.readouterr().out
