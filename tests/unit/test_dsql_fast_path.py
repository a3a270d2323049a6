"""The local DSQL's fast path: which batches it takes, what it sends and shows, and what it gives back."""

import asyncio

import pytest

from local_dsql import statements, wire
from local_dsql.backend import Prepared
from local_dsql.effects import Effect
from local_dsql.server import Server
from local_dsql.session.conversation import Session
from local_dsql.state import Transaction
from local_dsql.statements import Rows, Table
from local_dsql.wire import Inbox, Link

TEXTS = {
    b"begin": "begin",
    b"read": "select a from t where id = $1",
    b"write": "update t set a = $1 where id = $2",
    b"commit": "commit",
    b"lock": "select a from t where id = $1 for update",
    b"set": "set timezone = 'UTC'",
    b"shown": "show server_version",
    b"unknown write": "update u set a = 1 where id = 2",
}
SAVEPOINT = wire.BIND_COMPLETE + wire.message(b"C", b"SAVEPOINT\0")
SNAPSHOT = wire.BIND_COMPLETE + wire.text_row("1") + wire.message(b"C", b"SELECT 1\0")
DUPLICATE = wire.error("23505", "duplicate key")


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def taken(self) -> bytes:
        written, self.written = self.written, b""
        return written


class Scene:
    """A session whose two connections lead nowhere, at rest."""

    def __init__(self) -> None:
        self.server = Server("nowhere", 1)
        self.database = self.server.database("postgres")
        self.client, self.link = Link(), Link()
        self.to_client, self.to_postgres = Wire(), Wire()
        self.client.connection_made(self.to_client)
        self.link.connection_made(self.to_postgres)
        self.session = Session(self.server, self.database, self.client, Inbox(self.client), self.link)
        for name, text in TEXTS.items():
            self.session.statements[name] = Prepared(statements.read(text), b"\0\0")
        self.effect = Effect(
            frozenset({7}), Rows.FIXED, 1, False, frozenset(), frozenset(), False, False, False
        )
        self.know(self.effect)
        self.session.is_resting = True

    def know(self, effect: Effect) -> None:
        """Have the database know what the write means."""
        self.database.effects = {TEXTS[b"write"]: effect}

    def send(self, *names: bytes) -> bytes:
        """Send a batch; give what PostgreSQL gets of it at once."""
        self.client.data_received(batch(*names))
        return self.to_postgres.taken()

    def begin(self) -> Transaction:
        """Have a transaction open."""
        self.send(b"begin", b"read")
        self.link.data_received(done(b"BEGIN") + SAVEPOINT + done(b"SELECT 0") + wire.READY[b"T"])
        self.to_client.taken()
        assert self.session.transaction is not None
        return self.session.transaction


@pytest.fixture
def scene() -> Scene:
    return Scene()


def execution(name: bytes) -> bytes:
    return wire.bind(b"", name, wire.text_values([b"1"])) + wire.describe_portal() + wire.execute()


def batch(*names: bytes) -> bytes:
    return b"".join(map(execution, names)) + wire.SYNC_MESSAGE


def done(tag: bytes, rows: bytes = b"") -> bytes:
    return wire.BIND_COMPLETE + wire.NO_DATA + rows + wire.message(b"C", tag + b"\0")


def test_a_known_batch_goes_through_as_it_came_with_the_frame_behind_begin(scene: Scene) -> None:
    sent = scene.send(b"begin", b"read")
    frame = wire.bind(b"", b"dsql_frame") + wire.execute()
    assert sent == execution(b"begin") + frame + execution(b"read") + wire.SYNC_MESSAGE
    rows = done(b"SELECT 1", wire.text_row("x"))
    scene.link.data_received(done(b"BEGIN") + SAVEPOINT + rows + wire.READY[b"T"])
    assert scene.to_client.taken() == done(b"BEGIN") + rows + wire.READY[b"T"]
    assert scene.session.backend.status == b"T"


def test_begin_alone_takes_the_snapshot(scene: Scene) -> None:
    assert b"dsql_snapshot" in scene.send(b"begin")
    scene.link.data_received(done(b"BEGIN") + SAVEPOINT + SNAPSHOT + wire.READY[b"T"])
    assert scene.to_client.taken() == done(b"BEGIN") + wire.READY[b"T"]


def test_an_answer_in_pieces_is_shown_whole(scene: Scene) -> None:
    scene.send(b"read")
    # A value that looks like the end of the answer, at the end of a piece.
    answer = done(b"SELECT 1", wire.message(b"D", b"\0\1\0\0\0\6" + wire.READY[b"I"])) + wire.READY[b"I"]
    cut = answer.index(wire.READY[b"I"]) + len(wire.READY[b"I"])
    scene.link.data_received(answer[:cut])
    assert scene.to_client.taken() == b""
    scene.link.data_received(answer[cut:])
    assert scene.to_client.taken() == answer


def test_much_of_a_reading_is_passed_on_before_its_end(scene: Scene) -> None:
    scene.send(b"read")
    row = wire.text_row("x" * 1000)
    scene.link.data_received(wire.BIND_COMPLETE + wire.NO_DATA + row * 1200 + row[:10])
    assert scene.to_client.taken() == wire.BIND_COMPLETE + wire.NO_DATA + row * 1200
    scene.link.data_received(row[10:] + wire.message(b"C", b"SELECT 1201\0") + wire.READY[b"I"])
    assert scene.to_client.taken() == row + wire.message(b"C", b"SELECT 1201\0") + wire.READY[b"I"]


def test_what_was_written_is_kept_to_be_run_again(scene: Scene) -> None:
    transaction = scene.begin()
    scene.send(b"write", b"read")
    scene.link.data_received(done(b"UPDATE 1") + done(b"SELECT 5") + wire.READY[b"T"])
    (run,) = transaction.runs
    assert (run.query.text, run.rows, run.values) == (TEXTS[b"write"], 1, wire.text_values([b"1"]))
    assert transaction.rows == 1
    assert transaction.data_statements == 1
    scene.send(b"commit")
    scene.link.data_received(done(b"COMMIT") + wire.READY[b"I"])
    assert scene.session.transaction is None


def test_what_fails_is_given_back_and_nothing_of_it_shown(scene: Scene) -> None:
    transaction = scene.begin()
    scene.send(b"read", b"write", b"commit")
    scene.link.data_received(done(b"SELECT 0") + wire.BIND_COMPLETE + DUPLICATE + wire.READY[b"E"])
    assert scene.to_client.taken() == b""
    assert scene.client.data == batch(b"read", b"write", b"commit")
    assert transaction.runs == []
    assert transaction.data_statements == 0
    # It is the session's now: the fast path takes nothing more before that has begun.
    assert scene.send(b"read") == b""


def test_a_batch_that_comes_again_is_judged_by_its_own_answer(scene: Scene) -> None:
    names = (b"begin", b"write", b"commit")
    good = done(b"UPDATE 1") + done(b"COMMIT") + wire.READY[b"I"]
    for answer in (good, good, good.replace(b"UPDATE 1", b"UPDATE 0"), good):
        scene.send(*names)
        scene.link.data_received(done(b"BEGIN") + SAVEPOINT + answer)
        assert scene.to_client.taken() == done(b"BEGIN") + answer
        assert scene.session.transaction is None
    scene.send(*names)
    failed = wire.BIND_COMPLETE + DUPLICATE + wire.READY[b"E"]
    scene.link.data_received(done(b"BEGIN") + SAVEPOINT + failed)
    assert scene.to_client.taken() == b""
    assert scene.client.data == batch(*names)


@pytest.mark.parametrize("pieces", [(7,), (40, 60), (90,)])
def test_what_follows_begin_is_cut_out_however_the_answer_comes(
    scene: Scene, pieces: tuple[int, ...]
) -> None:
    scene.send(b"begin", b"read")
    # A value that looks like the end of the answer, so that a piece is looked at before its time.
    rows = done(b"SELECT 1", wire.message(b"D", b"\0\1\0\0\0\6" + wire.READY[b"T"]))
    answer = done(b"BEGIN") + SAVEPOINT + rows + wire.READY[b"T"]
    cut = answer.index(wire.READY[b"T"]) + len(wire.READY[b"T"])
    for start, end in zip((0, *pieces, cut), (*pieces, cut, len(answer)), strict=True):
        scene.link.data_received(answer[start:end])
    assert scene.to_client.taken() == done(b"BEGIN") + rows + wire.READY[b"T"]


def test_one_batch_is_under_way_at_a_time(scene: Scene) -> None:
    scene.send(b"read")
    assert scene.send(b"read") == b""
    scene.link.data_received(done(b"SELECT 0") + wire.READY[b"I"])
    assert scene.to_postgres.taken() == batch(b"read")


@pytest.mark.parametrize(
    "names",
    [(b"lock",), (b"set",), (b"shown",), (b"unknown write",), (b"nobody",), (b"read", b"read"), (b"commit",)],
)
def test_other_batches_are_left_to_the_session(scene: Scene, names: tuple[bytes, ...]) -> None:
    assert scene.send(*names) == b""


@pytest.mark.parametrize(
    "changed",
    [
        {"is_counted": True},
        {"is_random": True},
        {"takes_sequence": True},
        {"rows": Rows.UNKNOWN},
        {"rows": Rows.FIXED, "row_count": 3001},
    ],
)
def test_a_write_that_asks_for_more_is_left_to_the_session(scene: Scene, changed: dict[str, object]) -> None:
    scene.begin()
    assert scene.send(b"write") != b""
    scene.link.data_received(done(b"UPDATE 0") + wire.READY[b"T"])
    scene.know(scene.effect._replace(**changed))  # type: ignore[arg-type]
    assert scene.send(b"write") == b""


@pytest.mark.parametrize(
    "state",
    ["is_parked", "is_pinned", "is_lost", "has_failed", "may_hold_locks", "schema_statements", "copies"],
)
def test_a_transaction_to_which_something_happened_is_left_to_the_session(scene: Scene, state: str) -> None:
    setattr(scene.begin(), state, {} if state == "copies" else True)
    assert scene.send(b"read") == b""


def test_a_row_that_others_have_deleted_is_looked_for(scene: Scene) -> None:
    transaction = scene.begin()
    scene.database.removed[7] = transaction.started + 1
    assert scene.send(b"write") == b""


def test_a_commit_that_may_meet_locks_is_left_to_the_session(scene: Scene) -> None:
    scene.begin()
    scene.database.lock_holders = 1
    assert scene.send(b"write", b"commit") == b""


def test_a_table_that_was_changed_is_left_to_the_session(scene: Scene) -> None:
    scene.database.change({Table("", "u")})
    assert scene.send(b"read") != b""
    scene.link.data_received(done(b"SELECT 0") + wire.READY[b"I"])
    scene.database.change({Table("", "t")})
    assert scene.send(b"read") == b""


def test_a_client_goes_when_postgres_has_gone(scene: Scene) -> None:
    scene.send(b"read")
    scene.link.connection_lost(None)
    assert scene.to_client.is_closed


def given(name: bytes, *values: bytes) -> bytes:
    return wire.bind(b"", name, wire.text_values(values)) + wire.execute()


def test_a_batch_of_a_known_size_is_another_one_if_its_statements_are(scene: Scene) -> None:
    read = given(b"read", b"1") + wire.SYNC_MESSAGE
    lock = given(b"lock", b"1") + wire.SYNC_MESSAGE
    looks_alike = given(b"read", b"1") + b"H" + wire.SYNC_MESSAGE[1:]
    assert len(read) == len(lock) == len(looks_alike)
    for _ in range(2):
        scene.client.data_received(read)
        assert scene.to_postgres.taken() == read
        scene.link.data_received(wire.BIND_COMPLETE + wire.message(b"C", b"SELECT 0\0") + wire.READY[b"I"])
    for other in (lock, looks_alike):
        scene.client.data_received(other)
        assert scene.to_postgres.taken() == b""
        scene.client.data = b""


def test_a_name_that_means_another_statement_now_is_read_again(scene: Scene) -> None:
    scene.send(b"read")
    scene.link.data_received(done(b"SELECT 0") + wire.READY[b"I"])
    for text in (b"lock", b"set", b"begin"):
        scene.session.statements[b"read"] = Prepared(statements.read(TEXTS[text]), b"\0\0")
        frame = b"dsql_frame" if text == b"begin" else b""
        assert frame in scene.send(b"read")
        assert text == b"begin" or scene.to_postgres.taken() == b""
        scene.client.data = b""
    scene.link.data_received(done(b"BEGIN") + SAVEPOINT + SNAPSHOT + wire.READY[b"T"])
    del scene.session.statements[b"read"]
    assert scene.send(b"read") == b""


def test_values_of_a_known_size_may_look_like_messages(scene: Scene) -> None:
    execute = wire.execute()
    for value in (b"x" * len(execute), execute, wire.SYNC_MESSAGE.ljust(len(execute), b"\0")):
        sent = given(b"read", value) + given(b"commit") + wire.SYNC_MESSAGE
        scene.begin()
        scene.client.data_received(sent)
        assert scene.to_postgres.taken() == sent
        scene.link.data_received(
            wire.BIND_COMPLETE
            + wire.text_row(value.decode())
            + wire.message(b"C", b"SELECT 1\0")
            + wire.BIND_COMPLETE
            + wire.message(b"C", b"COMMIT\0")
            + wire.READY[b"I"]
        )
        assert scene.session.transaction is None


def test_rows_are_counted_in_batches_that_come_again(scene: Scene) -> None:
    scene.know(scene.effect._replace(rows=Rows.BY_VALUES))
    transaction = scene.begin()
    values = b"," * 4_000
    for rows_before, is_taken in ((0, True), (0, True), (1_500, False)):
        transaction.rows = rows_before
        scene.client.data_received(given(b"write", values) + wire.SYNC_MESSAGE)
        assert (scene.to_postgres.taken() != b"") == is_taken
        if is_taken:
            scene.link.data_received(
                wire.BIND_COMPLETE + wire.message(b"C", b"UPDATE 1\0") + wire.READY[b"T"]
            )
