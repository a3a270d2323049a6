"""The workshops' exercises, told step by step: two psql sessions side by side on a local Aurora DSQL.

    make exercises                        all of them
    make exercises ARGS="conflict skew"   some of them; ARGS=--list names them
    make exercises ARGS=--step            wait for Enter before each statement

Every statement is typed into a real psql, and what psql prints is compared with what the workshop says;
:'carlos' and :'ana' are psql's variables for the ids of two customers. The and the ticket sale are commands
of their own: `make stress`, `make sale`.
"""

import argparse
import random
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from demos.psql import Psql
from demos.shop_database import REGIONS, ShopDatabase, arn, open_database
from local.sample_data.customers import mailbox_of
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.tokens import ADMIN

CONFLICT = "ERROR:  change conflicts with another transaction (OC000)"
SCHEMA_CHANGED = "ERROR:  schema has been updated by another transaction (OC001)"

CARLOS = "00000000-0000-4000-8000-000000000121"
ANA = "00000000-0000-4000-8000-000000000122"
#: psql's variables for the two customers of the household.
_PEOPLE = {"carlos": CARLOS, "ana": ANA}

ATTEMPTS = 5
PAUSE_CAP_S = 5.0
PAUSE_BASE_S = 0.02

_SESSIONS = ("session 1", "session 2")


class Typed(NamedTuple):
    """A statement that a person types into one of the two sessions, and what psql prints.

    `prints` are the lines that count, separated by "|": without rulers, and blanks alone do not matter. A "*"
    stands for anything.
    """

    session: int
    statement: str
    prints: str


class Said(NamedTuple):
    """What is told between the statements, or done by a program between them."""

    text: str


class Connected(NamedTuple):
    """A session is left for another one, as a role. `prints` is what psql says if it cannot be opened."""

    session: int
    role: str
    prints: str = ""


Step = Typed | Said | Connected
Story = Generator[Step, str, None]
"""Steps; what psql printed is sent back after each."""


def balance(session: int, points: int) -> Typed:
    """Read Carlos's balance."""
    statement = "select points_balance from xpoints.points_balances where customer_id = :'carlos';"
    return Typed(session, statement, f"points_balance|{points}|(1 row)")


def add(session: int, points: int, who: str = "carlos") -> Typed:
    """Add to a balance."""
    return _change(session, f"points_balance + {points}", who)


def _change(session: int, value: str, who: str) -> Typed:
    statement = f"update xpoints.points_balances set points_balance = {value} where customer_id = :'{who}';"  # noqa: S608  # a person types it
    return Typed(session, statement, "UPDATE 1")


def begin(session: int) -> Typed:
    """Begin a transaction: the snapshot is taken."""
    return Typed(session, "begin;", "BEGIN")


def commit(session: int, prints: str = "COMMIT") -> Typed:
    """Commit."""
    return Typed(session, "commit;", prints)


def set_balances(carlos: int, ana: int = 288) -> Iterator[Step]:
    """Start an exercise from known balances."""
    yield _change(0, str(carlos), "carlos")
    yield _change(0, str(ana), "ana")


def conflict() -> Story:
    """Exercise 1: two sessions update the same row, and the first commit wins."""
    yield from set_balances(100)
    yield begin(0)
    yield begin(1)
    yield balance(0, 100)
    yield balance(1, 100)
    yield add(0, 1)
    yield Said("The second session updates the same row. Nobody waits: there are no locks.")
    yield add(1, 10)
    yield balance(1, 110)
    yield commit(0)
    yield Said("The first commit has won. The second is told so at its own COMMIT.")
    yield commit(1, CONFLICT)
    yield Typed(1, r"\echo :LAST_ERROR_SQLSTATE", "40001")
    yield balance(1, 101)


def in_turn() -> Story:
    """Exercise 2: the same updates one after the other both succeed."""
    yield from set_balances(100)
    for session, points in ((0, 1), (1, 10)):
        yield begin(session)
        yield add(session, points)
        yield commit(session)
    yield balance(0, 111)


def snapshot() -> Story:
    """Exercise 3: a read-only transaction keeps its snapshot, and commits without a conflict."""
    yield from set_balances(100)
    yield Typed(0, "begin read only;", "BEGIN")
    yield balance(0, 100)
    yield add(1, 10)
    yield Said("The second session has committed. The first goes on seeing what was when it began.")
    yield balance(0, 100)
    yield commit(0)
    yield balance(0, 110)


def _attempts(conflicts: int, sleep: Callable[[float], None]) -> Story:
    for attempt in range(1, ATTEMPTS + 1):
        yield begin(0)
        yield balance(0, 100 + attempt - 1)
        if attempt <= conflicts:
            yield add(1, 1)
        yield add(0, 10)
        if attempt > conflicts:
            yield commit(0)
            yield Said(f"Attempt {attempt} has succeeded.")
            return
        yield commit(0, CONFLICT)
        if attempt == ATTEMPTS:
            yield Typed(0, r"\echo :LAST_ERROR_SQLSTATE", "40001")
            yield Said(f"Attempt {attempt} was the last: the client reports the error and its SQLSTATE.")
            return
        pause_s = min(PAUSE_CAP_S, PAUSE_BASE_S * 2**attempt) * random.random()
        yield Said(f"Attempt {attempt} has met a conflict: again in {pause_s * 1000:.0f} ms.")
        sleep(pause_s)


def retry(sleep: Callable[[float], None] = time.sleep) -> Story:
    """Exercise 4: a client that tries five times survives a conflicting writer.

    It waits min(5 s, 20 ms x 2^attempt) x random between attempts.
    """
    yield from set_balances(100)
    yield Said("Session 1 is a client with a retry loop; session 2 gets in its way twice.")
    yield from _attempts(2, sleep)


def give_up(sleep: Callable[[float], None] = time.sleep) -> Story:
    """Exercise 4, to its end: after the fifth conflict the client reports the error and its SQLSTATE."""
    yield from set_balances(100)
    yield Said("Session 2 gets in the way of every attempt.")
    yield from _attempts(ATTEMPTS, sleep)


def idempotent() -> Story:
    """Exercise 5: nothing is sent from inside a transaction that may be tried again."""
    yield from set_balances(100)
    yield Typed(0, "delete from xpoints.outbox where region = 'exercise';", "DELETE *")
    sent = 0
    for attempt in (1, 2):
        yield begin(0)
        yield balance(0, 99 + attempt)
        sent += 1
        yield Said(f"The mistake: the client sends a message to a queue from inside. That is message {sent}.")
        yield Typed(
            0,
            "insert into xpoints.outbox (region, shard, id, event_type, detail) "
            "values ('exercise', 0, gen_random_uuid(), 'Exercise.v1', '{}');",
            "INSERT 0 1",
        )
        if attempt == 1:
            yield add(1, 1)
        yield add(0, 10)
        yield commit(0, CONFLICT if attempt == 1 else "COMMIT")
    yield Said(f"One change of the balance, {sent} messages sent. The outbox is part of the transaction:")
    yield Typed(0, "select count(*) from xpoints.outbox where region = 'exercise';", "count|1|(1 row)")


_BOTH = "select points_balance from xpoints.points_balances where customer_id in (:'carlos', :'ana')"


def _boost(suffix: str) -> Iterator[Step]:
    for session in (0, 1):
        yield begin(session)
        yield Typed(session, f"{_BOTH}{suffix};", "points_balance|*|*|(2 rows)")
    yield Said("283 and 288 are together under 1,000: each session boosts another member by 429.")
    yield add(0, 429, "carlos")
    yield add(1, 429, "ana")


def _household(carlos: int, ana: int) -> Typed:
    return Typed(0, f"{_BOTH} order by customer_id;", f"points_balance|{carlos}|{ana}|(2 rows)")


def skew() -> Story:
    """Write skew: under snapshot isolation both boosts commit, although there should be one."""
    yield from set_balances(283, 288)
    yield from _boost("")
    yield commit(0)
    yield Said("The second has read the first one's row and written another: no conflict is seen.")
    yield commit(1)
    yield _household(712, 717)


def skew_locked() -> Story:
    """Write skew prevented: with FOR UPDATE the rows that were read count as written."""
    yield from set_balances(283, 288)
    yield from _boost(" for update")
    yield commit(0)
    yield commit(1, CONFLICT)
    yield _household(712, 288)


def roles() -> Story:
    """Database roles: reports may read, operations may read and write, each linked to an IAM role."""
    for statement, prints in (
        ("create schema lab;", "CREATE SCHEMA"),
        ("create table lab.customers (id int primary key, city text);", "CREATE TABLE"),
        ("insert into lab.customers values (1, 'Anytown');", "INSERT 0 1"),
        ("create role reports with login;", "CREATE ROLE"),
        ("grant usage on schema lab to reports;", "GRANT"),
        ("grant select on lab.customers to reports;", "GRANT"),
        ("create role operations with login;", "CREATE ROLE"),
        ("grant usage on schema lab to operations;", "GRANT"),
        ("grant select, insert, update, delete on lab.customers to operations;", "GRANT"),
    ):
        yield Typed(0, statement, prints)
    denied = f"unable to accept connection, access denied|*{arn('reports')} is not authorized*"
    yield Said("The role is there, and nobody is linked to it: a token of the right action is not enough.")
    yield Connected(1, "reports", f"*{denied}")
    for role in ("reports", "operations"):
        yield Typed(0, f"AWS IAM GRANT {role} TO '{arn(role)}';", "AWS IAM GRANT")
    yield Typed(
        0,
        "select pg_role_name, arn from sys.iam_pg_role_mappings order by pg_role_name;",
        f"pg_role_name | arn|operations | {arn('operations')}|reports | {arn('reports')}|(2 rows)",
    )
    yield Connected(1, "reports")
    yield Typed(1, "select city from lab.customers;", "city|Anytown|(1 row)")
    yield Typed(1, "update lab.customers set city = 'x';", "ERROR:  permission denied for table customers")
    yield Connected(1, "operations")
    yield Typed(1, "update lab.customers set city = 'Springfield';", "UPDATE 1")
    yield Typed(0, "select city from lab.customers;", "city|Springfield|(1 row)")
    yield Said("What was made goes again: a role with a link cannot be dropped.")
    yield Connected(1, ADMIN)
    for role in ("reports", "operations"):
        yield Typed(0, f"AWS IAM REVOKE {role} FROM '{arn(role)}';", "AWS IAM REVOKE")
    yield Typed(0, "drop table lab.customers;", "DROP TABLE")
    yield Typed(0, "drop schema lab;", "DROP SCHEMA")
    for role in ("reports", "operations"):
        yield Typed(0, f"drop role {role};", "DROP ROLE")


def index() -> Story:
    """Index: a job builds it, every open session notices once, and the plan uses it."""
    find = (
        "select id from xpoints.customers where email = 'success+carlos_salazar_121@simulator.amazonses.com';"
    )
    found = f"id|{CARLOS}|(1 row)"
    yield Typed(1, find, found)
    job = yield Typed(
        0, "create index async customers_by_email on xpoints.customers (email);", "job_id|*|(1 row)"
    )
    job_id = job.split()[2]
    yield Typed(
        0,
        "select job_type, object_name from sys.jobs;",
        "job_type | object_name|*INDEX_BUILD | xpoints.customers_by_email*",
    )
    yield Typed(0, f"call sys.wait_for_job('{job_id}');", "*")
    status = f"select status from sys.jobs where job_id = '{job_id}';"  # noqa: S608  # a person types it
    yield Typed(0, status, "status|completed|(1 row)")
    yield Said("The schema has changed under the other session: its next statement fails, once.")
    yield Typed(1, find, SCHEMA_CHANGED)
    yield Typed(1, find, found)
    yield Typed(0, "set enable_seqscan = off;", "SET")
    yield Typed(0, f"explain {find}", "QUERY PLAN|*customers_by_email*")
    yield Typed(0, "drop index xpoints.customers_by_email;", "DROP INDEX")


class Exercise(NamedTuple):
    """A story by its name. Some come before the shop's schema is made: they make what they need."""

    tell: Callable[[], Story]
    before_the_schema: bool = False


EXERCISES = {
    "roles": Exercise(roles, before_the_schema=True),
    "conflict": Exercise(conflict),
    "in-turn": Exercise(in_turn),
    "snapshot": Exercise(snapshot),
    "retry": Exercise(retry),
    "give-up": Exercise(give_up),
    "idempotent": Exercise(idempotent),
    "skew": Exercise(skew),
    "skew-locked": Exercise(skew_locked),
    "index": Exercise(index),
}


class NotAsToldError(Exception):
    """psql printed something else than the workshop says; the message has both."""


def agrees(prints: str, printed: str) -> bool:
    """Tell whether what psql printed is what a step says."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    shown = "|".join(line for line in lines if line and not re.fullmatch(r"[-+]+", line))
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in prints.split("*"))
    # A table's own "|" stands for itself, with a blank at each side.
    return re.fullmatch(pattern.replace(r"\ \|\ ", r"\ ?\|\ ?"), shown, re.DOTALL) is not None


class Stage:
    """Two psql sessions, and the page on which they stand side by side."""

    def __init__(self, shop: ShopDatabase, console: Console, before_each: Callable[[], object]) -> None:
        self._shop, self._console, self._before_each = shop, console, before_each
        self._stack = ExitStack()
        self._sessions: list[Psql] = []

    def __enter__(self) -> "Stage":
        """Open both sessions, as admin."""
        self._sessions = [self._open(ADMIN) for _ in _SESSIONS]
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self._stack.close()

    def _open(self, role: str) -> Psql:
        cluster = self._shop.cluster
        psql = Psql(
            cluster.postgres.bin_directory / "psql",
            cluster.conninfo(role=role),
            self._shop.token(role),
            _PEOPLE,
        )
        return self._stack.enter_context(psql)

    def tell(self, exercise: Exercise) -> None:
        """Tell a story to its end. Raises NotAsToldError where psql prints something else."""
        title, _, more = (exercise.tell.__doc__ or "").partition("\n")
        self._console.rule(f"[bold]{title}", align="left")
        if more.strip():
            self._console.print(Padding(more.strip(), (0, 0, 1, 0)))
        self._show(*(f"[bold]{name}[/] ({region})" for name, region in zip(_SESSIONS, REGIONS, strict=True)))
        story = exercise.tell()
        step = next(story)
        while True:
            printed = self._do(step)
            try:
                step = story.send(printed)
            except StopIteration:
                return

    def _do(self, step: Step) -> str:
        if isinstance(step, Said):
            self._console.print(Padding(f"[italic]{escape(step.text)}", (0, 2)))
            return ""
        self._before_each()
        if isinstance(step, Typed):
            typed, printed = step.statement, self._sessions[step.session].type(step.statement)
        else:
            typed, printed = rf"\connect as {step.role}", self._connect(step)
        color = "red" if "ERROR" in printed or "FATAL" in printed else "green"
        side = ["", ""]
        side[step.session] = f"[cyan]=>[/] {escape(typed)}\n[{color}]{escape(printed)}[/]"
        self._show(*side)
        if not agrees(step.prints, printed):
            raise NotAsToldError(f"{typed}\nprinted:  {printed}\nthe workshop says:  {step.prints}")
        return printed

    def _connect(self, step: Connected) -> str:
        try:
            self._sessions[step.session] = self._open(step.role)
        except ConnectionError as error:
            return str(error)
        return ""

    def _show(self, *sides: str) -> None:
        grid = Table.grid(expand=True, padding=(0, 1))
        for _ in _SESSIONS:
            grid.add_column(ratio=1, overflow="fold")
        grid.add_row(*sides)
        self._console.print(grid)


def people(shop: ShopDatabase) -> None:
    """Make the two customers of the household."""
    with shop.session() as admin:
        for number, (who, name) in enumerate(((CARLOS, "carlos_salazar"), (ANA, "ana_salazar")), start=121):
            username = f"{name}_{number}"
            admin.execute(
                "insert into xpoints.customers (id, username, email) values (%s, %s, %s)",
                [who, username, mailbox_of(username)],
            )
            admin.execute("insert into xpoints.points_balances values (%s, 100)", [who])


def perform(
    shop: ShopDatabase, names: Sequence[str], console: Console, before_each: Callable[[], object]
) -> None:
    """Tell stories by their names; those that come before the schema first. Raises NotAsToldError."""
    chosen = [EXERCISES[name] for name in EXERCISES if name in names]
    for early in (True, False):
        told = [exercise for exercise in chosen if exercise.before_the_schema == early]
        if told and not early:
            with console.status("making the shop's schema"):
                shop.migrate()
                people(shop)
        if told:
            with Stage(shop, console, before_each) as stage:
                for exercise in told:
                    stage.tell(exercise)


def main(arguments: Sequence[str] | None = None) -> None:
    """Tell the exercises that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.exercises",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="exercise", help="by default all")
    parser.add_argument("--list", action="store_true", help="name the exercises and stop")
    parser.add_argument("--step", action="store_true", help="wait for Enter before each statement")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=max(100, min(Console().width, 160)))
    if options.list:
        for name, exercise in EXERCISES.items():
            console.print(f"{name:12} {(exercise.tell.__doc__ or '').partition(chr(10))[0]}")
        return
    if unknown := [name for name in options.names if name not in EXERCISES]:
        parser.error(f"there is no exercise {unknown[0]!r}: choose from {', '.join(EXERCISES)}.")
    if options.step and not sys.stdin.isatty():
        parser.error("--step waits for Enter, and there is no terminal to press it on: leave --step out.")
    wait: Callable[[], object] = (
        (lambda: console.input("[dim]Enter: the next statement[/]")) if options.step else int
    )
    try:
        with console.status("starting a local DSQL") as status, open_database() as shop:
            status.stop()
            perform(shop, options.names or list(EXERCISES), console, wait)
    except (StartError, NotAsToldError, TimeoutError) as error:
        console.print(f"[red]{escape(str(error))}")
        sys.exit(1)
    except (KeyboardInterrupt, EOFError):
        sys.exit(130)
    console.rule(style="green")
    console.print("Every statement was answered as the workshops say.")


if __name__ == "__main__":
    run_command(main)
