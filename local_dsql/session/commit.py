"""COMMIT: whether it may be, and what it leaves for others to meet."""

import asyncio
import logging
import random
import time

from local_dsql import limits, refusals, wire
from local_dsql.backend import BOUND, EXECUTED, Failure, Portal, Run, Step
from local_dsql.refusals import Refusal
from local_dsql.session.replay import DEADLOCKS, MOST_RETRIES, RETRY_S, Replaying
from local_dsql.state import Transaction

log = logging.getLogger(__name__)


class Committing(Replaying):
    """Commits a block, or says why not."""

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
            transaction.enlarges and transaction.rows * limits.ROW_BYTES > limit
        )
        if not may_be_too_large:
            return None
        names = {table.sql for run in transaction.runs for table in run.written_tables}
        name, steps = self.backend.prepared(
            "/* local_dsql */ select pg_dsql.written_bytes($1::text[])", b"\0\0", -1
        )
        answers: list[bytes] = []
        self._steps += [
            *steps,
            Step(wire.bind(b"", name, wire.text_values([wire.text_array(sorted(names))])), BOUND),
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
        for attempt in range(1, MOST_RETRIES):
            self._add_replay(transaction, index)
            failure = await self._send(sync=False)
            if failure is None:
                return True
            if failure.sqlstate not in DEADLOCKS:
                return False
            await self.roll_back_to_frame(transaction)
            await asyncio.sleep(random.uniform(0, RETRY_S * attempt))
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
