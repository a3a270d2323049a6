"""Parked and doomed: what a block has done is undone, and done again, on the tables or on its own copies."""

import logging
import random

from local_dsql import statements, wire
from local_dsql.backend import BOUND, EXECUTED, Failure, Portal, Prepared, Run, Step
from local_dsql.doomed import on_copies, rows_to_bring
from local_dsql.session.state import SessionState
from local_dsql.state import Transaction
from local_dsql.statements import EFFECTS, Kind, Table

log = logging.getLogger(__name__)
MOST_RETRIES = 30
RETRY_S = 0.002
DEADLOCKS = ("40P01", "55P03")
"""What PostgreSQL says of locks that were waited for in vain: tried again."""


class Replaying(SessionState):
    """Runs again what a transaction has done."""

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

    def _add_own(self, run: Run, index: int) -> None:
        assert run.own is not None
        name, values = run.own
        text = {"job": "select pg_dsql.note_job($1, $2, $3, $4, $5)"}[name]
        prepared, steps = self.backend.prepared(f"/* local_dsql */ {text}", b"\0\0", index)
        self._steps += steps
        self._steps.append(Step(wire.bind(b"", prepared, wire.text_values(values)), BOUND, index=index))
        self._steps.append(Step(wire.execute(), EXECUTED, index=index))

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
