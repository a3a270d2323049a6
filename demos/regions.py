"""Two Regions on one database; one is lost and comes back: `python -m demos.regions`, or `make regions`.

Both are deployed from template.yaml onto an emulator of their own. Shoppers order in both until one is lost
without warning; the other carries on, and takes over what the lost one had not told anybody yet. Then the
lost one comes back under load, with its queues as they were: nothing is missing, and nothing happens twice.
The exit code is not 0 if anything was not as it must be. `--live` shows it in a browser.
"""

import argparse
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psutil
import psycopg
from rich.table import Table

from demos.invariants import ALWAYS, AT_REST, Breach, breaches
from demos.live import Live, Snapshot, add_options
from demos.outbox_recorder import Happened, OutboxRecorder
from demos.region_load import RoamingCustomer, Seen, Wares, admit, furnish
from demos.shoppers import (
    SOURCE,
    NotSoError,
    Shopper,
    api_client,
    console,
    errors,
    reader,
    wait_for,
)
from local.region import LocalRegion, stop_on_signals, stopwatch
from local_dsql.arguments import seconds, whole_number
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.postgres import EmbeddedPostgres

LOST, SURVIVOR = "us-east-1", "us-east-2"
#: Beyond a takeover's age: a lease that was just renewed, two looks for stranded messages, a slow machine.
_TAKEOVER_GRACE_S = 60.0
#: Messages that the lost Region is to leave behind.
_STRANDED = 3
#: Orders a shopper before the load counts, and seconds of load after the takeover.
_WARM_ORDERS = 2
_AFTERWARDS_S = 2.0
#: Orders that the returned Region is to place before the load ends.
_BACK_ORDERS = 5
#: A message whose consumer died with the Region is not handed out again before that: in the drill's last
#: moments less than as deployed, so that nobody waits three minutes for it.
_SHORT_VISIBILITY_S = 20
#: What came of the return: a consumer's claim, a message's visibility, functions that start, a slow machine.
_RETURN_TIMEOUT_S = 240.0
_CONSUMERS = ("NotifyFunction", "CleanCartFunction")
_LINE_EVERY_S = 2.0
_SECONDS_AROUND = (-3, 6)


@dataclass(frozen=True)
class DrillLoad:
    """How hard the drill is: shoppers in each Region, the load before the loss, units of the scarce item."""

    shoppers: int = 3
    load_s: float = 10.0
    takeover_s: float = 20.0
    scarce_units: int = 40


# --- What is shown ------------------------------------------------------------------------------------------


class Told(NamedTuple):
    """A line of the story: a heading, a check that held, or a note."""

    kind: str
    text: str


class Moment(NamedTuple):
    """Something that a plot marks, at seconds since the load began."""

    at_s: float
    what: str


class Shown(NamedTuple):
    """A table of the end, as it is shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class RegionFigures(NamedTuple):
    """A Region, up or lost: by the second, requests answered and messages in its outbox (None: unknown)."""

    name: str
    state: str
    answered: tuple[int, ...]
    backlog: tuple[int | None, ...]
    leases: int


class Figures(NamedTuple):
    """The drill so far."""

    orders: int
    requests: int
    sent_again: int
    found_done: int
    conflicts: int
    regions: tuple[RegionFigures, ...]
    moments: tuple[Moment, ...]
    story: tuple[Told, ...]
    tables: tuple[Shown, ...]


class Board:
    """All that a drill has to show, from the drill, its shoppers, and a look at the outbox each second."""

    def __init__(self) -> None:
        self.seen = Seen()
        self._states = dict.fromkeys((LOST, SURVIVOR), "up")
        self._backlog: dict[str, list[int | None]] = {}
        self._leases = Counter[str]()
        self._moments: list[Moment] = []
        self._story: list[Told] = []
        self._tables: list[Shown] = []
        self._looked_at_s = -1
        self._connection: psycopg.Connection[Any] | None = None

    def begin(self, regions: Sequence[str], server: EmbeddedPostgres, stack: ExitStack) -> None:
        """Look at the outbox from now on, each second, until the stack ends."""
        self._states = dict.fromkeys(regions, "up")
        self.seen.start_s = time.monotonic()
        connection = stack.enter_context(psycopg.connect(server.conninfo(), autocommit=True))
        stack.callback(self._look_no_more)
        self._connection = connection

    def _look_no_more(self) -> None:
        self._connection = None

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        self._story.append(Told("heading", text))

    def note(self, text: str) -> None:
        """Tell something."""
        self._story.append(Told("note", text))

    def expect(self, holds: bool, what: str) -> None:
        """Tell what holds, or raise NotSoError."""
        if not holds:
            raise NotSoError(what)
        self._story.append(Told("check", what))

    def mark(self, what: str, **states: str) -> None:
        """Mark a moment; the Regions named are up or lost from then on."""
        self._moments.append(Moment(time.monotonic() - self.seen.start_s, what))
        self._states |= states

    def table(self, shown: Shown) -> None:
        """Show a table."""
        self._tables.append(shown)

    def figures(self) -> Figures:
        """Give the figures of this moment."""
        self._look()
        seen = self.seen
        return Figures(
            len(seen.orders),
            len(seen.sent),
            seen.sent_again,
            seen.found_done,
            seen.conflicts,
            tuple(
                RegionFigures(
                    name,
                    state,
                    seen.answered(name) if self._backlog else (),
                    tuple(self._backlog.get(name, ())),
                    self._leases[name],
                )
                for name, state in self._states.items()
            ),
            tuple(self._moments),
            tuple(self._story),
            tuple(self._tables),
        )

    def _look(self) -> None:
        connection, second = self._connection, self.seen.second()
        if connection is None or second <= self._looked_at_s:
            return
        missed, self._looked_at_s = second - self._looked_at_s - 1, second
        waiting: dict[str, int | None] = {}
        with suppress(psycopg.Error):  # the last look may meet the end
            waiting = dict.fromkeys(self._states, 0)
            rows = connection.execute("select region, count(*) from xpoints.outbox group by 1").fetchall()
            waiting |= dict(rows)
            leases = connection.execute(
                "select region, count(*) from xpoints.relay_leases where expires_at > now() group by 1"
            ).fetchall()
            self._leases = Counter(dict(leases))
        for name in self._states:
            self._backlog.setdefault(name, []).extend([*[None] * missed, waiting.get(name)])


class View:
    """The drill on a terminal: each line of its story once, and how the load goes every two seconds."""

    def __init__(self) -> None:
        self._lines = self._tables = 0
        self._next_s = 0.0

    def __call__(self, snapshot: Snapshot[Figures]) -> None:
        """Print what is new."""
        figures = snapshot.figures
        for line in figures.story[self._lines :]:
            opened = {"heading": "\n[bold]", "check": "   [green]✓[/] ", "note": "   "}[line.kind]
            console.print(f"{opened}{line.text}{'[/]' if line.kind == 'heading' else ''}")
        self._lines = len(figures.story)
        for shown in figures.tables[self._tables :]:
            table = Table(*shown.columns, title=shown.title, title_justify="left")
            for row in shown.rows:
                table.add_row(*row)
            console.print(table)
        self._tables = len(figures.tables)
        is_loaded = snapshot.stage == "running" and not figures.tables
        if is_loaded and snapshot.says and snapshot.elapsed_s > self._next_s:
            self._next_s = snapshot.elapsed_s + _LINE_EVERY_S
            console.print(f"   {figures.orders:>5} orders   {snapshot.says}")


# --- The drill ----------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """When a Region was lost, by two clocks, since when it had been warm, and the messages that it left.

    `stranded` stood in its outbox; `with_queues` its bus had taken, and no consumer had done with them when
    the survivor had done all it could. `back` is when it answered again.
    """

    warm: datetime
    at: datetime
    at_s: float
    stranded: set[UUID]
    with_queues: set[UUID]
    back: datetime


class Drill:
    """Two running Regions, of which `lost`, a durable one, is going to be lost and to come back."""

    def __init__(
        self,
        lost: LocalRegion,
        survivor: LocalRegion,
        plan: DrillLoad,
        board: Board | None = None,
        at: Callable[[str], None] = lambda _says: None,
    ) -> None:
        self.board = board or Board()
        self._lost = lost
        self._survivor = survivor
        self._plan = plan
        self._at = at
        self._seen = self.board.seen
        self._database = reader(survivor, "rewards-drill")
        self._http = [api_client(lost), api_client(survivor)]

    def run(self) -> None:
        """Do all of it and show what comes out. Raises NotSoError."""
        board, plan = self.board, self._plan
        with ExitStack() as stack:
            for http in self._http:
                stack.callback(http.close)
            stack.callback(self._database.discard)
            recorder = stack.enter_context(OutboxRecorder(self._survivor.postgres))
            broken_before = self._broken()
            wares = furnish(self._survivor, plan.scarce_units)
            customers = admit((self._lost, self._survivor), 2 * plan.shoppers + 1)
            names = (self._lost.region_name, self._survivor.region_name)
            board.begin(names, self._survivor.postgres, stack)
            # Each Region's first run tells the others that it has users and pictures to delete.
            for region in (self._lost, self._survivor):
                region.run_scheduled("CleanRegionFunction")
            *shoppers, leaver = customers
            self._agree(shoppers[0], wares)
            loss = self._lose(shoppers, leaver, wares, recorder)
            self._add_up(list(customers.values()), leaver, wares, recorder, loss, broken_before)
            self._report(recorder.effects(), loss)

    def _apis(self, username: str) -> list[tuple[str, Shopper]]:
        regions = (self._lost, self._survivor)
        return [
            (region.region_name, Shopper(region, http, username))
            for region, http in zip(regions, self._http, strict=True)
        ]

    def _agree(self, username: str, wares: Wares) -> None:
        board = self.board
        board.heading("1. Two Regions, one shop")
        (here, one), (there, other) = self._apis(username)
        item = next(item for item in wares.points if item != wares.scarce)
        price = wares.points[item]
        one.send("PUT", f"/cart/items/{item}", json={"quantity": 2})
        lines = [(line["item_id"], line["quantity"]) for line in other.get("/cart")["lines"]]
        board.expect(
            lines == [(item, 2)], f"a line put into the cart in {here} is in the cart in {there} at once"
        )
        placed = one.order(2 * price, f"drill-{uuid4()}")
        board.expect(placed.status_code == 201, f"the order is placed in {here}")
        past = [order["order_id"] for order in other.get("/orders")["orders"]]
        board.expect(past == [placed.json()["order_id"]], f"and is among the past orders in {there} at once")
        self._seen.orders.add(past[0])
        other.send("PUT", f"/cart/items/{item}", json={"quantity": 1})
        RoamingCustomer(((here, one), (there, other)), 0, self._seen).order_everywhere(
            price, f"drill-{uuid4()}"
        )
        past = [order["order_id"] for order in one.get("/orders")["orders"]]
        board.expect(len(past) == 2, "one order, sent to both with one key at once, is placed once")

    def _lose(self, usernames: list[str], leaver: str, wares: Wares, recorder: OutboxRecorder) -> Loss:
        board, plan = self.board, self._plan
        lost, survivor = self._lost.region_name, self._survivor.region_name
        board.heading(f"2. {plan.shoppers} shoppers in each Region; {lost} is lost without warning")
        # One customer shops in both Regions, the others in one.
        homes = [(name, 0) for name in usernames[: plan.shoppers]]
        homes += [(name, 1) for name in (usernames[0], *usernames[plan.shoppers + 1 :])]
        customers = [RoamingCustomer(self._apis(name), home, self._seen) for name, home in homes]
        _, leaver_there = self._apis(leaver)[1]
        stop = threading.Event()
        with ThreadPoolExecutor(len(customers)) as pool:
            shopping = [pool.submit(customer.shop, wares, stop) for customer in customers]
            try:
                # It is not the start of processes that is to be measured.
                everyone = len(self._seen.orders) + _WARM_ORDERS * len(customers)
                self._keep_on(
                    shopping,
                    lambda: (
                        len(self._seen.orders) >= everyone
                        and {effect.region for effect in recorder.effects()} == {lost, survivor}
                    ),
                    lambda: "functions start",
                )
                warm = datetime.now(UTC)
                self._keep_on(shopping, _after(plan.load_s), lambda: "both Regions answer")
                visibility = self._shorten_visibility()
                shortened = datetime.now(UTC)
                # What was handed out before would be hidden for longer than the drill lasts.
                self._keep_on(
                    shopping,
                    lambda: not recorder.without_effect(before=shortened),
                    lambda: "what was ordered so far has its effects",
                    _RETURN_TIMEOUT_S,
                )
                # Its consumers hang, a moment before the rest goes: its queues keep what comes now.
                self._keep_on(
                    shopping,
                    lambda: self._freeze(*_CONSUMERS) and self._held(dead_letters=False) >= _STRANDED,
                    lambda: f"the consumers of {lost} hang",
                    _RETURN_TIMEOUT_S,
                )
                # Then its relay: what is ordered now is told to nobody.
                self._freeze("RelayFunction")
                leases = recorder.live_leases(lost)
                self._keep_on(
                    shopping,
                    lambda: (
                        self._freeze(*_CONSUMERS, "RelayFunction")
                        and len(recorder.waiting(lost)) >= _STRANDED
                    ),
                    lambda: f"the relay of {lost} hangs",
                )
                mails = self._lost.emails()
                at, at_s = datetime.now(UTC), time.monotonic()
                board.mark(f"{lost} is lost", **{lost: "lost"})
                self._lost.lose()
                stranded = recorder.waiting(lost)
                board.note(f"{lost} is gone. Its relay's leases on {leases} shards are left behind.")
                gone = leaver_there.send("DELETE", "/account")
                board.expect(gone.status_code == 202, f"a customer has their account erased in {survivor}")

                def taken_over() -> bool:
                    # What was on its way to the database when its sender died is committed after that.
                    waiting = recorder.waiting(lost)
                    stranded.update(waiting)
                    if time.monotonic() - at_s > plan.takeover_s + _TAKEOVER_GRACE_S:
                        raise NotSoError(f"{len(waiting)} messages of {lost} were never taken over")
                    return not waiting

                self._keep_on(
                    shopping, taken_over, lambda: f"{len(stranded)} messages of {lost} are stranded"
                )
                taken_over_s = time.monotonic() - at_s
                board.mark(f"{survivor} has published what {lost} left in its outbox")
                self._keep_on(shopping, _after(_AFTERWARDS_S), lambda: "all messages are published")
                board.expect(
                    leases > 0 and len(stranded) >= _STRANDED,
                    f"{len(stranded)} messages were stranded in its outbox",
                )
                board.expect(True, f"{survivor} had published all of them {taken_over_s:.1f} s later")
                # The lost Region's bus had taken these: its queues keep them until it is back.
                accepted = recorder.written(lost) - stranded
                self._keep_on(
                    shopping,
                    lambda: recorder.without_effect(before=at) <= accepted,
                    lambda: f"{survivor} does all that it knows of",
                    timeout_s=_RETURN_TIMEOUT_S,
                )
                with_queues = recorder.without_effect(before=at)
                back = self._return(customers, shopping, recorder, stranded, with_queues, visibility, mails)
            finally:
                stop.set()
        for customer in shopping:
            customer.result()
        return Loss(warm, at, at_s, stranded, with_queues, back)

    def _return(
        self,
        customers: list[RoamingCustomer],
        shopping: list[Future[None]],
        recorder: OutboxRecorder,
        stranded: set[UUID],
        with_queues: set[UUID],
        visibility: dict[str, str],
        mails: list[dict[str, Any]],
    ) -> datetime:
        board, lost = self.board, self._lost.region_name
        board.heading(f"3. {lost} comes back under load")
        self._at(f"{lost} starts")
        self._lost.come_back()
        back = datetime.now(UTC)
        board.mark(f"{lost} is back", **{lost: "up"})
        board.note(
            f"{len(with_queues)} events were in its queues and had no effect yet. The {len(stranded)} that "
            "the survivor has published\n   are published here as well, as by a relay that was stopped "
            "between publishing and deleting."
        )
        self._publish_again(recorder, stranded)
        before = self._seen.placed_in[lost]

        def are_home() -> bool:
            # Again and again: functions start while everybody orders, and one may give no answer in time.
            for customer in customers:
                customer.go_home()
            return self._seen.placed_in[lost] - before >= _BACK_ORDERS

        self._keep_on(
            shopping,
            are_home,
            lambda: f"the shoppers of {lost} go home",
            timeout_s=_RETURN_TIMEOUT_S,
        )
        board.expect(True, f"{_BACK_ORDERS} orders and more are placed in {lost} again")
        self._keep_on(
            shopping,
            lambda: any(effect.region == lost and effect.occurred_at > back for effect in recorder.effects()),
            lambda: f"the relay of {lost} takes its shards again",
            timeout_s=_RETURN_TIMEOUT_S,
        )
        board.expect(True, f"its own relay publishes them: {recorder.live_leases(lost)} shards are leased")
        self._keep_on(
            shopping,
            lambda: not with_queues & recorder.without_effect(),
            lambda: f"{lost} consumes what its queues have kept",
            timeout_s=_RETURN_TIMEOUT_S,
        )
        # Not before: a consumer that was killed while it sent has left a claim, and its event is to come
        # again soon after that has run out.
        for queue, seconds_ in visibility.items():
            self._lost.client("sqs").set_queue_attributes(
                QueueUrl=queue, Attributes={"VisibilityTimeout": seconds_}
            )
        board.expect(True, f"the {len(with_queues)} events that its queues had kept have had their effect")
        self._mails_before = {mail["MessageId"]: mail for mail in mails}
        self._at("")
        return back

    def _publish_again(self, recorder: OutboxRecorder, ids: set[UUID]) -> None:
        """Put messages on the lost Region's bus, which the survivor has put on its own."""
        bus = self._lost.outputs["EventBusName"]
        messages = recorder.messages(ids)
        for first in range(0, len(messages), 10):
            entries = [
                {"EventBusName": bus, "Source": SOURCE, "DetailType": kind, "Detail": detail}
                for kind, detail in messages[first : first + 10]
            ]
            answer = self._lost.client("events").put_events(Entries=entries)
            if answer["FailedEntryCount"]:
                raise NotSoError(f"the bus of {self._lost.region_name} does not take events: {answer}")

    def _queues(self, dead_letters: bool) -> list[str]:
        """Give the lost Region's queues that consumers read, or their dead-letter queues."""
        return [
            url
            for name, url in self._lost.resources.items()
            if url.startswith("http")
            and name.endswith("Queue")
            and name.endswith("DeadLetterQueue") == dead_letters
        ]

    def _shorten_visibility(self) -> dict[str, str]:
        """Have messages that are handed out from now on come again soon; give what was set, by queue."""
        sqs, before = self._lost.client("sqs"), {}
        for queue in self._queues(dead_letters=False):
            found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])
            before[queue] = found["Attributes"]["VisibilityTimeout"]
            sqs.set_queue_attributes(
                QueueUrl=queue, Attributes={"VisibilityTimeout": str(_SHORT_VISIBILITY_S)}
            )
        return before

    def _held(self, dead_letters: bool) -> int:
        """Count the messages in the lost Region's queues, those in flight too."""
        sqs = self._lost.client("sqs")
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            int(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"][name])
            for queue in self._queues(dead_letters)
            for name in names
        )

    def _freeze(self, *functions: str) -> bool:
        for function in functions:
            for process in self._lost.function_processes(function):
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
        return True

    def _keep_on(
        self,
        shopping: list[Future[None]],
        done: Callable[[], bool],
        where: Callable[[], str],
        timeout_s: float = float("inf"),
    ) -> None:
        """Let the shoppers shop and say how it goes, until `done`; their failure is ours."""
        end = time.monotonic() + timeout_s
        while not done():
            self._at(where())
            time.sleep(0.05)
            for customer in shopping:
                if customer.done():
                    customer.result()
            if time.monotonic() > end:
                raise NotSoError(f"after {timeout_s:.0f} s it still was so: {where()}")

    def _add_up(
        self,
        customer_ids: list[UUID],
        leaver: str,
        wares: Wares,
        recorder: OutboxRecorder,
        loss: Loss,
        broken_before: dict[str, set[Breach]],
    ) -> None:
        board = self.board
        board.heading("4. Everything comes to rest, and adds up")
        lost = self._lost.region_name
        wait_for(
            "the rest",
            lambda: (
                not recorder.without_effect()
                and not self._new_breaches(broken_before)
                and not self._held(dead_letters=False)
            ),
            _RETURN_TIMEOUT_S,
        )
        broken = self._new_breaches(broken_before)
        for name in ALWAYS + AT_REST:
            board.expect(name not in broken, f"no {name.replace('_', ' ')}")
        board.expect(
            self._held(dead_letters=True) == 0, f"the queues and dead-letter queues of {lost} are empty"
        )
        placed = {
            str(order_id)
            for (order_id,) in recorder.rows(
                "select id from xpoints.orders where customer_id = any(%s)", [customer_ids]
            )
        }
        board.expect(
            placed == self._seen.orders, f"{len(placed)} orders, each known to the client who placed it"
        )
        effects = Counter(effect.message_id for effect in recorder.effects())
        board.expect(
            len(effects) == len(placed) and set(effects.values()) == {2},
            f"{len(placed)} events, with one effect in each of the two consumers",
        )
        ((sold, left, least),) = recorder.rows(
            "select (select coalesce(sum(unit_cnt), 0) from xpoints.order_items where cat_item_id = %s), "
            "sum(available), min(available) from xpoints.stock where item_id = %s",
            [wares.scarce, wares.scarce],
        )
        units = 4 * (self._plan.scarce_units // 4)
        board.expect(
            sold + left == units and least >= 0,
            f"of {units} units of the scarce item {sold} are sold and {left} left",
        )
        self._count_mails(placed, recorder, loss)
        self._clean_up(leaver)

    def _count_mails(self, placed: set[str], recorder: OutboxRecorder, loss: Loss) -> None:
        """Count e-mails in both Regions: who was sending one when the Region was lost may send it again."""
        board = self.board
        there = {mail["MessageId"]: mail for mail in self._lost.emails()} | self._mails_before
        by_order = Counter(
            order_id
            for mail in [*self._survivor.emails(), *there.values()]
            for order_id in placed
            if order_id in mail["BodyText"]
        )
        under_way = {
            json.loads(detail)["data"]["order_id"] for _, detail in recorder.messages(loss.with_queues)
        }
        twice = {order_id for order_id, number in by_order.items() if number > 1}
        board.expect(
            by_order.keys() == recorder.confirmed() and twice <= under_way,
            f"{len(by_order)} orders were confirmed by e-mail, which is bounded for each customer, "
            + (f"{len(twice)} of them twice, being sent at the loss" if twice else "none of them twice"),
        )

    def _clean_up(self, leaver: str) -> None:
        """Have what the erasure left to each Region done, the lost one included."""
        board, lost = self.board, self._lost.region_name
        pools = [(region.client("cognito-idp"), region.outputs["UserPoolId"]) for region in self._regions()]

        def is_gone(pool: tuple[Any, str]) -> bool:
            users = pool[0].list_users(UserPoolId=pool[1], Filter=f'username = "{leaver}"')["Users"]
            return not users

        for region in self._regions():
            region.run_scheduled("CleanRegionFunction")
        wait_for("the cleanup in both Regions", lambda: all(map(is_gone, pools)), _RETURN_TIMEOUT_S)
        board.expect(True, f"who was erased while {lost} was away can sign in nowhere any more")

    def _regions(self) -> tuple[LocalRegion, LocalRegion]:
        return self._lost, self._survivor

    def _broken(self) -> dict[str, set[Breach]]:
        return {name: set(found) for name, found in breaches(self._database, ALWAYS + AT_REST).items()}

    def _new_breaches(self, before: dict[str, set[Breach]]) -> set[str]:
        return {name for name, found in self._broken().items() if found - before.get(name, set())}

    def _report(self, effects: list[Happened], loss: Loss) -> None:
        board, seen = self.board, self._seen
        board.heading("5. What it was like")
        answered = sum(one.answered for one in seen.sent)
        board.note(
            f"{len(seen.sent)} requests, {answered} answered at once; {seen.sent_again} were sent "
            f"again to the other Region\n   and answered there, {seen.found_done} of them with the order "
            f"that the lost answer was about; 0 were given up.\n   Orders: {dict(seen.outcomes)}; "
            f"{seen.conflicts} transactions ran again after a conflict."
        )
        first, last = _SECONDS_AROUND
        rows = []
        for second in range(first, last):
            sent = [one.answered for one in seen.sent if second <= one.at_s - loss.at_s < second + 1]
            share = f"{100 * sum(sent) / len(sent):.0f} %" if sent else "-"
            rows.append((f"{second:+d}", str(len(sent)), str(sum(sent)), share))
        board.table(Shown("around the loss", ("second", "sent", "answered", "availability"), tuple(rows)))
        left = loss.stranded | loss.with_queues
        in_time = [effect for effect in effects if effect.message_id not in left]
        groups = {
            "before the loss, both Regions": [e for e in in_time if loss.warm <= e.occurred_at < loss.at],
            "without it, the survivor": [e for e in in_time if loss.at <= e.occurred_at < loss.back],
            "with it again, both Regions": [e for e in in_time if loss.back <= e.occurred_at],
            "stranded and taken over": [e for e in effects if e.message_id in loss.stranded],
            "in its queues until it was back": [e for e in effects if e.message_id in loss.with_queues],
        }
        board.table(
            Shown(
                "from the order to an effect",
                ("events", "effects", "p50 ms", "p99 ms"),
                tuple(
                    (name, str(len(group)), *(f"{lag:,.0f}" for lag in _p50_p99(group)))
                    for name, group in groups.items()
                ),
            )
        )


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _p50_p99(effects: Sequence[Happened]) -> tuple[float, float]:
    lags = sorted(effect.lag_ms for effect in effects) or [0.0]
    return statistics.median(lags), lags[min(len(lags) - 1, int(len(lags) * 0.99))]


def _of(region_name: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda step: say(f"{region_name}: {step}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drill; 0 if everything was as it must be."""
    parser = argparse.ArgumentParser(
        prog="python -m demos.regions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = DrillLoad()
    parser.add_argument(
        "--shoppers",
        type=whole_number(1, 64),
        default=usual.shoppers,
        help="in each Region (%(default)s)",
    )
    parser.add_argument(
        "--load-s",
        type=seconds,
        default=usual.load_s,
        help="seconds of load before the loss (%(default)s)",
    )
    parser.add_argument(
        "--takeover-s",
        type=seconds,
        default=usual.takeover_s,
        help="age at which another Region's message is taken over (%(default)s; as deployed otherwise, 60)",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    plan = DrillLoad(options.shoppers, options.load_s, options.takeover_s)
    stop_on_signals()
    say = stopwatch()
    board = Board()
    try:
        with ExitStack() as stack:
            live = stack.enter_context(Live("regions", board.figures, View(), port=options.live))
            if live.url:
                console.print(f"The two Regions in a browser: {live.url}")

            def step(text: str) -> None:
                live.at(text)
                say(text)

            # One after the other, as they are deployed: the second finds the schema migrated.
            takeover = {"RelayTakeoverS": f"{plan.takeover_s:g}"}
            lost = stack.enter_context(
                LocalRegion(LOST, durable=True, parameters=takeover, say=_of(LOST, step))
            )
            survivor = stack.enter_context(
                LocalRegion(SURVIVOR, lost.database, parameters=takeover, say=_of(SURVIVOR, step))
            )
            step("both Regions are up")
            live.wait_for_a_browser(options.live_wait_s, console.print)
            try:
                Drill(lost, survivor, plan, board, lambda says: live.at(says, running=True)).run()
            except NotSoError:
                console.print("\n".join(errors(lost) + errors(survivor)), markup=False)
                raise
            live.at("Everything was as it must be.")
            say("stopping")
        console.print("\n[bold green]Everything was as it must be.[/] See docs/regions.md.")
        say("nothing is left running")
    except (NotSoError, StartError) as error:
        console.print(f"\n[bold red]Not as it must be:[/] {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; nothing is left running")
        return 130
    return 0


if __name__ == "__main__":
    run_command(main)
