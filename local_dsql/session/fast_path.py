"""Batches that go through as they came: every statement known, and nothing has happened to the transaction.

Most are such: Bind, Describe and Execute of prepared statements, and a Sync. Of these no message becomes an
object and no task is woken: they leave in one write as soon as they have come, and so does their answer. A
client sends the same statements in the same order again and again: what they have in common is a shape, and
is worked out once. Most of their values are of the same sizes, too: where the messages stand is a layout, and
found out once, of batches and of answers. What does not go well, for whatever reason, is undone and run again
by the session, which knows what an error means: no answer has left before all of it was good.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local_dsql import wire
from local_dsql.backend import OWN, Portal, Prepared, Run
from local_dsql.effects import Effect
from local_dsql.state import Transaction
from local_dsql.statements import Kind, Query, Rows
from local_dsql.wire import Layout, bind_at, header_at, length_at

if TYPE_CHECKING:
    from local_dsql.session.conversation import Session

_EXECUTE = wire.execute()
_DESCRIBE_EXECUTE = wire.describe_portal() + _EXECUTE
_FRAME, _SNAPSHOT = (wire.bind(b"", b"dsql_" + name) + _EXECUTE for name in (b"frame", b"snapshot"))
assert {"frame", "snapshot"} <= OWN.keys()
_ERROR, _READY, _COMPLETE = b"EZC"
_READY_PREFIX = wire.READY[b"I"][:5]
_READY_BYTES = len(wire.READY[b"I"])
_HEADER_BYTES = 5
_MUCH_BYTES = 1 << 20
_MOST_SHAPES = 256
_MOST_LAYOUTS = 256
"""Of a session's batches, and of the answers to a shape."""
_LONGEST_LAYOUT = 16 * 1024
"""Longer ones hardly ever come again in the same sizes."""
_MOST_OF_A_SIZE = 3

_FRAME_ANSWER = wire.BIND_COMPLETE + wire.message(b"C", b"SAVEPOINT\0")
_SNAPSHOT_ANSWER = wire.BIND_COMPLETE + wire.text_row("1") + wire.message(b"C", b"SELECT 1\0")
_BEGUN = {
    is_described: wire.BIND_COMPLETE + wire.NO_DATA * is_described + wire.message(b"C", b"BEGIN\0")
    for is_described in (False, True)
}
"""What BEGIN is answered, with and without a Describe."""


@dataclass(slots=True)
class _Shape:
    """What batches of the same statements in the same order have in common."""

    prepared: tuple[Prepared, ...]
    effects: Sequence[Effect | None]
    """What each statement means, if it writes."""
    known: dict[str, Effect]
    """Where the effects are from: the database has another one as soon as they may have changed."""
    begins: bool = False
    commits: bool = False
    takes_snapshot: bool = False
    """Whether one of its statements takes the snapshot."""
    writes: int = 0
    """How many of its statements write."""
    row_count: int = 0
    """How many rows they write at most, without those of `by_values`."""
    by_values: Sequence[int] = ()
    """Which of them write at most a row a value that they are given."""
    tables: frozenset[int] = frozenset()
    removes: frozenset[int] = frozenset()
    relates: frozenset[int] = frozenset()
    is_random: bool = False
    answers: dict[int, Layout] = field(default_factory=dict)
    """The last good answer of each size."""
    queries: Sequence[Query] = ()
    """Its statements without BEGIN and COMMIT."""


def _shape(prepared: tuple[Prepared, ...], known: dict[str, Effect]) -> _Shape | None:
    """Work a shape out; None where one of the statements is for the session to look at."""
    last = len(prepared) - 1
    effects: list[Effect | None] = []
    shape = _Shape(prepared, effects, known)
    by_values, queries = [], []
    for number, each in enumerate(prepared):
        query = each.query
        kind = query.kind
        if (
            not query.is_plain
            or (kind is Kind.BEGIN and number > 0)
            or (kind is Kind.COMMIT and number < last)
        ):
            return None
        effect = known.get(query.text) if kind is Kind.WRITE else None
        effects.append(effect)
        if kind is Kind.READ or kind is Kind.WRITE:
            queries.append(query)
        if kind is not Kind.WRITE:
            continue
        if effect is None or effect.is_counted or effect.takes_sequence or effect.rows is Rows.UNKNOWN:
            return None
        if query.enlarges:
            return None
        if effect.rows is Rows.BY_VALUES:
            by_values.append(number)
        else:
            shape.row_count += effect.row_count
        shape.writes += 1
        shape.tables |= effect.tables
        shape.removes |= effect.removes
        shape.relates |= effect.relates
        shape.is_random = shape.is_random or effect.is_random
    shape.begins = prepared[0].query.kind is Kind.BEGIN
    shape.commits = prepared[last].query.kind is Kind.COMMIT
    shape.takes_snapshot = bool(queries)
    shape.by_values, shape.queries = by_values, queries
    return shape


class _Form:
    """What batches of the same shape and of the same sizes have in common."""

    __slots__ = (
        "begun",
        "frame",
        "frame_at",
        "layout",
        "names",
        "opening",
        "own",
        "places",
        "rows",
        "shape",
    )

    def __init__(
        self, data: bytes, names: Sequence[bytes], places: Sequence[tuple[int, int, int]], shape: _Shape
    ) -> None:
        self.names, self.places, self.shape = names, places, shape
        """The statements' names; of each where its Bind, the values in it and its end stand."""
        edges = [0, *(edge for _, *rest in places for edge in rest), len(data)]
        self.layout = Layout(data, edges[0::2], edges[1::2])
        self.rows = shape.row_count
        """How many rows it writes at most."""
        for number in shape.by_values:
            _, start, end = places[number]
            self.rows += (end - start + len(shape.prepared[number].query.text)) // 2
        self.begun = self.opening = self.frame = b""
        """What BEGIN is answered; the same with the server's own statements behind it; these, the frame."""
        self.own = self.frame_at = 0
        """How many these are, and where they go."""
        if shape.begins:
            end = places[0][2]
            is_described = data.startswith(_DESCRIBE_EXECUTE, end)
            self.frame_at = end + len(_DESCRIBE_EXECUTE if is_described else _EXECUTE)
            self.begun = _BEGUN[is_described]
            self.own = 1 if shape.takes_snapshot else 2
            self.frame = _FRAME if shape.takes_snapshot else _FRAME + _SNAPSHOT
            self.opening = self.begun + _FRAME_ANSWER + (b"" if shape.takes_snapshot else _SNAPSHOT_ANSWER)


class _Batch:
    """A batch under way."""

    __slots__ = (
        "completed",
        "data",
        "form",
        "has_failed",
        "keeps_rows",
        "output",
        "passed_on",
        "rows",
        "shape",
        "status",
        "transaction",
    )

    def __init__(self, data: bytes, form: _Form, transaction: Transaction) -> None:
        self.data, self.form, self.transaction = data, form, transaction
        self.shape = shape = form.shape
        self.status = b"T" if transaction.is_block and not shape.commits else b"I"
        """PostgreSQL's state once all has gone well."""
        self.keeps_rows = shape.writes > 0 and self.status == b"T"
        """Whether one of its writes may have to be run again."""
        self.rows: list[int] = []
        """What each statement's tag says, where that is kept."""
        self.completed = 0
        self.output: list[bytes] = []
        self.has_failed = self.passed_on = False


class FastPath:
    """One session's. `take` and `answer` are offered what comes from the client and from PostgreSQL."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._client, self._link = session.client, session.backend.link
        self._batch: _Batch | None = None
        self._shapes: dict[tuple[Prepared | None, ...], _Shape] = {}
        self._forms: dict[int, list[_Form]] = {}
        """Those of batches that have come, by their sizes."""
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
        """Read a batch, if what has come is one; None for any that the session has to look at."""
        session = self._session
        if session.server.chance.is_on:
            return None
        form = self._known_form(data) or self._new_form(data)
        if form is None:
            return None
        shape, transaction = form.shape, session.transaction
        if transaction is None:
            transaction = Transaction(shape.begins, session.database.moment, session.database.version)
        elif shape.begins or not transaction.is_untouched:
            return None
        batch = _Batch(data, form, transaction)
        return batch if self._may_go(batch) else None

    def _known_form(self, data: bytes) -> _Form | None:
        """Find the form of a batch, if one like it has come and means the same now."""
        for form in self._forms.get(len(data), ()):
            if form.layout.fits(data):
                session, shape = self._session, form.shape
                is_same = shape.known is session.database.effects and (
                    tuple(map(session.statements.get, form.names)) == shape.prepared
                )
                return form if is_same else None
        return None

    def _new_form(self, data: bytes) -> _Form | None:
        """Read a batch message by message; None for any that the session has to look at."""
        statements = self._session.statements
        prepared: list[Prepared | None] = []
        names: list[bytes] = []
        places: list[tuple[int, int, int]] = []
        bind = wire.BIND
        position, last = 0, len(data) - len(wire.SYNC_MESSAGE)
        while position < last:
            letter, length, portal = bind_at(data, position)
            if letter != bind or portal:
                return None
            end = position + 1 + length
            values = data.find(0, position + 6) + 1
            names.append(data[position + 6 : values - 1])
            prepared.append(statements.get(names[-1]))
            places.append((position, values, end))
            if data.startswith(_DESCRIBE_EXECUTE, end):
                position = end + len(_DESCRIBE_EXECUTE)
            elif data.startswith(_EXECUTE, end):
                position = end + len(_EXECUTE)
            else:
                return None
        if not prepared or data[position:] != wire.SYNC_MESSAGE:
            return None
        shape = self._shape(tuple(prepared))
        if shape is None:
            return None
        form = _Form(data, names, places, shape)
        if len(data) <= _LONGEST_LAYOUT:
            if len(self._forms) >= _MOST_LAYOUTS:
                self._forms.clear()
            others = [other for other in self._forms.get(len(data), ()) if not other.layout.fits(data)]
            self._forms[len(data)] = [form, *others[:_MOST_OF_A_SIZE]]
        return form

    def _shape(self, prepared: tuple[Prepared | None, ...]) -> _Shape | None:
        known = self._session.database.effects
        shape = self._shapes.get(prepared)
        if shape is None or shape.known is not known:
            if None in prepared:
                return None
            shape = _shape(tuple(each for each in prepared if each is not None), known)
            if shape is not None:
                if len(self._shapes) >= _MOST_SHAPES:
                    self._shapes.clear()
                self._shapes[prepared] = shape
        return shape

    def _may_go(self, batch: _Batch) -> bool:
        """Tell whether nothing that the batch does asks for more than to be passed on."""
        session, shape, transaction = self._session, batch.shape, batch.transaction
        limits, database = session.limits, session.database
        if session.version != database.version and any(
            database.has_changed(query, session.version) for query in shape.queries
        ):
            return False
        if not transaction.is_block:
            # Outside of a block: one statement, and nothing of it is ever run again.
            if len(shape.prepared) > 1 or shape.commits:
                return False
        elif not shape.begins and time.monotonic() - transaction.began_at > limits.transaction_age_s:
            return False
        if shape.writes:
            if transaction.is_block:
                # What may have to be run again has to come to the same; nothing of it is kept after COMMIT.
                if shape.is_random and not shape.commits:
                    return False
                removed = database.removed
                if removed and any(removed.get(oid, 0) > transaction.started for oid in shape.tables):
                    return False
            if transaction.rows + batch.form.rows > limits.transaction_rows:
                return False
        if not shape.commits:
            return True
        wrote = shape.writes > 0 or transaction.data_statements > 0
        return not (
            transaction.enlarges
            or transaction.version != database.version
            or transaction.bytes + len(batch.data) > limits.transaction_bytes
            or (wrote and (database.lock_holders or database.traces_since(transaction.started)))
        )

    def _send(self, batch: _Batch) -> None:
        session, shape = self._session, batch.shape
        transaction, data = batch.transaction, batch.data
        self._client.data = b""
        self._batch = batch
        session.server.begins_work(session)
        session.transaction = transaction
        if shape.begins:
            form = batch.form
            data = data[: form.frame_at] + form.frame + data[form.frame_at :]
        if shape.commits:
            transaction.removes |= shape.removes
            transaction.relates |= shape.relates
            if transaction.removes or transaction.relates:
                session.database.mark(transaction)
        self._link.write(data)

    def answer(self) -> bool:
        """Take what PostgreSQL has answered; tell whether nobody is to be woken for it."""
        batch, link = self._batch, self._link
        if batch is None:
            if link.lost and self._session.is_resting:
                # The client asks nothing, so nobody else would tell it. What came last says why.
                self._client.write(link.data)
                self._client.close()
            return False
        data = link.data
        if data[-_READY_BYTES:-1] != _READY_PREFIX and len(data) < _MUCH_BYTES and not link.lost:
            return True
        if link.lost:
            self._client.close()
            return True
        if not batch.keeps_rows and not batch.output and self._is_whole_and_good(batch, data):
            form = batch.form
            batch.output.append(form.begun + data[len(form.opening) :] if form.own else data)
            link.data = b""
            self._finish(batch, batch.status)
            return True
        self._look_at_each(batch, data)
        return True

    @staticmethod
    def _is_whole_and_good(batch: _Batch, data: bytes) -> bool:
        """Tell whether this is an answer as most are; if not, each of its messages is to be looked at.

        A block is open after an answer without an error. Outside of one the last message tells: a
        CommandComplete ends with a word, an ErrorResponse with two zero bytes.
        """
        if data[-1:] != batch.status or (batch.status == b"I" and data[-8:-7] == b"\0"):
            return False
        if not data.startswith(batch.form.opening):
            return False
        answers = batch.shape.answers
        known = answers.get(len(data))
        if known is not None and known.fits(data):
            return True
        # What looks like the ReadyForQuery at the end may be a part of a row.
        starts = []
        position, last = 0, len(data) - _READY_BYTES
        while position < last:
            starts.append(position)
            position += 1 + length_at(data, position + 1)[0]
        if position != last:
            return False
        if last < _LONGEST_LAYOUT:
            if len(answers) >= _MOST_LAYOUTS:
                answers.clear()
            answers[len(data)] = Layout(data, starts, [start + _HEADER_BYTES for start in starts])
        return True

    def _look_at_each(self, batch: _Batch, data: bytes) -> None:
        """Take an answer message by message, as far as it has come."""
        position, end = 0, len(data)
        # Where what is shown begins, and where the answer to the statement at hand does.
        shown = begun = 0
        completed = batch.completed
        output: list[bytes] = []
        rows: list[int] = []
        is_whole = False
        while end - position >= 5 and not is_whole:
            letter, length = header_at(data, position)
            following = position + 1 + length
            if following > end:
                break
            if letter == _COMPLETE:
                if 0 < completed <= batch.form.own:
                    output.append(data[shown:begun])
                    shown = following
                elif batch.keeps_rows:
                    tag = data[position + 5 : following - 1].rpartition(b" ")[2]
                    rows.append(int(tag) if tag.isdigit() else 0)
                completed += 1
                begun = following
            elif letter == _ERROR:
                batch.has_failed = True
            is_whole = letter == _READY
            position = following
        if not is_whole and end < _MUCH_BYTES:
            return
        output.append(data[shown:position])
        self._link.data = data[position:]
        batch.completed = completed
        batch.output += output
        batch.rows += rows
        if is_whole:
            self._finish(batch, data[position - 1 : position])
        elif not batch.shape.writes and not batch.has_failed:
            batch.passed_on = True
            self._client.write(b"".join(batch.output))
            batch.output.clear()

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
        if session.is_too_old:
            client.close()
        if client.data and not self.take():
            client.wake()

    def _note(self, batch: _Batch) -> None:
        """Note what a good batch has done, for what may become of its transaction."""
        session, transaction = self._session, batch.transaction
        shape = batch.shape
        if shape.commits:
            session.committed(transaction)
            return
        transaction.queries += shape.queries
        transaction.data_statements += shape.writes
        transaction.removes |= shape.removes
        transaction.relates |= shape.relates
        if not transaction.is_block:
            return
        if shape.writes:
            done = zip(shape.prepared, shape.effects, batch.form.places, batch.rows, strict=True)
            for prepared, effect, (_, start, end), rows in done:
                if effect is None:
                    continue
                transaction.rows += rows
                if rows:
                    run = Run(prepared, batch.data[start:end], -1, batch, rows=rows, tables=effect.tables)
                    session.note_effect(run, transaction, rows)
        prepared, (at, start, end) = shape.prepared[-1], batch.form.places[-1]
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
        if transaction.is_block and not batch.shape.begins:
            await session.roll_back_to_frame(transaction)
            return
        if transaction.is_block:
            await session.backend.exchange(session.backend.own("rollback"), sync=True)
        session.leave_transaction(transaction)
