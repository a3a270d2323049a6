"""A client's session: its messages in batches, its transaction, and what comes of it if others commit first.

A batch is what a client sends up to a Sync or Flush; a simple query is made one. Each message becomes steps
(backend.py), all steps of a batch leave in one write, and one answer goes back. Inside of a block everything
that it does happens in a frame, a savepoint right behind BEGIN, so that the snapshot of BEGIN outlives it:

parked      Somebody waits for a lock of a block whose client is idle. The frame is rolled back, which frees
            the locks, and what had an effect is run again before the next statement, COMMIT at the latest.
doomed      PostgreSQL said 40001, or a key turned out to be taken: another transaction has committed first.
            The frame is rolled back and the block goes on in its own copies (doomed.py). COMMIT says OC000.
acquitted   The statement that doomed the block changed nothing there: the block goes back to the real tables.
"""

import asyncio
import base64
import json
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pglast import ast

from local_dsql import refusals, statements, wire
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
from local_dsql.doomed import doubles, lock_trace, on_copies, rows_to_bring, with_arguments
from local_dsql.effects import Effect, weigh
from local_dsql.fast_path import FastPath
from local_dsql.refusals import Refusal
from local_dsql.state import Database, Lock, Transaction
from local_dsql.statements import EFFECTS, Kind, Query, Rows, Table
from local_dsql.table_refusals import LIMITED, Counts, find_with_counts, find_with_table
from local_dsql.tables import Tables
from local_dsql.wire import Inbox, Link

if TYPE_CHECKING:
    from local_dsql.server import Server

log = logging.getLogger(__name__)

_MOST_RETRIES = 30
_RETRY_S = 0.002
_ROW_BYTES_AT_MOST = 2 << 20
_BEGINS_AND_ENDS = frozenset({Kind.BEGIN, Kind.COMMIT, Kind.ROLLBACK})
_DEADLOCKS = ("40P01", "55P03")
_SHOWN_VERSIONS = {"server_version": "16.15", "server_version_num": "160015"}


_Undo = tuple[int, dict[bytes, Any], bytes, Any]
"""A message of this batch, and a name as it was before."""


@dataclass(slots=True)
class _Plan:
    """What is being planned of a batch."""

    messages: list[bytes]
    is_simple: bool
    undo: list[_Undo] = field(default_factory=list)
    rows_at_most: int = 0
    """Rows that the steps which were not sent yet may write, as far as that is known."""
    rows_unknown: bool = False
    enlarges: bool = False
    """Whether one of its statements may write more than it was given."""
    ignores_sync: bool = False
    failed_job: str = ""
    """What an asynchronous statement that was tried said: its job is to fail with it."""


class Session:
    """One client and its session of PostgreSQL."""

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
        self.opened_at = time.monotonic()
        self.version = database.version
        """The schema's version that this session knows."""
        self.statements: dict[bytes, Prepared] = {}
        self.portals: dict[bytes, Portal] = {}
        self._steps: list[Step] = []
        self._plan = _Plan([], False)
        self._skips_to_sync = False
        self.is_resting = False
        """Whether everything that has come is answered, and the next message begins a batch."""
        client.source = link
        self._fast_path = FastPath(self)

    # --- Conversation ------------------------------------------------------------------------------------

    async def converse(self) -> None:
        """Serve the client until one of the two is gone. Raises ConnectionLostError."""
        batch: list[bytes] = []
        inbox, server = self._inbox, self.server
        while True:
            self.is_resting = not batch and not self._skips_to_sync and inbox.is_empty
            raw = await inbox.next()
            self.is_resting = False
            letter = raw[0]
            if letter == wire.TERMINATE:
                return
            if self._skips_to_sync:
                if letter == wire.SYNC:
                    self._skips_to_sync = False
                    self.client.write(wire.READY[self.backend.status])
                continue
            batch.append(raw)
            if letter not in (wire.SYNC, wire.QUERY, wire.FLUSH):
                continue
            async with self.turn:
                server.begins_work(self)
                try:
                    await self._fast_path.undo()
                    await (self._run_query(raw) if letter == wire.QUERY else self._run(_Plan(batch, False)))
                finally:
                    server.ends_work(self)
            batch = []
            if self.is_too_old():
                return

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

    def retire(self) -> None:
        """End a connection that is too old, now or as soon as its transaction is over."""
        if not self.busy_since and self.transaction is None:
            self.client.close()

    def leave(self) -> None:
        """End the session of PostgreSQL."""
        self.server.ends_work(self)
        if self.transaction is not None:
            self.leave_transaction(self.transaction)
        if self.retirement is not None:
            self.retirement.cancel()
        self.backend.link.write(wire.message(b"X"))
        self.backend.link.close()

    def is_too_old(self) -> bool:
        """Tell whether the connection has had its time; a transaction may still end within its own."""
        age_s = time.monotonic() - self.opened_at
        return age_s > self.limits.connection_age_s and self.transaction is None

    async def _run_query(self, raw: bytes) -> None:
        messages: list[bytes] = []
        for part in statements.split(raw[5:-1].decode(errors="surrogateescape")):
            messages += (wire.parse(b"", part), wire.bind(b"", b""))
            if statements.read(part).returns_rows or statements.read(part).kind in (Kind.READ, Kind.CALL):
                messages.append(wire.describe_portal())
            messages.append(wire.execute())
        if not messages:
            self.backend.output.append(wire.EMPTY_QUERY)
        await self._run(_Plan([*messages, wire.SYNC_MESSAGE], True))

    async def _run(self, plan: _Plan) -> None:
        """Run a batch, whatever it takes, and answer it."""
        self._plan = plan
        self._steps = []
        index = 0
        while index < len(plan.messages):
            failure = await self._take(index)
            if failure is None:
                index += 1
                continue
            resumed = await self._resolve(failure)
            if resumed is None:
                self._end_failed_batch()
                return
            self._forget_since(resumed)
            index = resumed
        self.backend.pass_on()

    def _end_failed_batch(self) -> None:
        plan = self._plan
        self._steps = []
        self.settle(self.backend.status, is_good=False)
        if plan.messages[-1][0] == wire.SYNC and not plan.ignores_sync:
            self.backend.output.append(wire.READY[self.backend.status])
        else:
            self._skips_to_sync = True
        self.backend.pass_on()

    async def _take(self, index: int) -> Failure | None:
        """Plan one message of the batch; send what is planned where the message asks for it."""
        raw = self._plan.messages[index]
        letter = raw[0]
        if letter == wire.BIND:
            return await self._bind(raw, index)
        if letter == wire.EXECUTE:
            return await self._execute(raw, index)
        if letter == wire.DESCRIBE:
            self._describe(raw, index)
        elif letter == wire.PARSE:
            self._parse(raw, index)
        elif letter == wire.SYNC:
            return await self._sync()
        elif letter == wire.FLUSH:
            return await self._send(sync=False)
        elif letter == wire.CLOSE:
            names: dict[bytes, Any] = self.statements if raw[5:6] == b"S" else self.portals
            self._name(names, raw[6:-1], None, index)
            self._steps.append(Step(raw, CLOSED, shown=True, index=index))
        else:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index))
        return None

    async def _send(self, *, sync: bool) -> Failure | None:
        steps, self._steps = self._steps, []
        self._plan.rows_at_most, self._plan.rows_unknown = 0, False
        return await self.backend.exchange(steps, sync=sync)

    async def _sync(self) -> Failure | None:
        plan = self._plan
        if plan.ignores_sync:
            return await self._send(sync=False)
        transaction = self.transaction
        if transaction is not None and not transaction.is_block and self._rows_may_be_too_many(transaction):
            # The Sync would commit: first see whether it may.
            failure = await self._send(sync=False)
            if failure is not None:
                return failure
        failure = await self._send(sync=True)
        if failure is None:
            self.settle(self.backend.status, is_good=True)
            self.backend.output.append(wire.READY[self.backend.status])
        return failure

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

    # --- Parse, Describe ---------------------------------------------------------------------------------

    def _parse(self, raw: bytes, index: int) -> None:
        end = raw.index(0, 5)
        second = raw.index(0, end + 1)
        name, oids = raw[5:end], raw[second + 1 :]
        query = statements.read(raw[end + 1 : second].decode(errors="surrogateescape"))
        if query.refusal is not None:
            self._refuse(query.refusal, index)
            return
        if self.version != self.database.version and self._meets_change(query, index):
            return
        self._name(self.statements, name, Prepared(query, oids), index)
        sent = query.sent
        if query.role_link is not None:
            action, role, arn = query.role_link
            sent = f"call pg_dsql.iam_{action.lower()}({_literal(role)}, {_literal(arn)})"
        if sent is not query.text:
            raw = wire.parse(name, sent.encode(errors="surrogateescape"), oids)
        self._steps.append(Step(raw, PARSED, shown=not self._plan.is_simple, index=index))

    def _describe(self, raw: bytes, index: int) -> None:
        query = None
        if raw[5:6] == b"P":
            portal = self.portals.get(raw[6:-1])
            query = portal.prepared.query if portal is not None else None
        else:
            prepared = self.statements.get(raw[6:-1])
            query = prepared.query if prepared is not None else None
        alter: Callable[[int, bytes], bytes] | None = None
        if query is not None and query.job_type:
            alter = _describe_job
        elif self._plan.is_simple:
            alter = _without_no_data
        self._steps.append(Step(raw, DESCRIBED, shown=True, index=index, alter=alter))

    def _refuse(self, refusal: Refusal, index: int) -> None:
        """Have PostgreSQL raise an error, so that its transaction fails too and answers stay in order."""
        values = [refusal.sqlstate, refusal.message, refusal.detail, refusal.hint]
        steps = self.backend.own("refuse", [value.encode() for value in values], index=index)
        for step in steps:
            step.refusal = refusal
        self._steps += steps

    def _meets_change(self, query: Query, index: int) -> bool:
        """Refuse a statement against a table that was changed since this session looked; it may try again."""
        if not self.database.has_changed(query, self.version):
            return False
        self.version = self.database.version
        self._refuse(refusals.SCHEMA_CHANGED, index)
        return True

    # --- Bind --------------------------------------------------------------------------------------------

    async def _bind(self, raw: bytes, index: int) -> Failure | None:
        end = raw.index(0, 5)
        second = raw.index(0, end + 1)
        prepared = self.statements.get(raw[end + 1 : second])
        if prepared is None:
            self._steps.append(Step(raw, BOUND, shown=True, index=index))
            return None
        name = raw[5:end]
        portal = Portal(prepared, raw[second + 1 :], raw)
        self._name(self.portals, name, portal, index)
        return await self._bind_portal(name, portal, index, shown=not self._plan.is_simple)

    async def _bind_portal(self, name: bytes, portal: Portal, index: int, *, shown: bool) -> Failure | None:
        """Bind a portal, after whatever the transaction's state asks for."""
        query = portal.prepared.query
        kind = query.kind
        transaction = self.transaction
        if kind in _BEGINS_AND_ENDS or (transaction is not None and transaction.has_failed):
            self._steps.append(Step(portal.raw, BOUND, shown=shown, index=index))
            return None
        if transaction is None:
            transaction = self.transaction = self._begun(is_block=False)
        if (refusal := self._refused_now(query, transaction)) is not None:
            self._refuse(refusal, index)
            return None
        if self.version != self.database.version and self._meets_change(query, index):
            return None
        chance = self.server.chance
        if chance.is_on and (by_chance := chance.at_statement(query, in_block=transaction.is_block)):
            self._refuse(by_chance, index)
            return None
        if transaction.is_parked:
            self._add_replay(transaction, index)
        portal.epoch = transaction.epoch
        portal.run = None
        if transaction.is_doomed and kind in (Kind.READ, Kind.LOCK, Kind.WRITE, Kind.COPY_IN):
            return await self._bind_on_copies(name, portal, index, shown=shown)
        if kind in EFFECTS:
            failure = await self._prepare_run(portal, transaction, index)
            if failure is not None:
                return failure
        self._steps.append(Step(portal.raw, BOUND, shown=shown, index=index))
        return None

    def _begun(self, *, is_block: bool) -> Transaction:
        return Transaction(is_block, self.database.moment, self.database.version)

    def _refused_now(self, query: Query, transaction: Transaction) -> Refusal | None:
        """Give what DSQL refuses of a statement in this transaction."""
        if transaction.is_lost:
            return refusals.SCHEMA_CHANGED
        if transaction.is_block:
            age_s = time.monotonic() - transaction.began_at
            if age_s > self.limits.transaction_age_s:
                return refusals.transaction_age(int(age_s))
        if query.kind is Kind.SCHEMA:
            if transaction.schema_statements:
                return refusals.TWO_DDL
            if transaction.data_statements:
                return refusals.DDL_AND_DML
        elif query.touches_data and transaction.schema_statements:
            return refusals.DDL_AND_DML
        return None

    async def _prepare_run(self, portal: Portal, transaction: Transaction, index: int) -> Failure | None:
        """See what an effect takes to be repeated, and how many rows it may touch."""
        query = portal.prepared.query
        run = portal.run = Run(portal.prepared, portal.values, index, self._plan)
        if query.kind is Kind.SCHEMA:
            return await self._prepare_schema_run(run, index)
        if query.kind is not Kind.WRITE:
            self._plan.rows_unknown = self._plan.rows_unknown or query.kind is Kind.COPY_IN
            return None
        effect = self.database.effects.get(query.text)
        if effect is None:
            failure, effect = await self._weigh(query)
            if effect is None:
                return failure
        self._bound_rows(effect, query, portal.values)
        run.is_counted, run.tables = effect.is_counted, effect.tables
        self._plan.enlarges = self._plan.enlarges or query.enlarges
        transaction.removes |= effect.removes
        transaction.relates |= effect.relates
        if transaction.is_block:
            transaction.is_pinned = transaction.is_pinned or effect.takes_sequence
            if effect.is_random:
                run.seed = repr(random.uniform(-1, 1)).encode()
                run.moment = _moment() if effect.reads_clock else b""
                self._add_fix(run, index)
        return None

    async def _weigh(self, query: Query) -> tuple[Failure | None, Effect | None]:
        """Find out what a write means, given the tables that it writes."""
        tables = self.database.tables
        if tables is None or any(tables.find(write.table) is None for write in query.writes):
            failure, tables = await self._ask_for_tables()
            if failure is not None or tables is None:
                return failure, None
        effect = weigh(query, tables)
        # What an older snapshot showed is not to be kept.
        if tables is self.database.tables:
            self.database.keep(query, effect)
        return None, effect

    async def _prepare_schema_run(self, run: Run, index: int) -> Failure | None:
        query = run.query
        if query.job_type:
            run.job = base64.b32encode(os.urandom(16)).decode().rstrip("=").lower()
            tree = query.tree
            table = Table(tree.relation.schemaname or "", tree.relation.relname)
            index_name = getattr(tree, "idxname", None) or ""
            values = (run.job, query.job_type, table.sql, index_name, self._plan.failed_job)
            run.own = ("job", tuple(value.encode() for value in values))
        return await self._refuse_for_what_is_there(query, index)

    async def _refuse_for_what_is_there(self, query: Query, index: int) -> Failure | None:
        """Refuse a change of a table for what the table is, and a CREATE for how many there are."""
        refusal = None
        if isinstance(query.tree, ast.IndexStmt | ast.AlterTableStmt):
            failure, tables = await self._ask_for_tables()
            if failure is not None:
                return failure
            facts = tables.find(next(iter(query.changes))) if tables is not None and query.changes else None
            if facts is not None:
                refusal = find_with_table(query.tree, facts.state)
        elif isinstance(query.tree, LIMITED):
            if (failure := await self._send(sync=False)) is not None:
                return failure
            failure, answers = await self._ask_own(["select pg_dsql.counts()"])
            if failure is not None:
                return failure
            counted = Counts(*json.loads(wire.row_values(answers[0])[0] or b"[]"))
            refusal = find_with_counts(query.tree, counted)
        if refusal is not None:
            self._refuse(refusal, index)
        return None

    def _bound_rows(self, effect: Effect, query: Query, values: bytes) -> None:
        plan = self._plan
        if effect.rows is Rows.FIXED:
            plan.rows_at_most += effect.row_count
        elif effect.rows is Rows.BY_VALUES:
            # Two bytes a value at least, whatever its type and format.
            plan.rows_at_most += (len(values) + len(query.text)) // 2
        else:
            plan.rows_unknown = True

    def _rows_may_be_too_many(self, transaction: Transaction) -> bool:
        plan = self._plan
        return plan.rows_unknown or transaction.rows + plan.rows_at_most > self.limits.transaction_rows

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

    async def _ask_own(self, queries: Sequence[str]) -> tuple[Failure | None, list[bytes]]:
        """Ask for one row each, in the client's transaction."""
        answers: list[bytes] = []
        for text in queries:
            name, steps = self.backend.prepared(f"/* local_dsql */ {text}", b"\0\0", -1)
            self._steps += steps
            self._steps.append(Step(wire.bind(b"", name), BOUND))
            self._steps.append(Step(wire.execute(), EXECUTED, watch=answers.append))
        return await self._send(sync=False), answers

    def _add_fix(self, run: Run, index: int, *, is_replay: bool = False) -> None:
        """Have random() and clock_timestamp() answer as they do whenever this is run again."""
        if run.seed:
            steps = self.backend.own("fix", [run.seed, run.moment], index=index)
            for step in steps:
                step.is_replay = is_replay
            self._steps += steps

    def _add_unfix(self, run: Run, index: int) -> None:
        if run.moment:
            self._steps += self.backend.own("fix", [repr(random.uniform(-1, 1)).encode(), b""], index=index)

    # --- Execute -----------------------------------------------------------------------------------------

    async def _execute(self, raw: bytes, index: int) -> Failure | None:
        end = raw.index(0, 5)
        name = raw[5:end]
        portal = self.portals.get(name)
        if portal is None:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index))
            return None
        query = portal.prepared.query
        kind = query.kind
        if self._plan.failed_job and query.job_type:
            return await self._execute_failed_job(portal, index)
        if kind is Kind.BEGIN:
            self._execute_begin(raw, index)
            return None
        if kind is Kind.COMMIT:
            return await self._execute_commit(portal, raw, index)
        transaction = self.transaction
        if kind is Kind.ROLLBACK:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index))
            if transaction is not None:
                self.leave_transaction(transaction)
            return None
        if transaction is None or transaction.has_failed:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index))
            return None
        limit = raw[end + 1 :]
        if portal.kept is not None:
            return await self._fetch_kept(portal, int.from_bytes(limit, "big"))
        if portal.epoch != transaction.epoch:
            failure = await self._bind_portal(name, portal, index, shown=False)
            if failure is not None:
                return failure
        transaction.queries.append(query)
        if portal.run is not None:
            portal.run.index = index
        if query.touches_data:
            transaction.data_statements += 1
        elif kind is Kind.SCHEMA:
            transaction.schema_statements += 1
        if kind is Kind.COPY_IN:
            return await self._copy_in(portal, raw, index)
        if kind is Kind.FORGET:
            self._forget_statements(index)
        if limit != b"\0\0\0\0" and kind in (Kind.READ, Kind.LOCK):
            return await self._fetch(name, portal, index, int.from_bytes(limit, "big"))
        return await self._execute_plainly(portal, transaction, raw, index)

    async def _execute_plainly(
        self, portal: Portal, transaction: Transaction, raw: bytes, index: int
    ) -> Failure | None:
        query, run = portal.prepared.query, portal.run
        if run is not None and run.is_counted:
            failure = await self._send(sync=False)
            if failure is not None:
                return failure
            # The command's tag does not tell: look at PostgreSQL's own counters before and after.
            return await self._execute_counted(run, raw, index)
        executed = Step(raw, EXECUTED, shown=True, index=index, run=run, alter=_alteration(query, run))
        if run is not None and self._may_leave_doubles(run, transaction):
            return await self._execute_without_doubles(portal, executed, index)
        self._steps.append(executed)
        if run is None:
            return None
        if run.own is not None:
            self._add_own(run, index)
        self._add_unfix(run, index)
        if query.kind is Kind.LOCK and transaction.is_block and not transaction.is_doomed:
            transaction.may_hold_locks = True
            self._add_lock_trace(portal, transaction, index)
        if transaction.is_doomed and query.kind in (Kind.WRITE, Kind.LOCK):
            return await self._judge_cause(run, transaction, index)
        return None

    async def _execute_failed_job(self, portal: Portal, index: int) -> Failure | None:
        """Take down a job that has failed: its statement succeeds, as on DSQL."""
        transaction = self.transaction = self._begun(is_block=False)
        transaction.schema_statements = 1
        run = portal.run = Run(portal.prepared, portal.values, index, self._plan)
        failure = await self._prepare_schema_run(run, index)
        if failure is not None:
            return failure
        bound, executed = self.backend.own("snapshot", index=index)
        executed.shown, executed.run = True, run
        executed.alter = _alteration(run.query, run)
        self._steps += (bound, executed)
        self._add_own(run, index)
        return None

    def _forget_statements(self, index: int) -> None:
        for name in [name for name in self.statements if name]:
            self._name(self.statements, name, None, index)
            self._steps.append(Step(wire.close_statement(name), CLOSED, index=index))

    def _execute_begin(self, raw: bytes, index: int) -> None:
        self._steps.append(Step(raw, EXECUTED, shown=True, index=index))
        if self.transaction is not None and (self.transaction.is_block or self.transaction.queries):
            return
        self.transaction = self._begun(is_block=True)
        self._steps += self.backend.own("frame", index=index)
        if not self._takes_snapshot_next(index):
            self._steps += self.backend.own("snapshot", index=index)

    def _takes_snapshot_next(self, index: int) -> bool:
        """Tell whether the next statement of this batch takes the snapshot, which is to be BEGIN's."""
        for raw in self._plan.messages[index + 1 :]:
            if raw[0] == wire.BIND:
                end = raw.index(0, 5)
                prepared = self.statements.get(raw[end + 1 : raw.index(0, end + 1)])
                kinds = (Kind.READ, Kind.LOCK, Kind.WRITE)
                return prepared is not None and prepared.query.kind in kinds
        return False

    async def _fetch(self, name: bytes, portal: Portal, index: int, count: int) -> Failure | None:
        """Run a portal that is fetched from in parts to its end, and keep the rows.

        A portal of PostgreSQL's own would not outlive its frame.
        """
        kept: list[bytes] = []

        def keep(letter: int, answer: bytes) -> bytes:
            if letter == b"D"[0]:
                kept.append(answer)
            else:
                portal.finish = answer
            return b""

        run = portal.run
        self._steps.append(Step(wire.execute(name), EXECUTED, shown=True, index=index, run=run, alter=keep))
        transaction = self.transaction
        if portal.prepared.query.kind is Kind.LOCK and transaction is not None and transaction.is_block:
            transaction.may_hold_locks = True
            self._add_lock_trace(portal, transaction, index)
        failure = await self._send(sync=False)
        if failure is None:
            portal.kept = kept
            return await self._fetch_kept(portal, count)
        return failure

    async def _fetch_kept(self, portal: Portal, count: int) -> Failure | None:
        failure = await self._send(sync=False)
        if failure is not None:
            return failure
        assert portal.kept is not None
        count = count or len(portal.kept) + 1
        rows, portal.kept = portal.kept[:count], portal.kept[count:]
        self.backend.output += rows
        if portal.kept or len(rows) == count:
            self.backend.output.append(wire.PORTAL_SUSPENDED)
        else:
            self.backend.output.append(wire.message(b"C", wire.text(f"SELECT {len(rows)}")))
        return None

    async def _copy_in(self, portal: Portal, raw: bytes, index: int) -> Failure | None:
        """COPY FROM STDIN: the client's data are kept, so that they can be copied again."""
        run = portal.run
        assert run is not None
        if not run.copied:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index))
            failure = await self._send(sync=False)
            if failure is not None:
                return failure
            self.backend.pass_on()
            data = []
            while True:
                message = await self._inbox.next()
                if message[0] in (wire.COPY_DATA, wire.COPY_DONE, wire.COPY_FAIL):
                    data.append(message)
                if message[0] in (wire.COPY_DONE, wire.COPY_FAIL):
                    break
            run.copied = b"".join(data)
            # A Sync that a client sent with the statement was to be ignored, and another one comes.
            messages = self._plan.messages
            self._plan.ignores_sync = not self._plan.is_simple and messages[index + 1 :] == [
                wire.SYNC_MESSAGE
            ]
            self._steps.append(Step(run.copied, b"C", shown=True, index=index, run=run))
        else:
            self._steps.append(Step(raw + run.copied, b"C", shown=True, index=index, run=run, alter=_copied))
        failure = await self._send(sync=False)
        if failure is not None:
            return failure
        return None

    async def _execute_counted(self, run: Run, raw: bytes, index: int) -> Failure | None:
        mark = len(self.backend.output)
        counts: list[bytes] = []

        def count(row: bytes) -> None:
            counts.append(wire.row_values(row)[0] or b"0")

        name, steps = self.backend.prepared("/* local_dsql */ select pg_dsql.changed_rows()", b"\0\0", index)

        def look() -> list[Step]:
            return [
                Step(wire.bind(b"dsql_count", name), BOUND, index=index),
                Step(wire.execute(b"dsql_count"), EXECUTED, index=index, watch=count),
                Step(wire.message(b"C", b"Pdsql_count\0"), CLOSED, index=index),
            ]

        self._steps += [*steps, *look()]
        self._steps.append(Step(raw, EXECUTED, shown=True, index=index, run=run))
        self._steps += look()
        self._add_unfix(run, index)
        failure = await self._send(sync=False)
        if failure is not None:
            return failure
        transaction = self.transaction
        assert transaction is not None
        rows = int(counts[1]) - int(counts[0])
        run.rows = rows
        if rows:
            self.note_effect(run, transaction, rows)
        transaction.rows += rows
        if transaction.rows > self.limits.transaction_rows:
            del self.backend.output[mark:]
            self._refuse(refusals.ROW_LIMIT, index)
            return await self._send(sync=False)
        return None

    def _add_own(self, run: Run, index: int) -> None:
        assert run.own is not None
        name, values = run.own
        text = {"job": "select pg_dsql.note_job($1, $2, $3, $4, $5)"}[name]
        prepared, steps = self.backend.prepared(f"/* local_dsql */ {text}", b"\0\0", index)
        self._steps += steps
        self._steps.append(Step(wire.bind(b"", prepared, wire.text_values(values)), BOUND, index=index))
        self._steps.append(Step(wire.execute(), EXECUTED, index=index))

    def _add_lock_trace(self, portal: Portal, transaction: Transaction, index: int) -> None:
        query = portal.prepared.query
        text = lock_trace(query)
        if text is None:
            return
        name, steps = self.backend.prepared(text, portal.prepared.oids, index)
        self._steps += steps

        def note(row: bytes) -> None:
            for value in wire.row_values(row):
                # Only the columns at the end are ours, and only they are such JSON.
                lock = _read_lock(value, query.lock_mode)
                if lock is not None:
                    if not transaction.locks:
                        self.database.lock_holders += 1
                    transaction.hold(lock)

        values = wire.results_as_text(portal.values)
        self._steps.append(Step(wire.bind(b"", name, values), BOUND, index=index))
        self._steps.append(Step(wire.execute(), EXECUTED, index=index, watch=note))

    def _may_leave_doubles(self, run: Run, transaction: Transaction) -> bool:
        """Tell whether a write may meet a key that this transaction still sees and another has deleted."""
        if not transaction.is_block or transaction.is_doomed or run.query.kind is not Kind.WRITE:
            return False
        removed = self.database.removed
        return bool(removed) and any(removed.get(oid, 0) > transaction.started for oid in run.tables)

    async def _execute_without_doubles(self, portal: Portal, executed: Step, index: int) -> Failure | None:
        """Run a write, and look for doubles (see has_no_doubles) before its answer is given."""
        failure = await self._send(sync=False)
        if failure is not None:
            return failure
        mark = len(self.backend.output)
        self._steps.append(executed)
        run = portal.run
        assert run is not None
        self._add_unfix(run, index)
        failure = await self._look_for_doubles(portal, index) or await self._send(sync=False)
        if failure is not None:
            del self.backend.output[mark:]
        return failure

    async def _look_for_doubles(self, portal: Portal, index: int) -> Failure | None:
        query = portal.prepared.query
        tables = self.database.tables
        for write in query.writes:
            facts = tables.find(write.table) if tables is not None else None
            if facts is None or write.action == "delete" or not write.is_whole:
                continue
            text = doubles(query, write.table, facts)
            if text is None:
                continue
            failure = await self._add_with_arguments(
                "select pg_dsql.has_no_doubles({})", f"select {text}", portal.prepared, portal.values, index
            )
            if failure is not None:
                return failure
        return None

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

    # --- What executions leave ---------------------------------------------------------------------------

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

    # --- COMMIT ------------------------------------------------------------------------------------------

    async def _execute_commit(self, portal: Portal, raw: bytes, index: int) -> Failure | None:
        transaction = self.transaction
        run = Run(portal.prepared, portal.values, index, self._plan)
        if transaction is None or not transaction.is_block or transaction.has_failed:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index, run=run))
            return None
        chance = self.server.chance
        if chance.is_on:
            # The statements' own errors come first.
            failure = await self._send(sync=False)
            if failure is not None:
                return failure
            by_chance = chance.at_commit(transaction.queries)
            if by_chance is not None:
                refusal, is_done = by_chance
                if is_done and self._commits_at_once(transaction):
                    return await self._commit_and_fail(transaction, refusal)
                return await self._fail_commit(refusal._replace(hint=""))
        if not self._commits_at_once(transaction):
            failure = await self._send(sync=False)
            if failure is not None:
                return failure
            if transaction.cause >= 0 and transaction.is_doomed is False:
                transaction.cause = -1
            refused = await self._refused_at_commit(transaction, index)
            if refused is not None:
                return await self._fail_commit(refused)
            if self._needs_judgement(transaction):
                return await self._commit_under_judgement(transaction, run, index)
            self._steps += self._commit_steps(run, index)
        else:
            self._steps.append(Step(raw, EXECUTED, shown=True, index=index, run=run))
        if transaction.removes or transaction.relates:
            self.database.mark(transaction)
        return None

    def _commits_at_once(self, transaction: Transaction) -> bool:
        """Tell whether COMMIT may leave with the statements before it, before their answers are known."""
        return not (
            transaction.is_parked
            or transaction.is_doomed
            or transaction.is_lost
            or transaction.enlarges
            or self._plan.enlarges
            or (transaction.version != self.database.version and transaction.queries)
            or self._needs_judgement(transaction)
            or self._rows_may_be_too_many(transaction)
            or transaction.bytes + sum(len(step.raw) for step in self._steps) > self.limits.transaction_bytes
            or time.monotonic() - transaction.began_at > self.limits.transaction_age_s
        )

    def _commit_steps(self, run: Run, index: int) -> tuple[Step, Step]:
        bound, executed = self.backend.own("commit", index=index)
        executed.shown, executed.run = True, run
        return bound, executed

    async def _refused_at_commit(self, transaction: Transaction, index: int) -> Refusal | None:
        """Give why a transaction may not commit, after it has been run again if it was parked."""
        age_s = time.monotonic() - transaction.began_at
        if age_s > self.limits.transaction_age_s:
            return refusals.transaction_age(int(age_s))
        if transaction.is_lost:
            return refusals.SCHEMA_CHANGED if transaction.runs else None
        if transaction.is_doomed:
            return refusals.CONFLICT
        if transaction.runs and any(
            self.database.has_changed(query, transaction.version) for query in transaction.queries
        ):
            self.version = self.database.version
            return refusals.SCHEMA_CHANGED
        if transaction.is_parked and not await self._replay_for_commit(transaction, index):
            return refusals.CONFLICT
        return await self._refused_for_size(transaction)

    async def _refused_for_size(self, transaction: Transaction) -> Refusal | None:
        limit = self.limits.transaction_bytes
        # What was given is the most that was written, but for statements that make more of it.
        may_be_too_large = transaction.bytes > limit or (
            transaction.enlarges and transaction.rows * _ROW_BYTES_AT_MOST > limit
        )
        if not may_be_too_large:
            return None
        names = {write.table.sql for run in transaction.runs for write in run.query.writes}
        names |= {
            reference.table.sql
            for run in transaction.runs
            if run.query.kind is Kind.COPY_IN
            for reference in run.query.references
        }
        array = "{" + ",".join(json.dumps(name) for name in sorted(names)) + "}"
        name, steps = self.backend.prepared(
            "/* local_dsql */ select pg_dsql.written_bytes($1::text[])", b"\0\0", -1
        )
        answers: list[bytes] = []
        self._steps += [
            *steps,
            Step(wire.bind(b"", name, wire.text_values([array.encode()])), BOUND),
            Step(wire.execute(), EXECUTED, watch=answers.append),
        ]
        failure = await self._send(sync=False)
        if failure is not None:
            log.error("the size of a transaction could not be measured: %s", failure.words)
            return refusals.CONFLICT
        size = int(wire.row_values(answers[0])[0] or 0)
        return refusals.transaction_size(-(-size // (1 << 20))) if size > limit else None

    async def _replay_for_commit(self, transaction: Transaction, index: int) -> bool:
        """Run a parked transaction again; tell whether nobody has committed a change to one of its rows."""
        for attempt in range(1, _MOST_RETRIES):
            self._add_replay(transaction, index)
            failure = await self._send(sync=False)
            if failure is None:
                return True
            if failure.sqlstate not in _DEADLOCKS:
                return False
            await self.roll_back_to_frame(transaction)
            await asyncio.sleep(random.uniform(0, _RETRY_S * attempt))
        return False

    async def _fail_commit(self, refusal: Refusal) -> Failure:
        """Roll back, and say why: a Failure that has been dealt with but for telling the client."""
        self._steps += self.backend.own("rollback")
        await self._send(sync=True)
        self.server.count(refusal)
        if self.transaction is not None:
            self.leave_transaction(self.transaction)
        return Failure(None, wire.error(*refusal))

    async def _commit_and_fail(self, transaction: Transaction, refusal: Refusal) -> Failure:
        """Commit, and say nevertheless that something was wrong."""
        self._steps += self.backend.own("commit")
        failure = await self._send(sync=True)
        if failure is not None:
            return failure
        self.server.count(refusal)
        self.committed(transaction)
        self.leave_transaction(transaction)
        return Failure(None, wire.error(*refusal))

    def _needs_judgement(self, transaction: Transaction) -> bool:
        """Tell whether locks are to be looked at: ours, or those of others that may have committed."""
        database = self.database
        if transaction.may_hold_locks:
            return True
        wrote = transaction.data_statements > 0
        others = database.lock_holders > 0
        return wrote and (others or bool(database.traces_since(transaction.started)))

    async def _commit_under_judgement(self, transaction: Transaction, run: Run, index: int) -> Failure | None:
        """Commit one at a time where locks play: a lock leaves its trace, or meets one."""
        database = self.database
        async with database.commit_lock:
            if await self._meets_trace(transaction):
                return await self._fail_commit(refusals.CONFLICT)
            locks = dict(transaction.locks)
            if transaction.removes or transaction.relates:
                database.mark(transaction)
            self._steps += self._commit_steps(run, index)
            failure = await self._send(sync=False)
            if failure is None and locks:
                transaction.locks = locks
                database.leave_traces(transaction, self.server.oldest(database, self))
                transaction.locks = {}
        return failure

    async def _meets_trace(self, transaction: Transaction) -> bool:
        met = self.database.traces_since(transaction.started)
        for trace in met:
            mine = transaction.locks.get((trace.lock.oid, trace.lock.key))
            if mine is not None and "U" in (mine.mode, trace.lock.mode):
                return True
        if not met or not transaction.runs:
            return False
        text = "/* local_dsql */ select pg_dsql.has_changed($1::text::oid, $2, $3, $4, $5)"
        name, steps = self.backend.prepared(text, b"\0\0", -1)
        self._steps += steps
        answers: list[bytes] = []
        for trace in met:
            oid, place, key, writer, mode = trace.lock
            if not place:
                continue  # a version that its transaction wrote: whoever changed the row as well has met that
            values = [str(oid).encode(), place.encode(), key.encode(), writer.encode(), mode.encode()]
            self._steps.append(Step(wire.bind(b"", name, wire.text_values(values)), BOUND))
            self._steps.append(Step(wire.execute(), EXECUTED, watch=answers.append))
        failure = await self._send(sync=False)
        if failure is not None:
            return True
        return any(wire.row_values(answer)[0] == b"t" for answer in answers)

    # --- Failures ----------------------------------------------------------------------------------------

    async def _resolve(self, failure: Failure) -> int | None:
        """Decide what an error means: give the message to go on from, or None once the client is told."""
        step, transaction = failure.step, self.transaction
        index = step.index if step is not None else -1
        if transaction is not None and index >= 0 and self._is_open_block(transaction):
            assert step is not None
            self._drop_runs(transaction, index)
            if failure.sqlstate in _DEADLOCKS and transaction.retries < _MOST_RETRIES:
                transaction.retries += 1
                await self.roll_back_to_frame(transaction)
                await asyncio.sleep(random.uniform(0, _RETRY_S * transaction.retries))
                return index
            if (
                not transaction.is_doomed
                and step.refusal is None
                and self._is_race(failure, step, transaction)
            ):
                if await self._doom(transaction, -1 if step.is_replay else index):
                    return index
                failure = Failure(None, wire.error(*refusals.CONFLICT))
        job_index = await self._failed_job(failure, step)
        if job_index is not None:
            return job_index
        if failure.answer and self.backend.status == b"T" and step is not None:
            # Found out after the fact: PostgreSQL's block is to fail as well.
            await self.backend.exchange(self.backend.own("refuse", [b"54000", b"", b"", b""]), sync=True)
        self._tell(failure)
        return None

    def _is_open_block(self, transaction: Transaction) -> bool:
        return transaction.is_block and not transaction.has_failed and self.backend.status == b"E"

    def _is_race(self, failure: Failure, step: Step, transaction: Transaction) -> bool:
        """Tell whether an error comes from what others have committed since the snapshot."""
        sqlstate = failure.sqlstate
        if "(OC00" in failure.words:
            return False  # somebody's own, in DSQL's words
        if sqlstate == "40001" or step.is_replay:
            return True
        if step.run is None or step.run.query.kind not in (Kind.WRITE, Kind.COPY_IN):
            return False
        if sqlstate == "23505":
            return True  # if it comes from the snapshot, it comes again
        if sqlstate != "23503":
            return False
        tables = self.database.tables
        facts = [tables.by_oid[oid] for oid in step.run.tables if oid in tables.by_oid] if tables else []
        related = {oid for each in facts for oid in (each.oid, *each.parents, *each.children)}
        marks = (self.database.related, self.database.removed)
        return any(mark.get(oid, 0) > transaction.started for mark in marks for oid in related)

    async def _failed_job(self, failure: Failure, step: Step | None) -> int | None:
        """Have the job of an asynchronous statement fail, where PostgreSQL lets the statement itself fail."""
        plan = self._plan
        run = step.run if step is not None else None
        if (
            run is None
            or not run.job
            or plan.failed_job
            or failure.is_of_catalogue
            or failure.sqlstate not in ("23505", "23514", "23503")
        ):
            return None
        if self.transaction is not None and self.transaction.is_block:
            return None
        plan.failed_job = failure.words
        return run.index

    def _tell(self, failure: Failure) -> None:
        step = failure.step
        answer = failure.answer
        sqlstate = failure.sqlstate
        if step is not None and step.refusal is not None and step.refusal.sqlstate == sqlstate:
            answer = wire.error(*step.refusal)
            self.server.count(step.refusal)
        elif failure.is_of_catalogue:
            # DSQL has no such index to tell of: one of two changes of the schema comes too late.
            answer = wire.error(*refusals.SCHEMA_CHANGED)
            self.server.count(refusals.SCHEMA_CHANGED)
        elif sqlstate in ("40001", "40P01") and "(OC00" not in failure.words:
            answer = wire.error(*refusals.CONFLICT)
            self.server.count(refusals.CONFLICT)
        self.backend.output += (failure.partial, answer)

    # --- Parked and doomed -------------------------------------------------------------------------------

    async def park(self) -> bool:
        """Give up the locks of a block whose client is idle; tell whether that was possible."""
        transaction = self.transaction
        if transaction is None or not transaction.may_be_parked:
            return False
        await self.roll_back_to_frame(transaction)
        return True

    async def lose(self) -> None:
        """End a block that cannot be parked and that DDL waits for: DSQL's DDL waits for nobody."""
        transaction = self.transaction
        if transaction is None or not transaction.is_block or transaction.has_failed or transaction.is_lost:
            return
        await self.backend.exchange(
            [*self.backend.own("rollback"), *self.backend.own("begin"), *self.backend.own("frame")], sync=True
        )
        transaction.is_lost, transaction.is_parked, transaction.copies = True, False, None

    async def roll_back_to_frame(self, transaction: Transaction) -> None:
        """Undo what a block did in PostgreSQL: it is to be run again. Raises ConnectionLostError."""
        failure = await self.backend.exchange(self.backend.own("back"), sync=True)
        if failure is not None:
            log.error("the frame is gone: %s", failure.words)
        transaction.epoch += 1
        transaction.is_parked = bool(transaction.runs)
        self._steps = []

    def _add_replay(self, transaction: Transaction, index: int) -> None:
        """Run again what the transaction has done."""
        transaction.is_parked = False
        for run in transaction.runs:
            self._add_run(run, run.query.sent, index)

    def _add_run(self, run: Run, text: str, index: int) -> None:
        first = len(self._steps)
        name, steps = self.backend.prepared(text, run.prepared.oids, index)
        self._steps += steps
        self._add_fix(run, index, is_replay=True)
        self._steps.append(Step(wire.bind(b"", name, run.values), BOUND, index=index))
        ends = b"C" if run.copied else EXECUTED
        self._steps.append(Step(wire.execute() + run.copied, ends, index=index))
        if run.own is not None:
            self._add_own(run, index)
        self._add_unfix(run, index)
        for step in self._steps[first:]:
            step.is_replay = True

    async def _doom(self, transaction: Transaction, cause: int) -> bool:
        """Go on in own copies: another transaction has committed first. Tell whether that worked."""
        await self.roll_back_to_frame(transaction)
        transaction.is_parked = False
        transaction.copies = {}
        transaction.cause = cause
        self.server.dooms += 1
        for run in transaction.runs:
            failure = None
            if run.query.kind in (Kind.WRITE, Kind.COPY_IN):
                failure = await self._copy_for(run.prepared, run.values, -1)
                text = on_copies(run.query, transaction.copies) if failure is None else ""
            else:
                text = statements.without_locks(run.query)
            if failure is None:
                self._add_run(run, text, -1)
                failure = await self._send(sync=False)
            if failure is not None:
                log.error("a doomed transaction could not be run again: %s", failure.words)
                return False
        return True

    async def _copy_for(self, prepared: Prepared, values: bytes, index: int) -> Failure | None:
        """Make the copies that a statement writes, and bring the rows there that it may change."""
        transaction, query = self.transaction, prepared.query
        assert transaction is not None
        assert transaction.copies is not None
        targets = {write.table for write in query.writes}
        if query.kind is Kind.COPY_IN:
            targets = {reference.table for reference in query.references}
        tables = self.database.tables
        if targets and tables is None:
            failure, tables = await self._ask_for_tables()
            if failure is not None:
                return failure
        for table in sorted(targets):
            facts = tables.find(table) if tables is not None else None
            if table not in transaction.copies:
                failure = await self._make_copy(table)
                if failure is not None:
                    return failure
            oid = transaction.copies[table]
            for hits in rows_to_bring(query, table, facts, transaction.copies):
                failure = await self._add_with_arguments(
                    f"select pg_dsql.bring('{oid}'::regclass, {{}})", hits, prepared, values, index
                )
                if failure is not None:
                    return failure
        return None

    async def _make_copy(self, table: Table) -> Failure | None:
        failure = await self._send(sync=False)
        if failure is not None:
            return failure
        transaction = self.transaction
        assert transaction is not None
        assert transaction.copies is not None
        answers: list[bytes] = []
        name, steps = self.backend.prepared(
            "/* local_dsql */ select pg_dsql.own_copy($1::text::regclass)", b"\0\0", -1
        )
        self._steps += [
            *steps,
            Step(wire.bind(b"", name, wire.text_values([table.sql.encode()])), BOUND),
            Step(wire.execute(), EXECUTED, watch=answers.append),
        ]
        failure = await self._send(sync=False)
        if failure is None:
            transaction.copies[table] = int(wire.row_values(answers[0])[0] or 0)
        return failure

    async def _bind_on_copies(
        self, name: bytes, portal: Portal, index: int, *, shown: bool
    ) -> Failure | None:
        transaction = self.transaction
        assert transaction is not None
        assert transaction.copies is not None
        prepared = portal.prepared
        query = prepared.query
        if query.kind in EFFECTS:
            portal.run = Run(prepared, portal.values, index, self._plan)
            failure = await self._copy_for(prepared, portal.values, index)
            if failure is not None:
                return failure
        text = on_copies(query, transaction.copies)
        own_name, steps = self.backend.prepared(text, prepared.oids, index)
        self._steps += steps
        self._steps.append(Step(wire.bind(name, own_name, portal.values), BOUND, shown=shown, index=index))
        return None

    async def _judge_cause(self, run: Run, transaction: Transaction, index: int) -> Failure | None:
        """See whether the statement that doomed the block changed anything there."""
        failure = await self._send(sync=False)
        if failure is not None or transaction.cause != index:
            return failure
        transaction.cause = -1
        if run.rows == 0 and all(write.is_whole for write in run.query.writes):
            transaction.copies = None
            # In the middle of a batch: the frame goes back without a Sync.
            self._steps += self.backend.own("back")
            failure = await self._send(sync=False)
            transaction.epoch += 1
            transaction.is_parked = bool(transaction.runs)
        return failure


def _alteration(query: Query, run: Run | None) -> Callable[[int, bytes], bytes] | None:
    """Give what turns PostgreSQL's answers to an execution into DSQL's, where they differ."""
    if query.touches_data or not query.may_be_altered:
        return None
    if query.role_link is not None:
        tag = f"AWS IAM {query.role_link.action}"
        return lambda letter, answer: wire.message(b"C", wire.text(tag)) if letter == b"C"[0] else answer
    if query.kind is Kind.FORGET:
        return lambda *_: wire.message(b"C", b"DEALLOCATE ALL\0")
    if run is not None and run.job:
        job = run.job
        tag = "CREATE INDEX" if query.job_type == "INDEX_BUILD" else "ALTER TABLE"

        existed = False

        def with_job(letter: int, answer: bytes) -> bytes:
            nonlocal existed
            if letter == b"N"[0] and b"C42P07\0" in answer:
                existed = True  # IF NOT EXISTS has nothing to build
                return answer
            if letter != b"C"[0]:
                return b""
            return (b"" if existed else wire.text_row(job)) + wire.message(b"C", wire.text(tag))

        return with_job
    version = _SHOWN_VERSIONS.get(getattr(query.tree, "name", None) or "")
    if version is not None:
        return lambda letter, answer: wire.text_row(version) if letter == b"D"[0] else answer
    return None


def _describe_job(letter: int, answer: bytes) -> bytes:
    return wire.text_columns("job_id") if letter in b"nT" else answer


def _without_no_data(letter: int, answer: bytes) -> bytes:
    return b"" if letter == b"n"[0] else answer


def _copied(letter: int, answer: bytes) -> bytes:
    return b"" if letter == b"G"[0] else answer


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _moment() -> bytes:
    now = time.time()
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    return f"{whole}.{int(now % 1 * 1_000_000):06d}+00".encode()


def _read_lock(value: bytes | None, mode: str) -> Lock | None:
    if value is None or not value.startswith(b"["):
        return None
    try:
        oid, place, key, writer = json.loads(value)
    except ValueError:
        return None
    return Lock(oid, place, key, writer, mode) if isinstance(oid, int) else None
