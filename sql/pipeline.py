"""A connection that sends the statements of one exchange together, and reads their answers together.

psycopg's own pipeline flushes and polls once a statement: eleven system calls and as many wake-ups of the
server in a checkout, three quarters of the time that its client side takes. Here libpq, through psycopg's
wrapper of it, gathers all messages of an exchange and sends them at once.
"""

import re
import select
import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.abc import Buffer
from psycopg.adapt import PyFormat, Transformer

from sql.queries import Query, Statement

Row = tuple[Any, ...]
R = TypeVar("R")

_PARAMETER = re.compile(rb"%\((\w+)\)([sb])")
_NUMBERS = count(1)
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Written(NamedTuple, Generic[R]):
    """What one statement did: rows touched, and the rows that it gave, each as the query's record."""

    touched: int
    rows: list[R]


class _Plan(NamedTuple):
    """A query as the server prepares it: a name, `$1` for each parameter, and whose values they are.

    `%(x)s` goes as text without a type: the server infers it from where it stands. `%(x)b` goes in binary,
    which needs its type said: `binary` tells whether there is any. `record` is what a row becomes.
    """

    name: bytes
    text: bytes
    parameters: tuple[str, ...]
    formats: tuple[PyFormat, ...]
    binary: bool
    record: type | None


@cache
def _plan(query: Query[Any]) -> _Plan:
    kinds = {match[1].decode(): match[2] for match in _PARAMETER.finditer(query.text)}
    names = list(kinds)
    text = _PARAMETER.sub(lambda match: b"$%d" % (names.index(match[1].decode()) + 1), query.text)
    formats = tuple(PyFormat.BINARY if kind == b"b" else PyFormat.TEXT for kind in kinds.values())
    return _Plan(
        b"%s_%d" % (query.name.encode(), next(_NUMBERS)),
        text,
        tuple(names),
        formats,
        PyFormat.BINARY in formats,
        query.record,
    )


def _maker(record: type | None, result: pq.abc.PGresult) -> Callable[[Sequence[Any]], Any]:
    """Give what makes a record of a row's values: see `sql.queries.Query.of`."""
    if record is None or record is tuple:
        return tuple
    if record is dict:
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        return lambda values: dict(zip(names, values, strict=True))
    make: Callable[[Sequence[Any]], Any] | None = getattr(record, "_make", None)
    return make or itemgetter(0)


#: What is prepared: a plan's name and the types of its binary values.
_Key = tuple[bytes, tuple[int, ...]]


def _name(key: _Key) -> bytes:
    plan, types = key
    return b"_".join((plan, *(b"%d" % oid for oid in types)))


class _Call(NamedTuple):
    """A statement ready to be sent. `types` are those of binary values, 0 for the server to infer."""

    plan: _Plan
    values: Sequence[Buffer | None]
    types: tuple[int, ...] = ()
    formats: Sequence[pq.Format] | None = None


class Connection(psycopg.Connection[Row]):
    """A psycopg connection with two verbs more: `exchange`, and `alone` for a statement without a pipeline.

    Both wait for answers until a moment of time.monotonic() and no longer: DSQL knows no statement_timeout,
    and TCP notices nothing of a server that takes every byte and stays silent.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._adapt = Transformer(self)
        # By plan and binary types, as the server knows them; it keeps them as long as the connection lives.
        self._prepared_as: dict[_Key, bytes] = {}

    def exchange(self, statements: Sequence[Statement[Any]], until: float) -> list[Written[Any]]:
        """Send all statements, then read all answers, in one round trip; give what each statement did.

        Each is prepared where this connection first uses it. Raises the first failed statement's error once
        every answer has been read; what came after it was not executed. Raises psycopg.OperationalError when
        the connection is lost, or closed because an answer is missing at `until`: then nobody knows what was
        executed.
        """
        # Everything that Python can refuse is refused before the first byte is sent.
        calls = [self._call(statement) for statement in statements]
        libpq = self.pgconn
        libpq.enter_pipeline_mode()
        # What each answer is to: what was prepared, or the plan of a statement that was executed.
        asked: list[_Key | _Plan] = []
        for plan, values, types, formats in calls:
            key = (plan.name, types)
            name = self._prepared_as.get(key)
            if name is None:
                name = _name(key)
                if key not in asked:
                    libpq.send_prepare(name, plan.text, types)
                    # guard: only what the server prepared counts as prepared
                    asked.append(key)
            libpq.send_query_prepared(name, values, formats)
            asked.append(plan)
        libpq.pipeline_sync()
        results = self._results(until)
        libpq.exit_pipeline_mode()
        written: list[Written[Any]] = []
        for to, result in zip(asked, results, strict=True):
            if result.status not in _GOOD:
                raise errors.error_from_result(result)
            if isinstance(to, _Plan):
                written.append(self._written(result, to.record))
            else:
                # It stays prepared, even where a later statement fails.
                self._prepared_as[to] = _name(to)
        return written

    def alone(self, statement: Statement[R], until: float) -> Written[R]:
        """Send one statement by itself and give what it did. Raises as `exchange` does."""
        plan, values, types, formats = self._call(statement)
        self.pgconn.send_query_params(plan.text, values, types or None, formats)
        (result,) = self._results(until, pipelined=False)
        if result.status not in _GOOD:
            raise errors.error_from_result(result)
        return self._written(result, plan.record)

    def _call(self, statement: Statement[Any]) -> _Call:
        plan = _plan(statement.query)
        adapt = self._adapt
        values = adapt.dump_sequence([statement.parameters[name] for name in plan.parameters], plan.formats)
        if not plan.binary:
            return _Call(plan, values)
        formats = adapt.formats or ()
        types = tuple(
            oid if kind == pq.Format.BINARY else 0
            for oid, kind in zip(adapt.types or (), formats, strict=True)
        )
        return _Call(plan, values, types, formats)

    def _results(self, until: float, pipelined: bool = True) -> list[pq.abc.PGresult]:
        """Send what is gathered and read all answers: up to the end of the pipeline, or of the statement."""
        libpq = self.pgconn
        ready = select.poll()
        ready.register(libpq.socket, select.POLLIN)
        unsent = libpq.flush()
        results: list[pq.abc.PGresult] = []
        while True:
            while unsent or libpq.is_busy():
                ready.modify(libpq.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
                # guard: an answer is not waited for without end
                if not ready.poll(max(0.0, (until - time.monotonic()) * 1000)):
                    self.close()
                    raise psycopg.OperationalError("the connection was closed: no answer in time")
                libpq.consume_input()
                unsent = unsent and libpq.flush()
            result = libpq.get_result()
            if result is None:  # what divides one statement's answers from the next one's
                if libpq.status == pq.ConnStatus.BAD:
                    raise psycopg.OperationalError("the connection was lost while answers were under way")
                if not pipelined:
                    return results
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return results
            if libpq.status == pq.ConnStatus.BAD:
                raise errors.error_from_result(result)
            results.append(result)

    def _written(self, result: pq.abc.PGresult, record: type | None) -> Written[Any]:
        if result.status == pq.ExecStatus.TUPLES_OK:
            self._adapt.set_pgresult(result)
            rows = self._adapt.load_rows(0, result.ntuples, _maker(record, result))
            return Written(result.command_tuples or 0, rows)
        return Written(result.command_tuples or 0, [])
