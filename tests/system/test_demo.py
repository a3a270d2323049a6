"""`make demo`, in short: it goes through, and it does not when something is not as it must be.

The second of it is run on a Region of `make up ARGS=--plain-postgres`, which has tests of its own here.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import httpx
import psycopg
import pytest

from demos import demo
from local.emulator import NO_CERTIFICATES
from local.region import ROOT, LocalRegion
from local.sample_data import DEMO_USERNAME, SampleData, enrolment_messages, generate, load
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


@pytest.fixture(scope="module")
def plain() -> Iterator[LocalRegion]:
    """Give a Region whose people and functions go to PostgreSQL itself, with the sample of the demo."""
    with LocalRegion(plain=True) as region:
        data = generate(100)
        with psycopg.connect(region.conninfo(), autocommit=True) as connection:
            load(connection, data)
        region.enrol(list(enrolment_messages(data, 1)))
        yield region


def test_with_plain_postgres_people_and_functions_go_to_postgresql_itself(plain: LocalRegion) -> None:
    with psycopg.connect(plain.conninfo(), autocommit=True) as connection:
        connection.execute("create temporary table t (id serial)")  # DSQL refuses both
    catalog = httpx.get(
        f"{plain.api_url}/catalog",
        headers={"Authorization": plain.sign_in(DEMO_USERNAME)},
        timeout=30,
        trust_env=False,
        verify=NO_CERTIFICATES,
    )
    assert catalog.json()["items"]
    served = plain.client("lambda").get_function_configuration(
        FunctionName=plain.resources["StorefrontFunction"], Qualifier="live"
    )
    assert served["Environment"]["Variables"]["DATABASE_PORT"] == str(plain.postgres.port)
    plain.check()


def test_the_demo_fails_when_a_balance_is_not_its_ledgers_sum(
    plain: LocalRegion, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_shop(region: LocalRegion, data: SampleData) -> None:
        with psycopg.connect(region.conninfo(), autocommit=True) as connection:
            connection.execute(
                "update xpoints.points_balances set points_balance = points_balance + 1 "
                "where customer_id = %s",
                [data.customers[-1].id],
            )

    def opened(*, say: Callable[[str], None]) -> nullcontext[LocalRegion]:
        return nullcontext(plain)

    monkeypatch.setattr(demo, "LocalRegion", opened)
    monkeypatch.setattr(demo, "_open_shop", open_shop)

    assert demo.main(["--orders", "1"]) == 1
    said = capsys.readouterr().out
    assert "Not as it must be: no balances that differ from their ledger" in said
    # It is the first thing that is not so: the orders themselves went well.
    assert "1 orders were placed" in said
