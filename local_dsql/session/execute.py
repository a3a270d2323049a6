"""Execute: by the kind of statement, with what has to be found out beside its answer."""

import json

from local_dsql import refusals, wire
from local_dsql.backend import BOUND, CLOSED, EXECUTED, Failure, Portal, Run, Step
from local_dsql.doomed import doubles, lock_trace
from local_dsql.session import answers
from local_dsql.session.bind import Binding
from local_dsql.state import Lock, Transaction
from local_dsql.statements import Kind


class Executing(Binding):
    """Plans executions."""

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
            self.server.begins_ddl()
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
        executed = Step(raw, EXECUTED, shown=True, index=index, run=run, alter=answers.alteration(query, run))
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
        executed.alter = answers.alteration(run.query, run)
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
            self._steps.append(
                Step(raw + run.copied, b"C", shown=True, index=index, run=run, alter=answers.copied)
            )
        return await self._send(sync=False)

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


def _read_lock(value: bytes | None, mode: str) -> Lock | None:
    if value is None or not value.startswith(b"["):
        return None
    try:
        oid, place, key, writer = json.loads(value)
    except ValueError:
        return None
    return Lock(oid, place, key, writer, mode) if isinstance(oid, int) else None
