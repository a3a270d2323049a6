"""The exercises come out as the systems that they are from say."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demos import exercises
from demos.exercises import Workshop
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Database
from sql.transaction import RetryPolicy

Say = Callable[[str], None]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def shop(
    postgres: EmbeddedPostgres, database_name: str, database: Callable[..., Database]
) -> Iterator[Workshop]:
    shop = Workshop(
        lambda role: postgres.conninfo(database_name, role) + " application_name=fixture",
        lambda role, region: database(role, region=region),
    )
    yield shop
    shop.close()


def test_a1_of_two_conflicting_updates_the_first_commit_wins(shop: Workshop, said: list[str]) -> None:
    before = shop.balance(shop.customer)
    assert exercises.conflicting_updates(shop, said.append) == "40001"
    assert shop.balance(shop.customer) == before + 1


def test_a2_one_after_the_other_both_succeed(shop: Workshop, said: list[str]) -> None:
    assert exercises.updates_in_turn(shop, said.append) == 2


def test_a3_a_reader_keeps_its_snapshot_and_commits(shop: Workshop, said: list[str]) -> None:
    before, after = exercises.a_snapshot(shop, said.append)
    assert before == after == shop.balance(shop.customer) - 10


@pytest.mark.parametrize(("conflicts", "outcome"), [(0, (1, None)), (4, (5, None)), (5, (5, "40001"))])
def test_a4_a_retry_loop_survives_four_conflicts_and_reports_the_fifth(
    shop: Workshop, said: list[str], conflicts: int, outcome: tuple[int, str | None]
) -> None:
    pauses: list[float] = []
    assert exercises.retry_loop(shop, said.append, conflicts, pauses.append) == outcome
    assert all(pause <= 0.02 * 2**attempt for attempt, pause in enumerate(pauses, 1))


def test_a5_only_what_is_committed_happens_once(shop: Workshop, said: list[str]) -> None:
    assert exercises.side_effects(shop, said.append) == (2, 1)


def test_b_transfers_under_load_all_succeed_with_retries(shop: Workshop, said: list[str]) -> None:
    stress = exercises.transfers(
        shop, said.append, calls=120, accounts=6, parallel=8, policy=RetryPolicy(attempts=60, base_s=0.002)
    )
    assert stress.succeeded == 120
    assert not stress.errors
    row: Any = shop.admin.execute("select sum(points_balance) from xpoints.points_balances").fetchone()
    assert row[0] == 6 * 100 + 100, "no point was made or lost"


def test_c_without_a_lock_the_household_is_boosted_twice_and_with_it_once(
    shop: Workshop, said: list[str]
) -> None:
    assert exercises.write_skew(shop, said.append, locked=False) == (712, 717)
    assert exercises.write_skew(shop, said.append, locked=True) == (712, 288)


def test_d_one_seat_is_sold_to_one_of_sixty(shop: Workshop, said: list[str]) -> None:
    assert exercises.last_seat(shop, said.append) == {"done": 1, "out-of-stock": 59}
