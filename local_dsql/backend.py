"""One session of the PostgreSQL behind: sends messages in one write, reads their answers, keeps what to show.

A step is one message and what is to become of its answer. The server's own statements are steps among the
client's: they ride in the same write, and their answers are left out of what the client gets.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from local_dsql import wire
from local_dsql.refusals import Refusal
from local_dsql.statements import Kind, Query, Table
from local_dsql.wire import Link, header_at

PARSED, BOUND, DESCRIBED, EXECUTED, CLOSED = b"1", b"2", b"Tn", b"CIsG", b"3"
"""What ends the answer to each kind of message. After CopyInResponse, G, the client has the word."""

_ERROR, _READY, _NOTICE, _COMPLETE, _ROW = b"EZNCD"
_NEWS = b"SA"
_READY_PREFIX = wire.READY[b"I"][:5]
_PASS_ON_ABOVE = 1 << 20

OWN = {
    "frame": "/* local_dsql */ savepoint dsql_frame",
    "back": "/* local_dsql */ rollback to savepoint dsql_frame",
    "begin": "/* local_dsql */ begin",
    "commit": "/* local_dsql */ commit",
    "rollback": "/* local_dsql */ rollback",
    "snapshot": "/* local_dsql */ select 1",
    "refuse": "/* local_dsql */ select pg_dsql.refuse($1, $2, $3, $4)",
    "fix": "/* local_dsql */ select pg_dsql.fix($1, $2)",
}
"""The server's own statements of every session, by the names that they are prepared under."""


@dataclass(slots=True, eq=False)
class Prepared:
    """A statement as a client prepared it, with the parameter types that it said."""

    query: Query
    oids: bytes
    resolved: bytes | None = None
    """The types that PostgreSQL found, once somebody had to know."""


@dataclass(slots=True)
class Run:
    """One execution of a statement: what it takes to run it again, and what it did."""

    prepared: Prepared
    values: bytes
    """The Bind's body after its two names: values and formats."""
    index: int
    batch: object
    """The batch that it came with, and which message of it it was."""
    seed: bytes = b""
    moment: bytes = b""
    """What random() and clock_timestamp() start from, where the statement uses them."""
    rows: int = 0
    is_counted: bool = False
    """Whether the rows are counted otherwise than by the command's tag."""
    copied: bytes = b""
    """The client's messages of a COPY FROM STDIN."""
    job: str = ""
    own: tuple[str, tuple[bytes, ...]] | None = None
    """An own statement that goes with it."""
    tables: frozenset[int] = frozenset()

    @property
    def query(self) -> Query:
        """The statement."""
        return self.prepared.query

    @property
    def written_tables(self) -> list[Table]:
        """The tables that it writes."""
        query = self.query
        return [each.table for each in (query.references if query.kind is Kind.COPY_IN else query.writes)]


@dataclass(slots=True)
class Portal:
    """A statement with its values, as a client bound it."""

    prepared: Prepared
    values: bytes
    raw: bytes
    epoch: int = 0
    run: Run | None = None
    kept: list[bytes] | None = None
    """Rows of a portal that is fetched from in parts; None unless it has been run for that."""
    finish: bytes = b""


class Step:
    """A message to PostgreSQL, and what is to become of the answer."""

    __slots__ = ("alter", "ends", "index", "is_replay", "key", "raw", "refusal", "run", "shown", "watch")

    def __init__(
        self,
        raw: bytes,
        ends: bytes,
        *,
        shown: bool = False,
        index: int = -1,
        run: Run | None = None,
        watch: Callable[[bytes], None] | None = None,
        alter: Callable[[int, bytes], bytes] | None = None,
        key: object = None,
    ) -> None:
        self.raw, self.ends = raw, ends
        self.shown = shown
        """Whether the client gets the answer."""
        self.index = index
        """Which of the client's messages it belongs to."""
        self.run = run
        self.watch = watch
        """Gets each row."""
        self.alter = alter
        """Turns each message of the answer into what the client gets."""
        self.key = key
        """What is prepared by it, for the list of what is."""
        self.refusal: Refusal | None = None
        """What it is to raise."""
        self.is_replay = False
        """Whether it runs again what has run before."""


class Failure(NamedTuple):
    """An error, and the step that it is the answer to; None for what no step asked for."""

    step: Step | None
    answer: bytes
    partial: bytes = b""
    """What the client would have got of the step's answer before the error."""

    @property
    def sqlstate(self) -> str:
        """The error's code."""
        return wire.error_fields(self.answer).get("C", "")

    @property
    def words(self) -> str:
        """The error's message."""
        return wire.error_fields(self.answer).get("M", "")

    @property
    def is_of_catalogue(self) -> bool:
        """Whether two sessions met in PostgreSQL's catalogue, creating or changing the same thing at once."""
        match self.sqlstate:
            case "23505":
                return wire.error_fields(self.answer).get("s") == "pg_catalog"
            case "42710":  # a table's row type: DSQL has no CREATE TYPE
                return self.words.startswith('type "')
            case "42P07":  # of what was not there when IF NOT EXISTS looked
                run = self.step.run if self.step is not None else None
                return run is not None and bool(getattr(run.query.tree, "if_not_exists", False))
            case "XX000":
                return self.words.startswith("tuple concurrently ")
        return False


class Backend:
    """A session of the PostgreSQL behind."""

    def __init__(self, link: Link, client: Link, completed: Callable[[Run, bytes], bytes | None]) -> None:
        self.link = link
        self.status = b"I"
        """PostgreSQL's state of the transaction, as its last ReadyForQuery told it."""
        self.output: list[bytes] = []
        """What the client is to get."""
        self._client = client
        self._completed = completed
        self._names: dict[object, bytes] = {}
        self._numbers = itertools.count(1)

    def own(
        self,
        name: str,
        values: Sequence[bytes | None] = (),
        *,
        index: int = -1,
        watch: Callable[[bytes], None] | None = None,
    ) -> tuple[Step, Step]:
        """Give the steps of an own statement."""
        bound = wire.bind(b"", b"dsql_" + name.encode(), wire.text_values(values))
        return (
            Step(bound, BOUND, index=index),
            Step(wire.execute(), EXECUTED, index=index, watch=watch),
        )

    def prepared(self, text: str, oids: bytes, index: int) -> tuple[bytes, list[Step]]:
        """Give the name under which a text of our own is prepared, and the step that it takes, if any."""
        key = (text, oids)
        name = self._names.get(key)
        if name is not None:
            return name, []
        # Never a number twice: what was forgotten may have been prepared all the same.
        name = self._names[key] = b"dsql_%d" % next(self._numbers)
        return name, [Step(wire.parse(name, text, oids), PARSED, index=index, key=key)]

    async def start(self) -> None:
        """Prepare the own statements. Raises ConnectionLostError."""
        steps = [Step(wire.parse(b"dsql_" + n.encode(), t), PARSED) for n, t in OWN.items()]
        failure = await self.exchange(steps, sync=True)
        assert failure is None, failure

    async def exchange(self, steps: Sequence[Step], *, sync: bool) -> Failure | None:
        """Send the steps' messages and read their answers; with `sync` end what is not a transaction block.

        Gives the first failure: then what came after it did not happen, and PostgreSQL has had its Sync.
        """
        if not steps and not sync:
            return None
        end = wire.SYNC_MESSAGE if sync else wire.FLUSH_MESSAGE
        self.link.write(b"".join([step.raw for step in steps]) + end)
        return await self._read(steps, sync)

    async def _read(self, steps: Sequence[Step], sync: bool) -> Failure | None:
        # One loop over all that has come, without a call a message: this is where the time of a batch goes.
        # What is shown of it is cut out in stretches, as long as they come.
        link, output = self.link, self.output
        until = _READY_PREFIX if sync else b""
        failure: Failure | None = None
        number, count = 0, len(steps)
        step = steps[0] if steps else None
        # Where the output of the step at hand begins: in `output`, or in the stretch at hand (mark < 0).
        mark, begun = len(output), 0
        while True:
            data = link.data
            position, end = 0, len(data)
            # Where what is shown and not yet in `output` begins; -1 while nothing is shown.
            shown = 0 if step is not None and step.shown and step.alter is None and failure is None else -1
            while end - position >= 5:
                letter, length = header_at(data, position)
                following = position + 1 + length
                if following > end:
                    break
                if letter == _READY:
                    if shown >= 0 and position > shown:
                        output.append(data[shown:position])
                    self.status = data[position + 5 : position + 6]
                    link.data = data[following:]
                    if failure is not None:
                        self._forget_names(steps[number:])
                    return failure
                answer = None
                if letter in _NEWS:
                    if shown < 0:
                        output.append(data[position:following])
                elif letter == _ERROR:
                    if failure is None:
                        answer = data[position:following]
                elif failure is not None or step is None:
                    pass
                else:
                    if shown < 0:
                        if step.alter is not None and step.shown:
                            output.append(step.alter(letter, data[position:following]))
                        elif letter == _ROW and step.watch is not None:
                            step.watch(data[position:following])
                    if letter in step.ends:
                        if letter == _COMPLETE and step.run is not None:
                            answer = self._completed(step.run, data[position + 5 : following - 1])
                        if answer is None:
                            number += 1
                            step = steps[number] if number < count else None
                            is_shown = step is not None and step.shown and step.alter is None
                            if is_shown != (shown >= 0):
                                if shown >= 0:
                                    output.append(data[shown:following])
                                    shown = -1
                                else:
                                    shown = following
                            begun, mark = following, -1 if shown >= 0 else len(output)
                if answer is not None:
                    if mark < 0:
                        output.append(data[shown:begun])
                        mark, shown = len(output), begun
                    if shown >= 0:
                        output.append(data[shown:position])
                        shown = -1
                    failure = Failure(step, answer, b"".join(output[mark:]))
                    del output[mark:]
                    if not sync:
                        # PostgreSQL is to fail too where it did not: what is in no block would be kept.
                        refused = () if letter == _ERROR else self.own("refuse", (b"54000", b"", b"", b""))
                        link.write(b"".join([each.raw for each in refused]) + wire.SYNC_MESSAGE)
                        until = _READY_PREFIX
                position = following
            if mark < 0:
                output.append(data[shown:begun])
                mark, shown = len(output), begun
            if shown >= 0 and position > shown:
                output.append(data[shown:position])
            begun = 0
            link.data = data[position:]
            if number == count and not sync and failure is None:
                return None
            # Rows of what may have to be run again are kept until it is known to have worked.
            is_final = step is None or step.run is None
            if is_final and len(output) > 1 and sum(map(len, output)) > _PASS_ON_ABOVE:
                self.pass_on()
                mark = 0
            await link.more(until)

    def _forget_names(self, steps: Sequence[Step]) -> None:
        """Forget what steps that did not happen would have prepared."""
        for step in steps:
            if step.key is not None:
                self._names.pop(step.key, None)

    def pass_on(self) -> None:
        """Send the client what has gathered for it."""
        if self.output:
            self._client.write(b"".join(self.output))
            self.output.clear()
