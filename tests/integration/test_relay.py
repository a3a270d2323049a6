"""The relay over a real outbox: what it publishes, keeps, dead-letters, gives up and takes over."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

import sql.relay
from domain.outbox import MAX_ATTEMPTS, Held, OutboxMessage, OutboxUnavailableError, Share, Verdict
from events.publish import MAX_BYTES
from events.relay import Relay, RelayReport, RelaySettings
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Connection, Database
from sql.outbox import SHARDS
from sql.relay import Outbox
from sql.scan import MAX_BYTES as MAX_BYTES_CHANGED
from tests.bus import Entry, StubBus, bad_request
from tests.integration.conftest import Connect

HOME, AWAY = "us-east-1", "us-west-2"
SETTINGS = RelaySettings(bus="bus", batch=50, parallel=4)


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.at: dict[float, Callable[[], None]] = {}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)
        for moment in sorted(moment for moment in self.at if moment <= self.now):
            self.at.pop(moment)()


class Setting:
    """An outbox, a bus, and relays over them."""

    def __init__(self, admin: Connection, database: Callable[..., Database]) -> None:
        self.admin = admin
        self.bus = StubBus()
        self.clock = Clock()
        self._database = database

    def write(self, count: int = 1, *, region: str = HOME, age_s: float = 0, **columns: Any) -> list[UUID]:
        """Put messages into the outbox."""
        ids = [uuid4() for _ in range(count)]
        for id_ in ids:
            self.admin.execute(
                """insert into xpoints.outbox (region, shard, id, event_type, detail, attempts, created_at)
                values (%s, %s, %s, 'OrderPlaced.v1', %s, %s, now() - make_interval(secs => %s))""",
                (
                    region,
                    columns.get("shard", SHARDS[id_.int % len(SHARDS)]),
                    id_,
                    columns.get("detail", f'{{"id": "{id_}"}}'),
                    columns.get("attempts", 0),
                    age_s,
                ),
            )
        return ids

    def outbox(self, region: str = HOME, worker: int = 0) -> Outbox:
        """Give a new run's side of the outbox."""
        return Outbox(self._database("relay"), region, uuid4(), "a test", worker)

    def relay(self, outbox: Any = None, **changes: Any) -> Relay:
        """Give a relay run over it."""
        settings = RelaySettings(**{**{n: getattr(SETTINGS, n) for n in SETTINGS.__slots__}, **changes})
        return Relay(
            outbox or self.outbox(),
            lambda: self.bus,
            settings,
            monotonic=self.clock.monotonic,
            sleep=self.clock.sleep,
        )

    def run(self, for_s: float = 1.0, outbox: Any = None, **changes: Any) -> RelayReport:
        """Run a relay for some seconds of its own time."""
        return self.relay(outbox, **changes).run(self.clock.now + for_s)

    def run_a_round(self, outbox: Any = None) -> RelayReport:
        """Run a relay until it has read messages once: a round that was disturbed decides nothing."""
        while not (report := self.run(0.05, outbox)).polls:
            pass
        return report

    def expire_leases(self) -> None:
        """Let the time of all leases and relays pass, by the database's clock."""
        self.admin.execute("update xpoints.relay_leases set expires_at = now() - interval '1 second'")
        self.admin.execute("update xpoints.relays set expires_at = now() - interval '1 second'")

    def waiting(self) -> set[UUID]:
        return {row[0] for row in self.admin.execute("select id from xpoints.outbox")}

    def dead(self) -> dict[UUID, str]:
        return dict(self.admin.execute("select id, reason from xpoints.outbox_dead_letters").fetchall())

    def published(self) -> list[str]:
        return [entry["Detail"] for entry in self.bus.accepted]


@pytest.fixture
def setting(connect: Connect, database: Callable[..., Database]) -> Setting:
    return Setting(connect(), database)


def test_everything_that_waits_is_published_once_and_leaves_the_outbox(setting: Setting) -> None:
    ids = setting.write(180)
    report = setting.run()
    assert sorted(setting.published()) == sorted(f'{{"id": "{id_}"}}' for id_ in ids)
    assert setting.waiting() == set()
    assert report.published == sum(report.lags.values()) == 180
    assert {entry["EventBusName"] for entry in setting.bus.accepted} == {"bus"}
    assert {entry["DetailType"] for entry in setting.bus.accepted} == {"OrderPlaced.v1"}


def test_a_message_whose_transaction_commits_late_is_published_too(
    setting: Setting, connect: Connect
) -> None:
    late = connect(autocommit=False)
    late.execute(
        "insert into xpoints.outbox (region, shard, id, event_type, detail) values (%s, 3, %s, 'X.v1', '{}')",
        (HOME, uuid4()),
    )
    setting.write(20)  # younger, and committed before
    setting.run()
    late.commit()
    assert setting.run().published == 1


def test_a_request_has_at_most_ten_entries_and_256_kb(setting: Setting) -> None:
    setting.write(25)
    setting.write(5, detail='{"x": "%s"}' % ("é" * 60_000))
    setting.run()
    sizes = [sum(len(entry["Detail"].encode()) for entry in request) for request in setting.bus.requests]
    assert max(len(request) for request in setting.bus.requests) == 10
    assert max(sizes) <= MAX_BYTES
    assert len(setting.bus.accepted) == 30


def test_only_what_the_bus_accepted_is_deleted(setting: Setting) -> None:
    ids = setting.write(12)
    rejected = str(ids[4])
    setting.bus.reject = lambda entry: ("SomethingNew", "later") if rejected in entry["Detail"] else None
    setting.run()
    assert setting.waiting() == {ids[4]}
    attempts, error, waits = setting.admin.execute(
        "select attempts, last_error, retry_at > now() from xpoints.outbox"
    ).fetchone() or (0, "", False)
    assert (attempts, error, waits) == (1, "SomethingNew: later", True)


def test_a_rejected_message_waits_its_pause_and_is_then_tried_again(setting: Setting) -> None:
    setting.write()
    setting.bus.reject = lambda _: ("SomethingNew", "later")
    setting.run(10)
    assert len(setting.bus.requests) == 1
    setting.admin.execute("update xpoints.outbox set retry_at = now() - interval '1 second'")
    setting.run(10)
    assert len(setting.bus.requests) == 2


def test_a_message_that_is_always_rejected_is_dead_lettered_with_the_reason(setting: Setting) -> None:
    (id_,) = setting.write(attempts=MAX_ATTEMPTS - 1)
    setting.bus.reject = lambda _: ("SomethingNew", "never")
    assert setting.run().dead_lettered == 1
    assert setting.dead() == {id_: "SomethingNew: never"}
    assert setting.waiting() == set()


@pytest.mark.parametrize("detail", ['{"x": "%s"}' % ("y" * MAX_BYTES), "no json"])
def test_a_message_that_no_bus_can_take_is_dead_lettered_at_once_and_alone(
    setting: Setting, detail: str
) -> None:
    (bad,) = setting.write(detail=detail)
    setting.write(15)
    report = setting.run()
    assert set(setting.dead()) == {bad}
    assert (report.published, report.dead_lettered, setting.waiting()) == (15, 1, set())


def test_a_message_for_which_a_whole_request_is_rejected_does_not_keep_the_others_back(
    setting: Setting,
) -> None:
    (bad,) = setting.write(detail='{"poison": 1}')
    setting.write(9)

    def fail(entries: Sequence[Entry]) -> None:
        if any("poison" in entry["Detail"] for entry in entries):
            raise bad_request("ValidationException")

    setting.bus.fail = fail
    assert setting.run().published == 9
    assert set(setting.dead()) == {bad}


@pytest.mark.parametrize("code", ["InternalFailure", "AccessDeniedException", "ThrottlingException", None])
def test_an_outage_of_the_bus_dead_letters_nothing_and_counts_nothing(
    setting: Setting, code: str | None
) -> None:
    ids = setting.write(30, attempts=MAX_ATTEMPTS - 1)

    def fail(_: Sequence[Entry]) -> None:
        raise ConnectionError

    if code is None:
        setting.bus.fail = fail
    else:
        setting.bus.reject = lambda _: (code, "down")
    report = setting.run(40)
    assert report.outages > 1
    assert setting.waiting() == set(ids)
    assert setting.dead() == {}
    assert setting.admin.execute("select distinct attempts from xpoints.outbox").fetchall() == [
        (MAX_ATTEMPTS - 1,)
    ]


def test_during_an_outage_the_relay_slows_down(setting: Setting) -> None:
    setting.write(SETTINGS.batch)
    setting.bus.reject = lambda _: ("ThrottlingException", "slow down")
    report = setting.run(4)
    assert report.outages <= 12


def test_in_an_outage_the_relay_gives_its_leases_up_and_another_region_takes_over(setting: Setting) -> None:
    setting.write(30, age_s=SETTINGS.takeover_s + 1)
    other_bus, away = StubBus(), setting.outbox(AWAY)

    def fail(_: Sequence[Entry]) -> None:
        raise ConnectionError

    def let_the_other_region_try() -> None:
        helper = Setting(setting.admin, setting._database)
        helper.bus = other_bus
        helper.run(1, away)

    setting.bus.fail = fail
    setting.clock.at[setting.clock.now + SETTINGS.outage_s + 2] = let_the_other_region_try
    setting.run(SETTINGS.outage_s + 4)
    assert len(other_bus.accepted) == 30
    assert setting.waiting() == set()


def test_after_an_outage_the_relay_takes_its_shards_back(setting: Setting) -> None:
    setting.write(30)

    def fail(_: Sequence[Entry]) -> None:
        raise ConnectionError

    def recover() -> None:
        setting.bus.fail = lambda _: None

    setting.bus.fail = fail
    setting.clock.at[setting.clock.now + SETTINGS.outage_s + 3] = recover
    assert setting.run(3 * (SETTINGS.outage_s + SETTINGS.probe_s)).published == 30


def test_nothing_is_sent_to_a_bus_that_is_gone_and_all_goes_out_when_it_is_back(setting: Setting) -> None:
    ids = set(setting.write(30))
    setting.bus.gone = True
    report = setting.run(3)
    assert setting.waiting() == ids
    assert (report.published, setting.bus.requests) == (0, [])
    assert report.outages > 0
    setting.bus.gone = False
    assert setting.run(5).published == 30


def test_a_bus_that_goes_under_a_relay_is_noticed_and_what_was_on_its_way_stays(setting: Setting) -> None:
    setting.write(10)

    def delete_the_bus() -> None:
        setting.bus.gone = True
        setting.clock.now += SETTINGS.ask_bus_s
        setting.write(20)

    setting.clock.at[setting.clock.now + 2] = delete_the_bus
    report = setting.run(12)
    assert (report.published, len(setting.waiting())) == (10, 20)
    assert report.outages > 0


def test_the_bus_is_asked_for_now_and_then_and_not_by_an_idle_relay(setting: Setting) -> None:
    setting.run(30)
    assert setting.bus.asked == 0
    for _ in range(3):
        setting.write(5)
        setting.run_a_round()
    assert setting.bus.asked == 3, "once a run that publishes"


def test_a_bus_that_may_not_be_asked_for_is_published_to(setting: Setting) -> None:
    setting.write(5)

    def deny(**_: str) -> None:
        raise bad_request("AccessDeniedException")

    setting.bus.describe_event_bus = deny  # type: ignore[method-assign,assignment]
    assert setting.run(2).published == 5


@pytest.mark.parametrize("entry", [{}, {"EventId": "1", "ErrorCode": "ThrottlingException"}])
def test_an_entry_without_an_id_of_its_event_is_no_success(setting: Setting, entry: dict[str, str]) -> None:
    ids = set(setting.write(5))
    setting.bus.put_events = lambda **sent: {"Entries": [entry] * len(sent["Entries"])}  # type: ignore[method-assign]
    assert setting.run(1).published == 0
    assert setting.waiting() == ids


@pytest.mark.parametrize("answer", [{}, {"Entries": []}])
def test_an_answer_that_says_nothing_of_its_entries_is_an_outage(
    setting: Setting, answer: dict[str, Any]
) -> None:
    ids = set(setting.write(5))
    setting.bus.put_events = lambda **_: answer  # type: ignore[method-assign]
    report = setting.run(1)
    assert (report.published, setting.waiting()) == (0, ids)
    assert report.outages > 0


def test_fresh_messages_of_another_region_are_left_to_its_relay(setting: Setting) -> None:
    setting.write(5, region=AWAY, age_s=SETTINGS.takeover_s - 30)
    assert setting.run(30).published == 0


def test_old_messages_of_another_region_are_left_alone_while_somebody_holds_their_shard(
    setting: Setting,
) -> None:
    setting.write(5, region=AWAY, age_s=SETTINGS.takeover_s + 30)
    owner = setting.outbox(AWAY)
    owner.hold(15)
    assert setting.run(30).published == 0
    setting.expire_leases()
    assert setting.run(30).published == 5


def test_shards_taken_over_are_given_back_when_nothing_old_is_left_there(setting: Setting) -> None:
    setting.write(5, region=AWAY, age_s=SETTINGS.takeover_s + 30)
    rescuer, owner = setting.outbox(), setting.outbox(AWAY)
    assert {shard.region for shard in rescuer.rescue(SETTINGS.takeover_s, 20).kept} == {AWAY}
    assert len(kept(owner)) < len(SHARDS)
    messages = rescuer.take(10)
    rescuer.settle(messages, Verdict([], [], []))
    held = rescuer.rescue(SETTINGS.takeover_s, 20)
    assert not held.kept
    rescuer.release(held.surplus)
    assert kept(owner) == list(SHARDS)


def test_a_relay_reads_nothing_without_a_lease(setting: Setting) -> None:
    setting.write(3)
    outbox = setting.outbox()
    assert outbox.take(10) == []
    outbox.hold(15)
    assert len(outbox.take(10)) == 3
    setting.expire_leases()
    assert outbox.take(10) == []


def test_a_relay_cannot_take_an_unexpired_lease_and_can_take_an_expired_one(setting: Setting) -> None:
    first, second = setting.outbox(worker=0), setting.outbox(worker=1)
    assert kept(first) == list(SHARDS)
    assert kept(second) == []
    setting.expire_leases()
    assert kept(second) == list(SHARDS)


def test_the_database_refuses_a_lease_that_another_holds_whatever_the_relay_believes(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.outbox(worker=0).hold(15)
    monkeypatch.setattr("sql.relay.share_out", lambda shards, *_: Share([], list(shards)))
    assert kept(setting.outbox(worker=1)) == []


def test_a_relay_whose_lease_another_has_can_neither_count_nor_dead_letter(
    setting: Setting,
) -> None:
    (doomed,) = setting.write(attempts=MAX_ATTEMPTS - 1)
    (young,) = setting.write()
    setting.bus.reject = lambda _: ("SomethingNew", "never")
    overtaken = setting.outbox()

    def lose_the_lease(_: Sequence[Entry]) -> None:
        setting.expire_leases()
        setting.outbox(worker=1).hold(15)

    setting.bus.fail = lose_the_lease
    setting.run_a_round(overtaken)
    assert setting.waiting() == {doomed, young}
    assert setting.dead() == {}
    rows = setting.admin.execute("select id, attempts from xpoints.outbox").fetchall()
    assert dict(rows) == {doomed: MAX_ATTEMPTS - 1, young: 0}


def test_relays_of_a_region_share_its_shards(setting: Setting) -> None:
    relays = [setting.outbox(worker=worker) for worker in range(3)]
    for _ in range(3):
        held = [renew(relay) for relay in relays]
    assert sorted(shard for shards in held for shard in shards) == list(SHARDS)
    assert max(len(shards) for shards in held) == 6
    relays[1].leave()
    for _ in range(2):
        held = [renew(relays[0]), renew(relays[2])]
    assert [len(shards) for shards in held] == [8, 8]


def test_two_relays_at_once_publish_each_message_once(setting: Setting) -> None:
    setting.write(400)
    workers = [setting.outbox(worker=worker) for worker in range(2)]
    helpers = [Setting(setting.admin, setting._database) for _ in workers]
    for helper in helpers:
        helper.bus = setting.bus
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: pair[0].run(5, pair[1]), zip(helpers, workers, strict=True)))
    assert len(setting.published()) == len(set(setting.published())) == 400


def test_a_new_run_ends_the_one_before_it_and_no_message_waits_or_goes_twice(setting: Setting) -> None:
    old, new = setting.outbox(), setting.outbox()
    setting.write(10)

    def start_the_next_run() -> None:
        new.hold(15)
        setting.write(10)

    setting.clock.at[setting.clock.now + 2] = start_the_next_run
    began = setting.clock.now
    report = setting.run(100, old)
    assert report.superseded
    assert setting.clock.now - began < 2 + SETTINGS.lease_s / 3 + 1
    assert kept(new) == list(SHARDS)
    setting.run(1, new)
    assert len(setting.published()) == len(set(setting.published())) == 20


def kept(outbox: Outbox) -> list[int]:
    """Renew leases; give the shards kept, and leave the surplus where it is."""
    held = outbox.hold(15)
    return [] if held is None else [shard.shard for shard in held.kept]


def renew(outbox: Outbox) -> list[int]:
    """Renew leases and release the surplus, as a relay with nothing on its way does."""
    held = outbox.hold(15)
    assert held is not None
    if held.surplus:
        outbox.release(held.surplus)
    return [shard.shard for shard in held.kept]


class Watched:
    """An outbox whose relay has messages on their way when another run asks for its shards."""

    def __init__(self, setting: Setting, outbox: Outbox, newcomer: Outbox) -> None:
        self._setting, self._outbox, self._newcomer = setting, outbox, newcomer
        self._renewed = threading.Event()
        self.shards_in_flight: list[list[int]] = []
        setting.bus.fail = self._answer_late

    def _answer_late(self, _: Sequence[Entry]) -> None:
        assert self._renewed.wait(30)
        self.shards_in_flight.append(kept(self._newcomer))

    def hold(self, lease_s: float) -> Held | None:
        held = self._outbox.hold(lease_s)
        if (held is not None and held.surplus) or self._setting.bus.requests:
            self._renewed.set()
        return held

    def take(self, *arguments: Any) -> list[OutboxMessage]:
        messages = self._outbox.take(*arguments)
        if not self.shards_in_flight and not self._renewed.is_set():
            self._newcomer.hold(15)
            self._setting.clock.now += SETTINGS.lease_s / 3 + 0.1  # the next renewal is due
        return messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)


@pytest.mark.parametrize("worker", [0, 1], ids=["the next run", "another relay"])
def test_a_shard_is_given_up_after_its_messages_have_landed(setting: Setting, worker: int) -> None:
    setting.write(SETTINGS.batch + 10)
    newcomer = setting.outbox(worker=worker)
    watched = Watched(setting, setting.outbox(), newcomer)
    setting.run(8, watched)
    setting.bus.fail = lambda _: None
    setting.run(2, newcomer)
    assert watched.shards_in_flight[:5] == [[]] * 5, "while the five requests were under way"
    assert len(setting.published()) == len(set(setting.published())) == SETTINGS.batch + 10


def test_a_rescued_shard_is_given_back_after_its_messages_have_landed(setting: Setting) -> None:
    setting.write(1, region=AWAY, age_s=SETTINGS.takeover_s + 30)
    rescuer, owner = setting.outbox(), setting.outbox(AWAY)
    held_in_flight: list[int] = []

    def answer_late(_: Sequence[Entry]) -> None:
        setting.admin.execute("update xpoints.outbox set created_at = now()")  # nothing old is left
        setting.clock.now += SETTINGS.rescue_every_s + 0.1  # the next look at other Regions is due
        held_in_flight.append(len(kept(owner)))

    setting.bus.fail = answer_late
    setting.run(SETTINGS.rescue_every_s + 5, rescuer)
    assert held_in_flight == [len(SHARDS) - 1]
    assert kept(owner) == list(SHARDS)
    assert len(setting.published()) == 1


@pytest.mark.parametrize(
    ("statement", "code"),
    [("_DEAD_LETTER", "MalformedDetail"), ("_COUNT_ATTEMPTS", "SomethingNew"), ("_DELETE", None)],
)
def test_what_the_bus_said_of_large_messages_is_recorded_in_transactions_that_dsql_takes(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, statement: str, code: str | None
) -> None:
    size_bytes = 250_000
    setting.write(45, detail='"%s"' % ("y" * (size_bytes - 2)))
    setting.bus.reject = lambda _: None if code is None else (code, "no")
    batches: list[int] = []
    query = getattr(sql.relay, statement)

    def note(**parameters: Any) -> Any:
        batches.append(len(parameters["ids"]))
        return query(**parameters)

    monkeypatch.setattr(sql.relay, statement, note)
    setting.run_a_round()
    assert sum(batches) >= 45, "more when the database was away and it was tried again"
    assert 2 * max(batches) * size_bytes <= MAX_BYTES_CHANGED, "written in one table, deleted in another"


def test_a_run_that_ends_leaves_neither_lease_nor_presence(setting: Setting) -> None:
    setting.run()
    for table in ("relays", "relay_leases"):
        assert setting.admin.execute(f"select count(*) from xpoints.{table}".encode()).fetchone() == (0,)


class Failing:
    """An outbox that cannot be reached for its next calls of one method."""

    def __init__(self, outbox: Outbox, method: str, times: int) -> None:
        self._outbox, self._method, self.times = outbox, method, times

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            if name == self._method and self.times > 0:
                self.times -= 1
                raise OutboxUnavailableError
            return getattr(self._outbox, name)(*arguments)

        return call


@pytest.mark.parametrize("method", ["hold", "rescue", "take", "settle"])
def test_the_relay_outlives_a_database_that_is_away_and_publishes_nothing_twice(
    setting: Setting, method: str
) -> None:
    setting.write(120)
    report = setting.run(35, Failing(setting.outbox(), method, 3))
    assert report.database_faults == 3
    assert len(setting.published()) == 120
    assert setting.waiting() == set()


def test_sessions_that_the_server_ends_do_not_end_the_relay(setting: Setting) -> None:
    setting.write(20)
    kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rewards-tests'"

    def fail(_: Sequence[Entry]) -> None:
        setting.bus.fail = lambda _: None
        setting.admin.execute(kill)

    setting.bus.fail = fail
    assert setting.run(3).published == 20
    assert setting.waiting() == set()


def test_a_full_shard_does_not_keep_the_others_waiting(setting: Setting) -> None:
    setting.write(300, shard=0)
    setting.write(1, shard=15, detail='{"other": 1}')
    setting.run(1, parallel=1)
    position = setting.published().index('{"other": 1}')
    assert position <= 2 * SETTINGS.batch


def test_an_idle_poll_is_one_statement(
    setting: Setting, postgres: EmbeddedPostgres, database_name: str
) -> None:
    outbox = setting.outbox()
    outbox.hold(15)
    marker = "select 'before the polls'"
    setting.admin.execute(marker)
    for _ in range(3):
        outbox.take(10)
    outbox.settle([], Verdict([], [], []))
    setting.admin.execute("select 'after the polls'")
    texts: list[str] = []
    while not any("after the polls" in text for text in texts):  # the server writes its log a moment later
        texts = [each.text for each in postgres.executed_statements() if each.database == database_name]
    assert len(texts[texts.index(marker) + 1 : -1]) == 3
