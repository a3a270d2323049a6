"""The conversation with a client: batches are read, planned by messages and answered; errors are judged."""

import asyncio
import random
from typing import TYPE_CHECKING, Any

from local_dsql import refusals, statements, wire
from local_dsql.backend import CLOSED, EXECUTED, Failure, Step
from local_dsql.refusals import Refusal
from local_dsql.session.execute import Executing
from local_dsql.session.fast_path import FastPath
from local_dsql.session.replay import DEADLOCKS, MOST_RETRIES, RETRY_S
from local_dsql.session.state import Plan
from local_dsql.state import Database, Transaction
from local_dsql.statements import Kind
from local_dsql.wire import Inbox, Link

if TYPE_CHECKING:
    from local_dsql.server import Server


class Session(Executing):
    """One client and its session of PostgreSQL."""

    def __init__(self, server: "Server", database: Database, client: Link, inbox: Inbox, link: Link) -> None:
        super().__init__(server, database, client, inbox, link)
        self._fast_path = FastPath(self)

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
                    await (self._run_query(raw) if letter == wire.QUERY else self._run(Plan(batch, False)))
                finally:
                    server.ends_work(self)
            batch = []
            if self.is_too_old:
                return

    def retire(self) -> None:
        """End a connection that is too old, now or as soon as its transaction is over."""
        self.has_had_its_time = True
        if not self.busy_since and self.transaction is None:
            self.client.close()

    def leave(self) -> None:
        """End the session of PostgreSQL."""
        if self.transaction is not None:
            self.leave_transaction(self.transaction)
        self.server.ends_work(self)
        if self.retirement is not None:
            self.retirement.cancel()
        self.backend.link.write(wire.message(b"X"))
        self.backend.link.close()

    @property
    def is_too_old(self) -> bool:
        """Whether the connection has had its time; a transaction may still end within its own."""
        return self.has_had_its_time and self.transaction is None

    async def _run_query(self, raw: bytes) -> None:
        messages: list[bytes] = []
        for part in statements.split(raw[5:-1].decode(errors="surrogateescape")):
            messages += (wire.parse(b"", part), wire.bind(b"", b""))
            if statements.read(part).returns_rows or statements.read(part).kind in (Kind.READ, Kind.CALL):
                messages.append(wire.describe_portal())
            messages.append(wire.execute())
        if not messages:
            self.backend.output.append(wire.EMPTY_QUERY)
        await self._run(Plan([*messages, wire.SYNC_MESSAGE], True))

    async def _run(self, plan: Plan) -> None:
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

    async def _resolve(self, failure: Failure) -> int | None:
        """Decide what an error means: give the message to go on from, or None once the client is told."""
        step, transaction = failure.step, self.transaction
        index = step.index if step is not None else -1
        if transaction is not None and index >= 0 and self._is_open_block(transaction):
            assert step is not None
            self._drop_runs(transaction, index)
            if failure.sqlstate in DEADLOCKS and transaction.retries < MOST_RETRIES:
                transaction.retries += 1
                await self.roll_back_to_frame(transaction)
                await asyncio.sleep(random.uniform(0, RETRY_S * transaction.retries))
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
        is_schema = step is not None and step.run is not None and step.run.query.kind is Kind.SCHEMA
        if step is not None and step.refusal is not None and step.refusal.sqlstate == sqlstate:
            answer = wire.error(*step.refusal)
            self.server.count(step.refusal)
        elif failure.is_of_catalogue:
            # DSQL has no such index to tell of: one of two changes of the schema comes too late.
            answer = wire.error(*refusals.SCHEMA_CHANGED)
            self.server.count(refusals.SCHEMA_CHANGED)
        elif (refusal := in_words_of_dsql(sqlstate, failure.words, is_schema=is_schema)) is not None:
            answer = wire.error(*refusal)
            self.server.count(refusal)
        self.backend.output += (failure.partial, answer)


def in_words_of_dsql(sqlstate: str, words: str, *, is_schema: bool) -> Refusal | None:
    """Give what DSQL says where PostgreSQL, or a trigger of catalogue.sql, says something of its own."""
    match sqlstate:
        case "54000" if words.startswith(("index row ", "pg_dsql key")):
            return refusals.KEY_TOO_LARGE
        case "54000" if words.startswith("pg_dsql size "):
            kind = words.removeprefix("pg_dsql size ")
            return refusals.ROW_TOO_LARGE if kind == "row" else refusals.value_too_large(kind)
        case "53400" if words.startswith("temporary file size exceeds"):
            return refusals.QUERY_MEMORY
        case "40001" | "40P01" if "(OC00" not in words:
            return refusals.SCHEMA_CHANGED if is_schema else refusals.CONFLICT
    return None
