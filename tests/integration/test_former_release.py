"""The former release goes on working on the schema of this one: only then can a deployment be taken back.

A database gets the former release's schema, then this release's migrations, as in a deployment. Each
statement is planned before and after, as each role whose functions sent it; and the functions run.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from sql.connection import Connection, Database
from sql.migrate import migrate
from sql.queries import load
from tests.former_release import (
    CONTRACT,
    HERE,
    ROLES,
    Step,
    former_migrations,
    new_steps,
    sent,
    steps,
    takes_away,
    unpacked,
)
from tests.integration.conftest import FIXTURE_APPLICATION, settings
from tests.integration.shop import Shop

_PARAMETER = re.compile(r"%\((\w+)\)[sbt]")

#: Files that the migration, the drills' checks and the request log are made of: the owner may do everything.
OF_THE_OWNER = {"migrations", "invariants", "request_log"}


@cache
def statements() -> dict[str, str]:
    """Give the former release's statements by `file:name`, with `$1` for the first parameter."""
    found = {}
    for path in sorted((unpacked() / "sql" / "queries").glob("*.sql")):
        for name, query in load(str(path.with_suffix(""))).items():
            text, numbers = query.text.decode(), dict[str, int]()

            def number(match: re.Match[str], numbers: dict[str, int] = numbers) -> str:
                return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

            found[f"{path.stem}:{name}"] = _PARAMETER.sub(number, text).replace("%%", "%")
    return found


class Upgrade:
    """A database with the former release's schema, brought up to date.

    `sent` is what the former release sends and was accepted before: pairs of a role and a statement.
    """

    def __init__(self, dsql: LocalDsql, name: str, sent: list[tuple[str, str]]) -> None:
        self._dsql, self._name = dsql, name
        self._owner = Database(settings(dsql, name, "admin", application_name=FIXTURE_APPLICATION))
        self.sent = sent

    def bring_up_to_date(self) -> None:
        """Apply the former release's migrations, look at what it sends, and apply this release's."""
        migrate(self._owner, migrations=former_migrations())
        refused = self._refused(self.sent)
        self.sent = [each for each in self.sent if each not in refused]
        migrate(self._owner)

    def change(self, ddl: str) -> None:
        """Do what a migration of this release might have done, what DSQL would refuse included."""
        with psycopg.connect(self._dsql.postgres.conninfo(self._name), autocommit=True) as behind:
            behind.execute(ddl.encode())

    def broken(self) -> dict[tuple[str, str], str]:
        """Give what was accepted before and is refused now, by role and statement: the server's words."""
        return self._refused(self.sent)

    def _refused(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
        found = {}
        for role in {role for role, _ in pairs}:
            with Connection.connect(
                self._dsql.postgres.conninfo(self._name, role),
                autocommit=True,
                application_name=FIXTURE_APPLICATION,
            ) as connection:
                for statement in (statement for sender, statement in pairs if sender == role):
                    try:
                        # Planned, not run: names, types and the role's rights are looked at.
                        connection.execute(f"explain (generic_plan) {statements()[statement]}".encode())
                    except psycopg.Error as error:
                        found[role, statement] = str(error)
        return found

    def look(self) -> Connection:
        """Give the owner's connection."""
        return self._owner.connection()

    def environment(self) -> dict[str, str]:
        """Give what functions are told of this database."""
        where = {"HOST": self._dsql.host, "PORT": str(self._dsql.port), "NAME": self._name}
        return {"DATABASE_TLS": "disable", **{f"DATABASE_{name}": value for name, value in where.items()}}

    def discard(self) -> None:
        """Give the connection back."""
        self._owner.discard()


@pytest.fixture(scope="module")
def upgraded(dsql: LocalDsql) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Give the name of an upgraded database, to be copied and never used, and what was accepted before."""
    name = "upgraded"
    dsql.postgres.create_database(name)
    upgrade = Upgrade(dsql, name, sent())
    upgrade.bring_up_to_date()
    upgrade.discard()
    yield name, upgrade.sent
    dsql.postgres.drop_database(name)


@pytest.fixture
def upgrade(dsql: LocalDsql, upgraded: tuple[str, list[tuple[str, str]]]) -> Iterator[Upgrade]:
    """Give an upgraded database of the test's own."""
    template, accepted = upgraded
    name = f"{template}_copy"
    dsql.postgres.create_database(name, template=template)
    upgrade = Upgrade(dsql, name, accepted)
    yield upgrade
    upgrade.discard()
    dsql.postgres.drop_database(name)


def test_the_former_releases_roles_can_send_its_statements_on_this_schema(upgrade: Upgrade) -> None:
    assert upgrade.broken() == {}


def story(upgrade: Upgrade) -> dict[str, Any]:
    """Have the former release's own code tell tests/former_release/story.py on the schema of this one."""
    roles = (unpacked() / ROLES).read_text()
    shop = Shop(upgrade.look())
    ana, ben = shop.staff_member(), shop.customer(username="ben")
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(unpacked()),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "EVENT_BUS_NAME": "bus",
        "SENDER_ADDRESS": "shop@example.com",
        "MAIL_CONFIGURATION": "mail",
        "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
        "RELAY_RUN_S": "1",
        **upgrade.environment(),
    }
    command = [sys.executable, "-P", str(HERE / "story.py"), roles, str(ana), str(ben), "ben"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


TOLD = {
    "add item": 201,
    "set stock": 200,
    "credit": 201,
    **{f"by {sort}{of}": 200 for sort in ("name", "points", "-points", "-rating") for of in ("", ", of one")},
    "first cart": 200,
    "first look": 200,
    "first order": 201,
    "first order again": 201,
    "relay after the first": 2,
    "first cart cleaned": [],
    "second cart": 200,
    "second look": 200,
    "second order": 201,
    "second order again": 201,
    "relay after the second": 1,
    "second cart cleaned": [],
    "refund": 201,
    "order": 200,
    "transfer": 201,
    "ledger": 200,
    "account": 200,
    "erase": 202,
    "retire": 204,
    "erased": [],
    "retired": [],
    "expire": "done",
    "sweep_orphans": "done",
    "differences": {},
}


def test_the_former_releases_functions_run_on_this_schema(upgrade: Upgrade) -> None:
    assert story(upgrade) == TOLD


def test_what_only_rows_meet_is_met(upgrade: Upgrade) -> None:
    # The former release's statement can be planned, names and rights are right; no order can be written.
    upgrade.change("alter table xpoints.orders add column channel text not null")
    assert upgrade.broken() == {}
    told = story(upgrade)
    assert {step: outcome for step, outcome in told.items() if outcome == 500} == {
        f"{number} order{time}": 500 for number in ("first", "second") for time in ("", " again")
    }


def test_no_statement_of_the_former_release_is_left_out(upgrade: Upgrade) -> None:
    tried = {statement for _, statement in upgrade.sent}
    untried = {
        each for each in statements() if each not in tried and not each.startswith(tuple(OF_THE_OWNER))
    }
    assert untried == set()


TAKEN_AWAY: list[tuple[str, tuple[str, str]]] = [
    ("alter table xpoints.orders drop column region", ("checkout", "checkout:insert_order")),
    ("revoke insert on xpoints.outbox from checkout", ("checkout", "outbox:insert_outbox_row")),
]


@pytest.mark.parametrize(("ddl", "missed"), TAKEN_AWAY)
def test_what_the_former_release_needs_is_missed(upgrade: Upgrade, ddl: str, missed: tuple[str, str]) -> None:
    upgrade.change(ddl)
    assert missed in upgrade.broken()


def test_what_takes_something_away_says_which_release_stopped_using_it() -> None:
    unexplained = [
        f"{step.file}, statement {step.number}"
        for step in new_steps()
        if takes_away(step) and CONTRACT not in step.text
    ]
    assert unexplained == [], f"expand first; or say `{CONTRACT}<why nothing that runs needs it>` before it"


EXPANDING = [
    "create table xpoints.t (id uuid primary key, n int not null)",
    "create index async if not exists i on xpoints.t (n)",
    "alter table xpoints.t add column m int",
    "create role r with login",
    "grant select on xpoints.t to r",
    "create view xpoints.v as select 1 as one",
]
CONTRACTING = [
    "alter table xpoints.t drop column m",
    "alter table xpoints.t add constraint c check (n > 0) not valid",
    "alter table xpoints.t rename column m to k",
    "alter table xpoints.t alter column m set not null",
    "create unique index async i on xpoints.t (n)",
    "create or replace view xpoints.v as select 2 as one",
    "drop index xpoints.i",
    "drop table xpoints.t",
    "revoke select on xpoints.t from r",
    "update xpoints.t set n = 1",
]


@pytest.mark.parametrize("text", EXPANDING)
def test_what_only_adds_needs_no_word(text: str) -> None:
    assert [takes_away(step) for step in steps("f", f"-- why\n{text};")] == [False]


@pytest.mark.parametrize("text", CONTRACTING)
def test_what_may_disturb_the_former_release_needs_one(text: str) -> None:
    (step,) = steps("f", f"-- contract: release 3 reads it no more.\n{text};")
    assert takes_away(step)
    assert CONTRACT in step.text
    assert isinstance(step, Step)
