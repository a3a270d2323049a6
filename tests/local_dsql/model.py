"""Random interleavings of three sessions, held against a model: snapshot isolation, first committer wins.

    python -m tests.local_dsql.model --seeds 300 --first 1

Every answer is compared, those of transactions that are doomed already too, and what is left at the end.
"""

import argparse
import random
import select
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import psycopg

from local_dsql.arguments import whole_number
from local_dsql.cluster import LocalDsql
from local_dsql.console import run_command
from local_dsql.places import own_directory

SESSIONS = 3
KEYS = range(1, 6)
_INT = 23
"""PostgreSQL's number of the type integer."""

LOSES = ("40001", "OC000")
_NUMBERS = count(1)
Answer = tuple[Any, ...]


class Statement(NamedTuple):
    """A statement with its values, and what the model says to it."""

    text: str
    values: tuple[int, ...]
    expected: Answer


@dataclass
class Store:
    """What is committed, and when each key was last changed or locked, by how much that meets."""

    rows: dict[int, int] = field(default_factory=dict)
    clock: int = 0
    marks: dict[tuple[str, int], int] = field(default_factory=dict)

    def marked_since(self, kinds: str, key: int, moment: int) -> bool:
        """Tell whether a key was given one of these marks after a moment."""
        return any(self.marks.get((kind, key), -1) > moment for kind in kinds)


#: What a transaction did to a row: `A`ll of it (insert, delete, FOR UPDATE), `U`pdate of a column that is no
#: key, FOR KEY `S`HARE; and which of others' deeds that meets.
MEETS = {"A": "AUS", "U": "AU", "S": "A"}


class Transaction:
    """A transaction of the model."""

    def __init__(self, store: Store) -> None:
        self.view = dict(store.rows)
        self.began = store.clock
        self.deeds: set[tuple[str, int]] = set()
        self.wrote: set[int] = set()
        self.failed = False
        self._store = store

    def commit(self) -> Answer:
        """End it: apply what it did, unless another has committed first."""
        store = self._store
        if any(store.marked_since(MEETS[deed], key, self.began) for deed, key in self.deeds):
            return LOSES
        if self.deeds:
            store.clock += 1
            store.marks |= dict.fromkeys(self.deeds, store.clock)
            for key in self.wrote:
                if key in self.view:
                    store.rows[key] = self.view[key]
                else:
                    store.rows.pop(key, None)
        return ("COMMIT",)

    # Each gives a statement and does it in the model.

    def read(self, _key: int, _value: int) -> Statement:
        return Statement("select id, v from mt where id >= {}", (0,), ("SELECT", sorted(self.view.items())))

    def read_joined(self, _key: int, _value: int) -> Statement:
        text = "select a.id, b.v from mt a join mt b using (id) where a.v >= {}"
        return Statement(text, (-1,), ("SELECT", sorted(self.view.items())))

    def update(self, key: int, value: int) -> Statement:
        count = self._update([key], lambda old: old + value)
        return Statement("update mt set v = v + {} where id = {}", (value, key), ("UPDATE", count))

    def update_returning(self, key: int, value: int) -> Statement:
        self._update([key], lambda old: old + value)
        rows = [(key, self.view[key])] if key in self.view else []
        text = "update mt set v = v + {} where id = {} returning id, v"
        return Statement(text, (value, key), ("UPDATE", rows))

    def update_many(self, _key: int, value: int) -> Statement:
        hit = [key for key, old in self.view.items() if old < value]
        count = self._update(hit, lambda old: old + 1)
        return Statement("update mt set v = v + 1 where v < {}", (value,), ("UPDATE", count))

    def update_from(self, key: int, _value: int) -> Statement:
        """Give a row the value of the next one, as this transaction sees it."""
        other = key % len(KEYS) + 1
        hit = [key] if key in self.view and other in self.view else []
        count = self._update(hit, lambda _: self.view[other])
        text = "update mt t set v = s.v from mt s where t.id = {} and s.id = {}"
        return Statement(text, (key, other), ("UPDATE", count))

    def insert(self, key: int, value: int) -> Statement:
        text = "insert into mt values ({}, {})"
        if key in self.view:
            self.failed = True
            return Statement(text, (key, value), ("23505",))
        self._put(key, value)
        return Statement(text, (key, value), ("INSERT", 1))

    def insert_or_nothing(self, key: int, value: int) -> Statement:
        count = int(key not in self.view)
        if count:
            self._put(key, value)
        text = "insert into mt values ({}, {}) on conflict (id) do nothing"
        return Statement(text, (key, value), ("INSERT", count))

    def upsert(self, key: int, value: int) -> Statement:
        if key in self.view:
            self._update([key], lambda old: old + 1)
        else:
            self._put(key, value)
        text = "insert into mt values ({}, {}) on conflict (id) do update set v = mt.v + 1 returning v"
        return Statement(text, (key, value), ("INSERT", [(self.view[key],)]))

    def delete(self, key: int, _value: int) -> Statement:
        rows = [(self.view[key],)] if key in self.view else []
        if rows:
            del self.view[key]
            self.deeds.add(("A", key))
            self.wrote.add(key)
        return Statement("delete from mt where id = {} returning v", (key,), ("DELETE", rows))

    def lock(self, key: int, _value: int) -> Statement:
        return self._lock(key, "A", "for update")

    def lock_many(self, _key: int, value: int) -> Statement:
        hit = sorted((key,) for key, old in self.view.items() if old < value)
        self.deeds |= {("A", key) for (key,) in hit}
        return Statement("select id from mt where v < {} for update", (value,), ("SELECT", hit))

    def share(self, key: int, _value: int) -> Statement:
        return self._lock(key, "S", "for key share")

    def _lock(self, key: int, deed: str, clause: str) -> Statement:
        rows = [(self.view[key],)] if key in self.view else []
        if rows:
            self.deeds.add((deed, key))
        return Statement(f"select v from mt where id = {{}} {clause}", (key,), ("SELECT", rows))

    def _update(self, keys: Sequence[int], change: Callable[[int], int]) -> int:
        hit = [key for key in keys if key in self.view]
        for key in hit:
            self.view[key] = change(self.view[key])
            self.deeds.add(("U", key))
            self.wrote.add(key)
        return len(hit)

    def _put(self, key: int, value: int) -> None:
        self.view[key] = value
        self.deeds.add(("A", key))
        self.wrote.add(key)


OPERATIONS: tuple[Callable[[Transaction, int, int], Statement], ...] = (
    *(Transaction.read, Transaction.read_joined),
    *(Transaction.update, Transaction.update, Transaction.update_returning, Transaction.update_many),
    *(Transaction.update_from, Transaction.insert, Transaction.insert_or_nothing, Transaction.upsert),
    *(Transaction.delete, Transaction.lock, Transaction.lock_many, Transaction.share),
)


class Disagreement(AssertionError):  # noqa: N818  # it is the server that errs
    """The server answered otherwise than the model."""


class Interleaving:
    """One random story, told by a seed."""

    def __init__(
        self, seed: int, sessions: Sequence[psycopg.Connection[Any]], setup: psycopg.Connection[Any]
    ) -> None:
        self.seed = seed
        self.steps = 0
        self._random = random.Random(seed)
        self._sessions = sessions
        self._setup = setup
        self._names: dict[tuple[int, str], bytes] = {}
        """What each session has prepared; psycopg has it forgotten after a ROLLBACK."""
        self._store = Store()
        self._open: list[Transaction | None] = [None] * len(sessions)
        self._trace: list[str] = []

    def run(self) -> None:
        """Tell the story. Raises Disagreement with everything up to the first answer that differs."""
        self._setup.execute("delete from mt")
        for key in self._random.sample(KEYS, 3):
            self._setup.execute("insert into mt values (%s, %s)", (key, key * 10))
            self._store.rows[key] = key * 10
        try:
            for _ in range(self._random.randint(6, 24)):
                self._step(self._random.randrange(len(self._sessions)))
        finally:
            for session in self._sessions:
                session.execute("rollback")
        left = sorted(self._setup.execute("select id, v from mt").fetchall())
        self._compare(0, "what is left", ("rows", left), ("rows", sorted(self._store.rows.items())))

    def _step(self, number: int) -> None:
        transaction = self._open[number]
        opening: list[Statement] = []
        if transaction is None:
            transaction = self._open[number] = Transaction(self._store)
            if self._random.random() < 0.6:
                self._compare(number, "begin", self._one(number, "begin", ())[:1], ("BEGIN",))
                return
            opening = [Statement("begin", (), ("BEGIN",))]
        ends = self._random.random()
        if not opening and (transaction.failed or ends < 0.1):
            self._open[number] = None
            self._names = {key: name for key, name in self._names.items() if key[0] != number}
            self._compare(number, "rollback", self._one(number, "rollback", ())[:1], ("ROLLBACK",))
            return
        count = self._random.choice((1, 1, 1, 2, 3, 4))
        commits = ends < 0.35
        statements = [] if commits and self._random.random() < 0.5 else self._statements(transaction, count)
        together = (self._pipelined, self._prepared, self._batched)
        apart = (self._one_by_one, self._one_by_one)
        send = self._random.choice(together if opening else (*apart, *together))
        statements = [*opening, *statements]
        if commits and not transaction.failed:
            statements.append(Statement("commit", (), transaction.commit()))
            self._open[number] = None
        given = send(number, statements)
        for statement, answer in zip(statements, given, strict=True):
            wanted = statement.expected
            if statement.text in ("begin", "commit"):
                answer = answer if answer[:1] == ("40001",) else answer[:1]
            self._compare(number, f"{send.__name__} {statement.text} {statement.values}", answer, wanted)

    def _statements(self, transaction: Transaction, count: int) -> list[Statement]:
        made = []
        for _ in range(count):
            operation = self._random.choice(OPERATIONS)
            made.append(operation(transaction, self._random.choice(KEYS), self._random.randrange(100)))
            if transaction.failed:
                break
        return made

    def _compare(self, number: int, what: str, given: Answer, wanted: Answer) -> None:
        self.steps += 1
        self._trace.append(f"{number}: {what}: {given}" + ("" if given == wanted else f", not {wanted}"))
        if given != wanted:
            raise Disagreement("\n".join((f"seed {self.seed}", *self._trace)))

    # --- Four ways of sending ------------------------------------------------------------------------------

    def _one(self, number: int, text: str, values: tuple[int, ...]) -> Answer:
        is_bound = bool(values) and self._random.random() < 0.5
        try:
            return _answer(self._execute(number, text, values, is_bound))
        except psycopg.Error as error:
            return _error(error)

    def _execute(
        self, number: int, text: str, values: tuple[int, ...], is_bound: bool
    ) -> psycopg.Cursor[Any]:
        cursor = self._sessions[number].cursor(binary=self._random.random() < 0.3)
        if is_bound:
            prepare = self._random.random() < 0.5
            return cursor.execute(text.format(*["%s"] * len(values)).encode(), values, prepare=prepare)
        return cursor.execute(text.format(*values).encode())

    def _one_by_one(self, number: int, statements: Sequence[Statement]) -> list[Answer]:
        return [self._one(number, statement.text, statement.values) for statement in statements]

    def _prepared(self, number: int, statements: Sequence[Statement]) -> list[Answer]:
        """Send statements that are prepared, and a Sync, in one network write, as the shop does."""
        libpq = self._sessions[number].pgconn
        for statement in statements:
            if (number, statement.text) not in self._names:
                name = self._names[number, statement.text] = b"model_%d" % next(_NUMBERS)
                length = len(statement.values)
                text = statement.text.format(*[f"${place}" for place in range(1, length + 1)])
                assert libpq.prepare(name, text.encode(), [_INT] * length).status == 1, text
        libpq.enter_pipeline_mode()
        for statement in statements:
            name = self._names[number, statement.text]
            libpq.send_query_prepared(name, [b"%d" % value for value in statement.values])
        libpq.pipeline_sync()
        answers: list[Answer] = []
        while True:
            while libpq.flush() or libpq.is_busy():
                select.select([libpq.socket], [], [])
                libpq.consume_input()
            result = libpq.get_result()
            if result is None:
                continue
            if result.status == psycopg.pq.ExecStatus.PIPELINE_SYNC:
                libpq.exit_pipeline_mode()
                return answers
            answers.append(_libpq_answer(result))

    def _pipelined(self, number: int, statements: Sequence[Statement]) -> list[Answer]:
        """Send all in one network write, and read the answers then."""
        cursors: list[psycopg.Cursor[Any]] = []
        failure: psycopg.Error | None = None
        try:
            with self._sessions[number].pipeline():
                for statement in statements:
                    cursors.append(self._execute(number, statement.text, statement.values, True))
        except psycopg.Error as error:
            failure = error
        answers: list[Answer] = []
        for cursor in cursors:
            if cursor.pgresult is None or cursor.pgresult.status not in (1, 2):
                assert failure is not None
                answers.append(_error(failure))
                break
            answers.append(_answer(cursor))
        return answers

    def _batched(self, number: int, statements: Sequence[Statement]) -> list[Answer]:
        """Send all as one simple query."""
        text = ";".join(statement.text.format(*statement.values) for statement in statements)
        answers: list[Answer] = []
        libpq = self._sessions[number].pgconn
        libpq.send_query(text.encode())
        while True:
            while libpq.is_busy():
                libpq.consume_input()
            result = libpq.get_result()
            if result is None:
                return answers
            answers.append(_libpq_answer(result))


def _error(error: psycopg.Error) -> Answer:
    return LOSES if "(OC000)" in str(error) and error.sqlstate == "40001" else (error.sqlstate,)


def _answer(cursor: psycopg.Cursor[Any]) -> Answer:
    tag = (cursor.statusmessage or "").split()[0]
    return (tag, sorted(cursor.fetchall())) if cursor.description else (tag, cursor.rowcount)


def _libpq_answer(result: psycopg.pq.abc.PGresult) -> Answer:
    if result.status in (1, 2):
        return _result_answer(result)
    message = result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) or b""
    state = (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode()
    return LOSES if b"(OC000)" in message else (state,)


def _result_answer(result: psycopg.pq.abc.PGresult) -> Answer:
    tag = (result.command_status or b"").decode().split()[0]
    if not result.nfields:
        return (tag, result.command_tuples)
    rows = [
        tuple(int(result.get_value(row, column) or 0) for column in range(result.nfields))
        for row in range(result.ntuples)
    ]
    return (tag, sorted(rows))


def run_seeds(
    server: LocalDsql, database: str, seeds: Sequence[int], say: Callable[[int], None] | None = None
) -> int:
    """Run interleavings and give how many answers were compared. Raises Disagreement."""
    steps = 0
    with ExitStack() as opened:

        def connect() -> psycopg.Connection[Any]:
            return opened.enter_context(psycopg.connect(server.conninfo(database), autocommit=True))

        setup = connect()
        setup.execute("create table mt (id int primary key, v int)")
        sessions = [connect() for _ in range(SESSIONS)]
        for seed in seeds:
            interleaving = Interleaving(seed, sessions, setup)
            interleaving.run()
            steps += interleaving.steps
            if say is not None:
                say(seed)
    return steps


def main() -> int:
    """Run from the command line. Gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.local_dsql.model", description=__doc__)
    parser.add_argument("--seeds", type=whole_number(1), default=1000, help="how many interleavings (1000)")
    parser.add_argument("--first", type=whole_number(1), default=1, help="the first one's seed (1)")
    given = parser.parse_args()
    began = time.monotonic()

    def say(seed: int) -> None:
        if (seed - given.first + 1) % 100 == 0:
            sys.stderr.write(f"{seed - given.first + 1} of {given.seeds}\n")

    with (
        own_directory("local-dsql-model", passable=True) as directory,
        LocalDsql(directory, tls=False, fsync=False) as server,
    ):
        seeds = range(given.first, given.first + given.seeds)
        try:
            steps = run_seeds(server, "postgres", seeds, say)
        except Disagreement as difference:
            sys.stdout.write(f"{difference}\n")
            return 1
    taken_s = time.monotonic() - began
    sys.stdout.write(f"{given.seeds} interleavings, {steps} answers, none differs, {taken_s:.0f} s\n")
    return 0


if __name__ == "__main__":
    run_command(main)
