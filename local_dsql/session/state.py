"""What a session is made of: its connections, its transaction, its statements, and the steps of its batch."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_dsql import refusals, wire
from local_dsql.backend import (
    BOUND,
    CLOSED,
    DESCRIBED,
    EXECUTED,
    PARSED,
    Backend,
    Failure,
    Portal,
    Prepared,
    Run,
    Step,
)
from local_dsql.doomed import with_arguments
from local_dsql.refusals import Refusal
from local_dsql.state import Database, Transaction
from local_dsql.statements import Kind, Rows
from local_dsql.tables import Tables
from local_dsql.wire import Inbox, Link

if TYPE_CHECKING:
    from local_dsql.server import Server

Undo = tuple[int, dict[bytes, Any], bytes, Any]
"""A message of this batch, and a name as it was before."""


@dataclass(slots=True)
class Plan:
    """What is being planned of a batch."""

    messages: list[bytes]
    is_simple: bool
    undo: list[Undo] = field(default_factory=list)
    rows_at_most: int = 0
    """Rows that the steps which were not sent yet may write, as far as that is known."""
    rows_unknown: bool = False
    enlarges: bool = False
    """Whether one of its statements may write more than it was given."""
    ignores_sync: bool = False
    failed_job: str = ""
    """What an asynchronous statement that was tried said: its job is to fail with it."""


class SessionState:
    """What all parts of a session work with."""

    def __init__(self, server: "Server", database: Database, client: Link, inbox: Inbox, link: Link) -> None:
        self.server, self.database = server, database
        self.limits = server.limits
        self.client, self._inbox = client, inbox
        self.backend = Backend(link, client, self._completed)
        self.transaction: Transaction | None = None
        self.turn = asyncio.Lock()
        """Held while a batch runs, or while somebody parks this session."""
        self.busy_since = 0.0
        self.process_id = 0
        self.retirement: asyncio.TimerHandle | None = None
        self.has_had_its_time = False
        self.version = database.version
        """The schema's version that this session knows."""
        self.statements: dict[bytes, Prepared] = {}
        self.portals: dict[bytes, Portal] = {}
        self._steps: list[Step] = []
        self._plan = Plan([], False)
        self._skips_to_sync = False
        self.is_resting = False
        """Whether everything that has come is answered, and the next message begins a batch."""
        client.source = link

    async def ask(self, text: str) -> list[list[bytes | None]]:
        """Run a query of the server's own. Raises ConnectionLostError, and RuntimeError where it fails."""
        answers: list[bytes] = []
        steps = [
            Step(wire.parse(b"", f"/* local_dsql */ {text}"), PARSED),
            Step(wire.bind(b"", b""), BOUND),
            Step(wire.execute(), EXECUTED, watch=answers.append),
        ]
        failure = await self.backend.exchange(steps, sync=True)
        if failure is not None:
            raise RuntimeError(failure.words)
        return [wire.row_values(answer) for answer in answers]

    def settle(self, status: bytes, *, is_good: bool) -> None:
        """Draw the consequences of the state that PostgreSQL is in."""
        transaction = self.transaction
        if status == b"I":
            if transaction is not None:
                if is_good and not transaction.is_block:
                    self.committed(transaction)
                self.leave_transaction(transaction)
            self.portals.clear()
        elif status == b"E":
            if transaction is not None:
                transaction.has_failed = True
        elif transaction is None:
            # COMMIT AND CHAIN: a block without a frame.
            self.transaction = Transaction(True, self.database.moment, self.database.version, is_pinned=True)

    def leave_transaction(self, transaction: Transaction) -> None:
        """Note that a transaction is over."""
        if self.transaction is transaction:
            self.transaction = None
        if transaction.locks:
            transaction.locks.clear()
            self.database.lock_holders -= 1

    def _begun(self, *, is_block: bool) -> Transaction:
        return Transaction(is_block, self.database.moment, self.database.version)

    async def _send(self, *, sync: bool) -> Failure | None:
        steps, self._steps = self._steps, []
        self._plan.rows_at_most, self._plan.rows_unknown = 0, False
        return await self.backend.exchange(steps, sync=sync)

    def _refuse(self, refusal: Refusal, index: int) -> None:
        """Have PostgreSQL raise an error, so that its transaction fails too and answers stay in order."""
        values = [refusal.sqlstate, refusal.message, refusal.detail, refusal.hint]
        steps = self.backend.own("refuse", [value.encode() for value in values], index=index)
        for step in steps:
            step.refusal = refusal
        self._steps += steps

    def _name(self, names: dict[bytes, Any], name: bytes, value: object, index: int) -> None:
        """Give a name a new meaning, to be taken back if the message turns out not to have happened."""
        self._plan.undo.append((index, names, name, names.get(name)))
        if value is None:
            names.pop(name, None)
        else:
            names[name] = value

    def _forget_since(self, index: int) -> None:
        """Take back what messages from one on have planned: they are planned again."""
        undo = self._plan.undo
        while undo and undo[-1][0] >= index:
            _, names, name, before = undo.pop()
            if before is None:
                names.pop(name, None)
            else:
                names[name] = before
        self._steps = []

    def _drop_runs(self, transaction: Transaction, index: int) -> None:
        """Forget what messages of this batch from one on have done: they are to be run again."""
        runs = transaction.runs
        while runs and runs[-1].batch is self._plan and runs[-1].index >= index:
            run = runs.pop()
            if run.query.kind in (Kind.WRITE, Kind.COPY_IN):
                transaction.rows -= run.rows

    def _rows_may_be_too_many(self, transaction: Transaction) -> bool:
        plan = self._plan
        return plan.rows_unknown or transaction.rows + plan.rows_at_most > self.limits.transaction_rows

    async def _ask_own(self, queries: Sequence[str]) -> tuple[Failure | None, list[bytes]]:
        """Ask for one row each, in the client's transaction."""
        answers: list[bytes] = []
        for text in queries:
            name, steps = self.backend.prepared(f"/* local_dsql */ {text}", b"\0\0", -1)
            self._steps += steps
            self._steps.append(Step(wire.bind(b"", name), BOUND))
            self._steps.append(Step(wire.execute(), EXECUTED, watch=answers.append))
        return await self._send(sync=False), answers

    async def _ask_for_tables(self) -> tuple[Failure | None, Tables | None]:
        """Ask what the tables are like, unless that is known for this version of the schema."""
        failure = await self._send(sync=False)
        if failure is not None:
            return failure, None
        database, version = self.database, self.database.version
        queries = ["select pg_dsql.tables()", "select pg_dsql.types()"]
        failure, answers = await self._ask_own(queries[: 1 if database.types else 2])
        if failure is not None:
            return failure, None
        tables = Tables.parse(wire.row_values(answers[0])[0] or b"[]")
        if len(answers) > 1:
            types = json.loads(wire.row_values(answers[1])[0] or b"{}")
            database.types = {int(oid): name for oid, name in types.items()}
        # An older snapshot may show an older schema: then it is ours alone.
        if self.transaction is None or self.transaction.version == version:
            database.learn(tables)
        return None, tables

    async def _resolve_types(self, prepared: Prepared) -> Failure | None:
        """Ask PostgreSQL for the types of a statement's parameters, once."""
        if prepared.resolved is not None:
            return None
        failure = await self._send(sync=False)
        if failure is None and not self.database.types:
            failure, _ = await self._ask_for_tables()
        if failure is not None:
            return failure

        def keep(letter: int, answer: bytes) -> bytes:
            if letter == b"t"[0]:
                prepared.resolved = wire.parameter_oids(answer)
            return b""

        sent = prepared.query.sent.encode(errors="surrogateescape")
        self._steps += [
            Step(wire.parse(b"dsql_types", sent, prepared.oids), PARSED),
            Step(wire.describe_statement(b"dsql_types"), DESCRIBED, shown=True, alter=keep),
            Step(wire.close_statement(b"dsql_types"), CLOSED),
        ]
        return await self._send(sync=False)

    async def _add_with_arguments(
        self, call: str, query: str, prepared: Prepared, values: bytes, index: int
    ) -> Failure | None:
        """Call a function that runs a query for us, with a statement's values as texts."""
        failure = await self._resolve_types(prepared)
        if failure is not None:
            return failure
        oids = prepared.resolved or b"\0\0"
        types = [
            self.database.types.get(int.from_bytes(oids[at : at + 4], "big"), "text")
            for at in range(2, len(oids), 4)
        ]
        texts = ", ".join(f"${number}::text" for number in range(1, len(types) + 1))
        arguments = f"$dsql${with_arguments(query, types)}$dsql$, array[{texts}]::text[]"
        name, steps = self.backend.prepared("/* local_dsql */ " + call.format(arguments), oids, index)
        self._steps += steps
        self._steps.append(Step(wire.bind(b"", name, wire.results_as_text(values)), BOUND, index=index))
        self._steps.append(Step(wire.execute(), EXECUTED, index=index))
        return None

    def _completed(self, run: Run, tag: bytes) -> bytes | None:
        """Take in what an execution did; give an error if that was too much."""
        transaction = self.transaction
        if transaction is None:
            return None
        kind = run.query.kind
        if kind is Kind.COMMIT:
            if tag == b"COMMIT":
                self.committed(transaction)
            self.leave_transaction(transaction)
            return None
        if run.is_counted:
            return None
        last = tag.rsplit(b" ", 1)[-1]
        run.rows = int(last) if last.isdigit() else 0
        if kind in (Kind.WRITE, Kind.COPY_IN):
            transaction.rows += run.rows
            if transaction.rows > self.limits.transaction_rows:
                return wire.error(*refusals.ROW_LIMIT)
        if run.rows or kind in (Kind.SET, Kind.SCHEMA) or not last.isdigit():
            self.note_effect(run, transaction, run.rows)
        return None

    def note_effect(self, run: Run, transaction: Transaction, rows: int) -> None:
        """Keep what an execution did, to do it again, and count what it wrote."""
        query = run.query
        if transaction.is_block:
            transaction.runs.append(run)
        if query.kind is Kind.SCHEMA:
            transaction.changes |= query.changes
            if run.job:
                transaction.jobs.append(run.job)
            return
        if query.kind not in (Kind.WRITE, Kind.COPY_IN):
            return
        transaction.bytes += len(run.values) + len(run.copied) + len(query.text)
        if query.row_bound is Rows.BY_KEY:
            transaction.bytes += len(run.values) * (rows - 1)
        transaction.enlarges = transaction.enlarges or query.enlarges

    def committed(self, transaction: Transaction) -> None:
        """Leave to others what they have to know of a transaction that has committed."""
        database = self.database
        if transaction.removes or transaction.relates:
            database.mark(transaction)
        if transaction.schema_statements and not transaction.has_failed:
            was_current = self.version == database.version
            database.change(transaction.changes)
            if was_current:
                self.version = database.version
            for job in transaction.jobs:
                self.server.schedule_job(database, job)
