"""Batches that go through as they came: every statement known, and nothing has happened to the transaction.

Most are such: Bind, Describe and Execute of prepared statements, and a Sync. Of these no message becomes an
object and no task is woken: they leave in one write as soon as they have come, and so does their answer.
What does not go well, for whatever reason, is undone and run again by the session, which knows what an error
means: no answer has left before all of it was good.
"""

import time
from typing import TYPE_CHECKING

from local_dsql import wire
from local_dsql.backend import OWN, Portal, Prepared, Run
from local_dsql.effects import Effect
from local_dsql.state import Transaction
from local_dsql.statements import Kind, Rows
from local_dsql.wire import header_at

if TYPE_CHECKING:
    from local_dsql.session.conversation import Session

_EXECUTE = wire.execute()
_DESCRIBE_EXECUTE = wire.describe_portal() + _EXECUTE
_FRAME, _SNAPSHOT = (wire.bind(b"", b"dsql_" + name) + _EXECUTE for name in (b"frame", b"snapshot"))
assert {"frame", "snapshot"} <= OWN.keys()
_ERROR, _READY, _COMPLETE, _ROW = b"EZCD"
_READY_PREFIX = wire.READY[b"I"][:5]
_MUCH_BYTES = 1 << 20

_Execution = tuple[Prepared, int, int, int, Effect | None]
"""A statement, where its Bind, the values in it and its end stand, and what it means if it writes."""


class _Batch:
    """A batch under way."""

    __slots__ = (
        "begins",
        "commits",
        "completed",
        "data",
        "executions",
        "has_failed",
        "output",
        "own",
        "passed_on",
        "rows",
        "transaction",
        "writes",
    )

    def __init__(
        self,
        data: bytes,
        executions: list[_Execution],
        transaction: Transaction,
        *,
        begins: bool,
        commits: bool,
    ) -> None:
        self.data, self.executions, self.transaction = data, executions, transaction
        self.begins, self.commits = begins, commits
        self.writes = any(effect is not None for *_, effect in executions)
        self.own = 0
        """How many statements of the server's own come after the first, BEGIN."""
        self.completed = 0
        self.rows: list[int] = []
        """What each statement's tag says, where a write may have to be run again."""
        self.output: list[bytes] = []
        self.has_failed = self.passed_on = False


class FastPath:
    """One session's. `take` and `answer` are offered what comes from the client and from PostgreSQL."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._client, self._link = session.client, session.backend.link
        self._batch: _Batch | None = None
        self.undoes: _Batch | None = None
        """What has failed, to be undone before the session runs it."""
        self._client.offer, self._link.offer = self.take, self.answer

    def take(self) -> bool:
        """Take what the client has sent, if it is such a batch; tell whether nobody is to be woken for it."""
        if self._batch is not None:
            return True
        session = self._session
        if not session.is_resting or session.turn.locked() or self._client.lost:
            return False
        batch = self._read(self._client.data)
        if batch is None:
            return False
        self._send(batch)
        return True

    def _read(self, data: bytes) -> _Batch | None:
        """Read a batch from the beginning of what has come; None for any that the session has to look at."""
        session = self._session
        database, transaction = session.database, session.transaction
        if session.server.chance.is_on:
            return None
        if transaction is not None and not transaction.is_untouched:
            return None
        statements, effects = session.statements, database.effects
        executions: list[_Execution] = []
        begins = commits = False
        is_behind = session.version != database.version
        position, end = 0, len(data)
        while end - position > 5:
            letter, length = header_at(data, position)
            if letter != wire.BIND or commits or data[position + 5]:
                return None
            following = position + 1 + length
            second = data.find(0, position + 6)
            prepared = statements.get(data[position + 6 : second])
            if prepared is None or not prepared.query.is_plain:
                return None
            query = prepared.query
            kind = query.kind
            if is_behind and database.has_changed(query, session.version):
                return None
            effect = None
            if kind is Kind.WRITE:
                effect = effects.get(query.text)
                if effect is None:
                    return None
            elif kind is Kind.BEGIN:
                if transaction is not None or executions:
                    return None
                begins = True
            elif kind is Kind.COMMIT:
                commits = True
            executions.append((prepared, position, second + 1, following, effect))
            if data.startswith(_DESCRIBE_EXECUTE, following):
                position = following + len(_DESCRIBE_EXECUTE)
            elif data.startswith(_EXECUTE, following):
                position = following + len(_EXECUTE)
            else:
                return None
        if not executions or not data.startswith(wire.SYNC_MESSAGE, position):
            return None
        in_block = begins or transaction is not None
        if not in_block and (commits or len(executions) > 1):
            return None
        length = position + len(wire.SYNC_MESSAGE)
        if transaction is None:
            transaction = Transaction(begins, database.moment, database.version)
        batch = _Batch(
            data if length == end else data[:length], executions, transaction, begins=begins, commits=commits
        )
        return batch if self._may_go(batch, in_block) else None

    def _may_go(self, batch: _Batch, in_block: bool) -> bool:
        """Tell whether nothing that the batch does asks for more than to be passed on."""
        session, transaction = self._session, batch.transaction
        limits, database = session.limits, session.database
        if in_block and time.monotonic() - transaction.began_at > limits.transaction_age_s:
            return False
        removed = database.removed
        rows = transaction.rows
        for prepared, _, start, end, effect in batch.executions:
            if effect is None:
                continue
            if effect.is_counted or effect.takes_sequence:
                return False
            if in_block:
                # What may have to be run again has to come to the same; nothing of it is kept after COMMIT.
                if effect.is_random and not batch.commits:
                    return False
                if removed and any(removed.get(oid, 0) > transaction.started for oid in effect.tables):
                    return False
                if batch.commits and prepared.query.enlarges:
                    return False
            if effect.rows is Rows.FIXED:
                rows += effect.row_count
            elif effect.rows is Rows.BY_VALUES:
                rows += (end - start + len(prepared.query.text)) // 2
            else:
                return False
        if batch.writes and rows > limits.transaction_rows:
            return False
        if not batch.commits:
            return True
        wrote = batch.writes or transaction.data_statements > 0
        return not (
            transaction.enlarges
            or transaction.version != database.version
            or transaction.bytes + len(batch.data) > limits.transaction_bytes
            or (wrote and (database.lock_holders or database.traces_since(transaction.started)))
        )

    def _send(self, batch: _Batch) -> None:
        session, client = self._session, self._client
        transaction, data = batch.transaction, batch.data
        client.data = client.data[len(data) :]
        self._batch = batch
        session.server.begins_work(session)
        session.transaction = transaction
        if batch.begins:
            # BEGIN's Bind, and its Execute with or without a Describe.
            bound = batch.executions[0][3]
            described = data.startswith(_DESCRIBE_EXECUTE, bound)
            at = bound + len(_DESCRIBE_EXECUTE if described else _EXECUTE)
            takes_snapshot = len(batch.executions) > 1 and not (batch.commits and len(batch.executions) == 2)
            batch.own = 1 if takes_snapshot else 2
            data = data[:at] + (_FRAME if takes_snapshot else _FRAME + _SNAPSHOT) + data[at:]
        if batch.commits:
            marks = [effect for *_, effect in batch.executions if effect is not None]
            for effect in marks:
                transaction.removes |= effect.removes
                transaction.relates |= effect.relates
            if transaction.removes or transaction.relates:
                session.database.mark(transaction)
        self._link.write(data)

    def answer(self) -> bool:
        """Take what PostgreSQL has answered; tell whether nobody is to be woken for it."""
        batch = self._batch
        if batch is None:
            return False
        link = self._link
        data = link.data
        if data[-6:-1] != _READY_PREFIX and len(data) < _MUCH_BYTES and not link.lost:
            return True
        if link.lost:
            self._client.close()
            return True
        position, end = 0, len(data)
        # Where what is shown begins, and where the answer to the statement at hand does.
        shown = begun = 0
        completed, own = batch.completed, batch.own
        output = batch.output
        keeps_rows = batch.writes and not batch.commits
        while end - position >= 5:
            letter, length = header_at(data, position)
            following = position + 1 + length
            if following > end:
                break
            if letter == _COMPLETE:
                if 0 < completed <= own:
                    output.append(data[shown:begun])
                    shown = following
                elif keeps_rows:
                    tag = data[position + 5 : following - 1].rpartition(b" ")[2]
                    batch.rows.append(int(tag) if tag.isdigit() else 0)
                completed += 1
                begun = following
            elif letter == _ERROR:
                batch.has_failed = True
            elif letter == _READY:
                output.append(data[shown:following])
                link.data = data[following:]
                self._finish(batch, data[position + 5 : position + 6])
                return True
            position = following
        if len(data) >= _MUCH_BYTES:
            batch.completed = completed
            output.append(data[shown:position])
            link.data = data[position:]
            if not batch.writes and not batch.has_failed:
                batch.passed_on = True
                self._client.write(b"".join(output))
                output.clear()
        return True

    def _finish(self, batch: _Batch, status: bytes) -> None:
        session, client, transaction = self._session, self._client, batch.transaction
        session.backend.status = status
        self._batch = None
        if batch.has_failed:
            if not batch.passed_on and status == (b"E" if transaction.is_block else b"I"):
                self._give_back(batch)
                return
        else:
            self._note(batch)
        session.settle(status, is_good=not batch.has_failed)
        session.server.ends_work(session)
        client.write(b"".join(batch.output))
        if session.is_too_old():
            client.close()
        if client.data and not self.take():
            client.wake()

    def _note(self, batch: _Batch) -> None:
        """Note what a good batch has done, for what may become of its transaction."""
        session, transaction = self._session, batch.transaction
        for prepared, *_, effect in batch.executions:
            query = prepared.query
            if query.kind in (Kind.READ, Kind.WRITE):
                transaction.queries.append(query)
            if effect is None:
                continue
            transaction.data_statements += 1
            transaction.removes |= effect.removes
            transaction.relates |= effect.relates
        if batch.commits:
            session.committed(transaction)
            return
        if not transaction.is_block:
            return
        if batch.writes:
            for (prepared, _, start, end, effect), rows in zip(batch.executions, batch.rows, strict=True):
                if effect is None:
                    continue
                run = Run(prepared, batch.data[start:end], -1, batch, rows=rows, tables=effect.tables)
                transaction.rows += rows
                if rows:
                    session.note_effect(run, transaction, rows)
        prepared, at, start, end, _ = batch.executions[-1]
        if prepared.query.kind is not Kind.BEGIN:
            session.portals[b""] = Portal(
                prepared, batch.data[start:end], batch.data[at:end], transaction.epoch
            )

    def _give_back(self, batch: _Batch) -> None:
        """Leave a batch that has failed to the session."""
        session, client = self._session, self._client
        session.is_resting = False
        self.undoes = batch
        client.data = batch.data + client.data
        client.wake()

    async def undo(self) -> None:
        """Undo what has failed, as if it had not come yet. Raises ConnectionLostError."""
        batch, self.undoes = self.undoes, None
        if batch is None:
            return
        session, transaction = self._session, batch.transaction
        if transaction.is_block and not batch.begins:
            await session.roll_back_to_frame(transaction)
            return
        if transaction.is_block:
            await session.backend.exchange(session.backend.own("rollback"), sync=True)
        session.leave_transaction(transaction)
