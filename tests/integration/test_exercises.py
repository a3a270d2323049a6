"""The workshops' exercises, stress test and sale, as they are run by `make`, on a local DSQL."""

from collections import Counter
from collections.abc import Iterator
from io import StringIO
from uuid import uuid4

import pytest
from rich.console import Console

from demos import exercises, sale, stress
from demos.exercises import EXERCISES, Exercise, NotAsToldError, Stage, Story, Typed, agrees
from demos.psql import Psql
from demos.shop_database import ShopDatabase, open_database
from local_dsql.tokens import ADMIN
from sql.transaction import RetryPolicy


@pytest.fixture(scope="module")
def bare() -> Iterator[ShopDatabase]:
    """A local DSQL without the shop's schema."""
    with open_database() as shop:
        yield shop


@pytest.fixture(scope="module")
def shop() -> Iterator[ShopDatabase]:
    with open_database() as shop:
        shop.migrate()
        exercises.people(shop)
        yield shop


@pytest.fixture
def page() -> Console:
    return Console(file=StringIO(), width=160, highlight=False)


def tell(shop: ShopDatabase, page: Console, exercise: Exercise) -> str:
    with Stage(shop, page, int) as stage:
        stage.tell(exercise)
    assert isinstance(page.file, StringIO)
    return page.file.getvalue()


@pytest.mark.parametrize("name", [name for name, each in EXERCISES.items() if not each.before_the_schema])
def test_an_exercise_typed_into_two_psqls_prints_what_the_workshop_says(
    shop: ShopDatabase, page: Console, name: str
) -> None:
    told = tell(shop, page, EXERCISES[name])
    assert "session 1 (us-east-1)" in told
    assert told.count("=> ") >= 5


@pytest.mark.parametrize("_time", ["first", "again"])
def test_the_roles_are_made_linked_used_and_taken_away(bare: ShopDatabase, page: Console, _time: str) -> None:
    told = tell(bare, page, EXERCISES["roles"])
    assert "permission denied for table customers" in told


def test_an_exercise_ends_where_psql_prints_something_else(shop: ShopDatabase, page: Console) -> None:
    def wrong() -> Story:
        """Wrong: a sum that is none."""
        yield Typed(1, "select 1 + 1 as sum;", "sum|3|(1 row)")
        yield Typed(1, "select 'not reached';", "")

    with pytest.raises(NotAsToldError, match=r"(?s)select 1 \+ 1.*the workshop says:  sum\|3"):
        tell(shop, page, Exercise(wrong))


@pytest.mark.parametrize(
    ("prints", "printed", "is_so"),
    [
        ("COMMIT", "COMMIT", True),
        ("COMMIT", "ROLLBACK", False),
        ("COMMIT", "COMMIT\nWARNING:  x", False),
        ("a|1|(1 row)", " a \n---\n 1\n(1 row)\n", True),
        ("a|1|(1 row)", " a \n---\n 11\n(1 row)\n", False),
        ("a | b|1 | x|(1 row)", " a | b \n---+---\n 1 | x\n(1 row)\n", True),
        ("a|*|(1 row)", " a \n---\n anything\n(1 row)\n", True),
        ("", "", True),
        ("", "ERROR:  x", False),
    ],
)
def test_what_psql_prints_is_compared_line_by_line_without_rulers(
    prints: str, printed: str, is_so: bool
) -> None:
    assert agrees(prints, printed) == is_so


def test_psql_says_why_it_cannot_connect(shop: ShopDatabase) -> None:
    cluster = shop.cluster
    psql = Psql(cluster.postgres.bin_directory / "psql", cluster.conninfo(role=ADMIN), "no token")
    with pytest.raises(ConnectionError, match="access denied"), psql:
        pass


def test_transfers_under_load_all_succeed_with_retries_and_no_point_is_lost(shop: ShopDatabase) -> None:
    with shop.session() as admin:
        members = stress.make_accounts(admin, 6)
        before = stress.total(admin)
        callers = stress.Callers(lambda: shop.database("checkout"), parallel=16, connections=8)
        callers.open()
        tally = stress.Tally("with retries", 120)
        result = stress.run(callers, members, 120, RetryPolicy(attempts=60, base_s=0.002), tally)
        callers.close()
        assert stress.total(admin) == before
    assert (result.calls, result.succeeded, result.errors) == (120, 120, {})
    course = tally.course()
    assert (course.done, course.errors) == (120, {})
    assert sum(course.by_second) == sum(course.by_time) == 120
    assert result.retries >= result.most_retries > 0
    assert result.retries >= result.calls_with_retries > 0
    assert result.min_ms <= result.mean_ms <= result.max_ms


def test_without_retries_every_conflict_is_an_error(shop: ShopDatabase) -> None:
    with shop.session() as admin:
        members = stress.make_accounts(admin, 2)
    callers = stress.Callers(lambda: shop.database("checkout"), parallel=16, connections=8)
    callers.open()
    result = stress.run(callers, members, 60, stress.ONCE)
    callers.close()
    assert result.errors["conflict"] > 0
    assert result.succeeded + result.errors.total() == 60
    assert result.retries == 0


def test_the_stress_tests_table_has_the_published_figures_beside(page: Console) -> None:
    ran = stress.Stress(10, 9, Counter(conflict=1), 100.0, 1.0, 3.0, 2.0, 4, 2, 3)
    stress.show(page, stress.table(ran, ran))
    assert isinstance(page.file, StringIO)
    shown = page.file.getvalue()
    for figure in ("90.0%", "93.4%", "conflict: 656", "735", "6.42%", "30.00%", "0.40"):
        assert figure in shown


def test_one_seat_is_sold_to_one_of_sixty_and_every_attempt_is_on_the_scoreboard(
    shop: ShopDatabase, page: Console
) -> None:
    with shop.session() as admin:
        held = sale.hold_sale(admin, shop.database, units=1, buyers=60)
    assert {score.outcome: score.buyers for score in held.scores} == {"done": 1, "out-of-stock": 59}
    assert (held.left, held.orders, held.debits) == (0, 1, sale.PRICE_POINTS)
    sale.show(page, held)
    assert isinstance(page.file, StringIO)
    assert "out-of-stock │     59" in page.file.getvalue()
    with shop.session("reports") as session:
        regions = session.execute(
            "select region, count(*) from xpoints.request_log where subject_id = %s group by 1 order by 1",
            [held.item_id],
        ).fetchall()
    assert regions == [("us-east-1", 30), ("us-west-2", 30)]


def test_tables_are_filled_in_batches_that_a_transaction_can_hold(shop: ShopDatabase) -> None:
    """3,001 accounts are over 9,000 rows; 800 buyers are 3,200."""
    with shop.session() as admin:
        assert len(stress.make_accounts(admin, 3_001)) == 3_001
        sale._set_up(admin, uuid4(), [uuid4() for _ in range(800)], units=1, slots=1)


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (exercises.main, ["nothing"], "there is no exercise 'nothing': choose from roles, conflict,"),
        (exercises.main, ["--step"], "there is no terminal to press it on: leave --step out."),
        (stress.main, ["--transfers", "0"], "--transfers: '0' is not a whole number from 1 to 1000000"),
        (stress.main, ["--parallel", "x"], "--parallel: 'x' is not a whole number from 1 to 2000"),
        (stress.main, ["--accounts", "1"], "--accounts: '1' is not a whole number from 2 to 100000"),
        (sale.main, ["--units", "0"], "--units: '0' is not a whole number from 1 to 1000000"),
        (sale.main, ["--buyers", "-1"], "--buyers: '-1' is not a whole number from 1 to 100000"),
        (sale.main, ["--at-once", "501"], "--at-once: '501' is not a whole number from 1 to 500"),
        (sale.main, ["--slots", "0"], "--slots: '0' is not a whole number from 1 to 500"),
    ],
)
def test_arguments_are_checked_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: object,
    arguments: list[str],
    sentence: str,
) -> None:
    for module in (exercises, stress, sale):
        monkeypatch.setattr(module, "open_database", None)
    assert callable(command)
    with pytest.raises(SystemExit) as caught:
        command(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_the_exercises_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    exercises.main(["--list"])
    assert "skew-locked  Write skew prevented" in capsys.readouterr().out
