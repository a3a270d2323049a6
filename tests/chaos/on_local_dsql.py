"""The same runs on a local DSQL: conflicts at COMMIT, DDL while orders run, XX000, connections that get old.

    python -m tests.chaos.on_local_dsql --first 1 --seeds 8

The server decides what goes wrong in a transaction, not the seed, so a run is not repeated to the step. The
seed still decides who does what, and what fails outside of the database. What must hold is the same.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import errors, pq

import tests.chaos.wire
from local_dsql.arguments import output_file, whole_number
from local_dsql.cluster import LocalDsql
from local_dsql.faults import DONE_NEVERTHELESS
from local_dsql.places import own_directory
from sql.connection import Connection, Database, DatabaseSettings, RetryPolicy
from sql.migrate import migrate
from sql.pipeline import Written
from sql.queries import Statement
from tests.chaos.runner import Result, quieten, run_seed
from tests.chaos.wire import FAULTS, SCHEMA, SET_CLOCK, Links, Plan, Wire
from tests.chaos.world import World

#: Faults of a seed that the server would have to be made to raise: here it has its own.
LEFT_OUT = {*FAULTS, "rollback-lost"} - {"lost-before", "lost-after", "crash-before", "crash-after"}

#: What goes wrong by chance, as often as not to keep anybody from an end.
BY_CHANCE = {"conflicts": 0.05, "schema_changes": 0.002, "failures": 0.02}

#: A connection's 60 minutes, at the pace of a run.
CONNECTION_AGE_S = 2.0

#: For the end of a run: about one attempt in ten fails.
PATIENT = RetryPolicy(attempts=30, base_s=0.0, cap_s=0.0)

_WRITES = re.compile(r"(?i)\binsert\s+into\b|\bdelete\s+from\b|\bupdate\s+\w+\.")

#: Changes of a schema that a release brings while the former one runs: each is a transaction of its own.
RELEASE = (
    "grant select on xpoints.orders to reports",
    "alter table xpoints.orders add column if not exists note_of_next_release text",
    "create index async if not exists orders_of_next_release on xpoints.orders (note_of_next_release)",
    "grant select on xpoints.points_balances to reports",
    "revoke select on xpoints.points_balances from reports",
)


class DsqlLinks(Links):
    """Connections to the local DSQL; setting up and looking on is done at the PostgreSQL behind.

    `conflicted` are the kinds of transactions that met OC000, `committed` those that wrote and were done,
    `met` counts what connections said, by code.
    """

    def __init__(self, cluster: LocalDsql) -> None:
        super().__init__(
            lambda role: cluster.postgres.conninfo() if role == "admin" else cluster.conninfo(role=role)
        )
        self.conflicted: set[frozenset[str]] = set()
        self.committed: set[frozenset[str]] = set()
        self.writes: set[str] = set()
        self.met: Counter[str] = Counter()
        self._release = psycopg.connect(cluster.conninfo(), autocommit=True)
        self._changes = cycle(RELEASE)
        self._change = next(self._changes)
        self._cluster = cluster

    def begin_afresh(self, tables: str) -> None:
        """Empty the tables; nothing is kept, as an index that is built would wait for who looks at it."""
        self.admin.execute(f"truncate {tables}".encode())
        self.admin.execute(SET_CLOCK)

    def take(self, role: str) -> Connection:
        """Give a new connection: a session that was there before has not seen what a release did since."""
        link = Connection.connect(self._conninfo(role), autocommit=True)
        try:
            link.execute(b"set search_path = clock, pg_catalog")
        except psycopg.Error:  # it fails by chance like any other
            link.close()
            raise
        return link

    def put_back(self, role: str, link: Connection) -> None:
        """Close it, and whatever it was at is undone."""
        if link.pgconn.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR):
            link.pgconn.exec_(b"ROLLBACK")
        link.close()

    def change_schema(self) -> None:
        """Do what a release does next; what lost, or had too old a connection, is tried again next time."""
        if self._release.closed:
            self._release = psycopg.connect(self._cluster.conninfo(), autocommit=True)
        with suppress(errors.SerializationFailure, psycopg.OperationalError):
            self._release.execute(self._change.encode())
            self._change = next(self._changes)

    def close(self) -> None:
        """Close all of them."""
        self._release.close()
        super().close()


class _Wire(Wire):
    """A connection that tells what each transaction was that met a conflict, and each that was done."""

    @property
    def _links(self) -> DsqlLinks:
        return cast(DsqlLinks, self._exchanges.links)

    def alone(self, statement: Statement[Any], until: float) -> Written[Any]:
        """Send a statement, which is an exchange of its own."""
        self._learn([statement])
        return super().alone(statement, until)

    def exchange(self, statements: Sequence[Statement[Any]], until: float) -> list[Written[Any]]:
        """Send statements together."""
        self._learn(statements)
        return super().exchange(statements, until)

    def _learn(self, statements: Sequence[Statement[Any]]) -> None:
        self._links.writes |= {
            each.query.name for each in statements if _WRITES.search(each.query.text.decode())
        }

    @contextmanager
    def _exchange(self, name: str) -> Iterator[Plan | None]:
        before, snapshot = list(self._transaction), self.snapshot
        try:
            with super()._exchange(name) as plan:
                if before:
                    self.snapshot = snapshot  # BEGIN has taken it
                yield plan
        except psycopg.Error as error:
            said = str(error)
            code = next((code for code in ("OC000", "OC001") if code in said), error.sqlstate or "lost")
            self._links.met[code] += 1
            names = [*before, *self._names]
            if code == "OC000":
                self._links.conflicted.add(self._kind(names))
            if error.diag.message_hint == DONE_NEVERTHELESS:
                self._transaction = names
                self._note_commit()
            raise

    def _note_commit(self) -> None:
        kind = self._kind(self._transaction)
        if kind & self._links.writes:
            self._links.committed.add(kind)
        super()._note_commit()

    @staticmethod
    def _kind(names: Sequence[str]) -> frozenset[str]:
        return frozenset(names) - {"begin", "commit"}


class DsqlWorld(World):
    """A run in which a release changes the schema as time goes on.

    The server goes on failing by chance when the run comes to rest: whoever asks then is as patient as it
    takes, so that nobody gives up by chance.
    """

    def __init__(self, seed: int, links: Links) -> None:
        assert isinstance(links, DsqlLinks)
        super().__init__(seed, links)
        self._kinds -= LEFT_OUT
        self._release = links.change_schema

    def _calm_down(self) -> None:
        super()._calm_down()
        self.retries = PATIENT
        self._idle.clear()

    def advance_time(self, seconds: int) -> None:
        """Let time pass, and the release go on."""
        super().advance_time(seconds)
        if not self._quiet:
            self._release()


@contextmanager
def open_cluster() -> Iterator[LocalDsql]:
    """Start a local DSQL with the shop's schema, on which things go wrong."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with own_directory("rewards-chaos", place) as directory:
        Path(directory).chmod(0o711)
        limits = {"index_build_s": 0.0, "connection_age_s": CONNECTION_AGE_S}
        # A run opens and drops connections far faster than functions do.
        limits |= {"connections_per_second": 1e6, "connection_burst": 10**6}
        with LocalDsql(Path(directory), tls=False, fsync=False, limits=limits, faults=BY_CHANCE) as cluster:
            settings = DatabaseSettings(cluster.host, "admin", "us-east-1", port=cluster.port, tls="disable")
            database = Database(settings, mint=lambda _: "")
            migrate(database)
            database.discard()
            with psycopg.connect(cluster.postgres.conninfo(), autocommit=True) as admin:
                admin.execute(SCHEMA.encode())
            yield cluster


def run_seeds(seeds: Sequence[int], links: DsqlLinks) -> Iterator[Result]:
    """Run seeds, one after the other."""
    wire: Any = tests.chaos.wire
    wire.Wire = _Wire
    try:
        for seed in seeds:
            yield run_seed(seed, links, DsqlWorld)
    finally:
        wire.Wire = Wire


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds and say what came of them; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.on_local_dsql", description=__doc__)
    parser.add_argument("--seeds", type=whole_number(1), default=8, help="how many to run (%(default)s)")
    parser.add_argument("--first", type=whole_number(1), default=1, help="the first of them (%(default)s)")
    parser.add_argument("--json", type=output_file, help="write the figures to this file")
    options = parser.parse_args(arguments)
    quieten()
    problems: list[str] = []
    done = 0
    with open_cluster() as cluster:
        links = DsqlLinks(cluster)
        for result in run_seeds(range(options.first, options.first + options.seeds), links):
            problems += [f"seed {result.seed}: {problem}" for problem in result.problems]
            done += result.counts["told: done"]
            print(f"seed {result.seed}: {len(result.problems)} problems", flush=True)  # noqa: T201
        figures = {
            "problems": problems,
            "done": done,
            "met": links.met,
            "kinds": len(links.committed),
            "without_a_conflict": [sorted(kind) for kind in links.committed - links.conflicted],
        }
        links.close()
    print("\n".join(problems), dict(links.met), len(links.committed), "kinds of transactions")  # noqa: T201
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
