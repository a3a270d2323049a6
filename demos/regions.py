"""Two Regions on one database, and the loss of one of them: `python -m demos.regions`, or `make regions`.

Both are deployed from template.yaml onto an emulator of their own. Shoppers order in both until one is killed
without warning; the other carries on, and takes over what the lost one had not told anybody yet. The exit
code is not 0 if anything was not as it must be.
"""

import argparse
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg
from rich.table import Table

from demos.outbox_recorder import Happened, OutboxRecorder
from demos.shoppers import (
    NotSoError,
    Shopper,
    api_client,
    console,
    errors,
    expect,
    heading,
    reader,
    wait_for,
)
from local.region import LocalRegion, stop_on_signals, stopwatch
from local_dsql.cluster import LocalDsql
from local_dsql.console import run_command
from local_dsql.guard import StartError
from local_dsql.postgres import EmbeddedPostgres
from sql.invariants import ALWAYS, AT_REST, Breach, breaches
from tools.arguments import seconds, whole_number

LOST, SURVIVOR = "us-east-1", "us-east-2"
#: Beyond a takeover's age: a lease that was just renewed, two looks for stranded messages, a slow machine.
_TAKEOVER_GRACE_S = 60.0
#: Messages that the lost Region is to leave behind.
_STRANDED = 3
#: Orders a shopper before the load counts, and seconds of load after the takeover.
_WARM_ORDERS = 2
_AFTERWARDS_S = 2.0
#: Sendings of one request, to one Region or the other, until its client gives up.
_SENDINGS = 8
#: Every so many orders of a shopper are sent to both Regions at once.
_DUPLICATE_EVERY = 5
_LINE_EVERY_S = 2.0
_SECONDS_AROUND = (-3, 6)


@dataclass(frozen=True)
class DrillLoad:
    """How hard the drill is: shoppers in each Region, the load before the loss, units of the scarce item."""

    shoppers: int = 3
    load_s: float = 10.0
    takeover_s: float = 20.0
    scarce_units: int = 40


# --- Who and what there is to buy ---------------------------------------------------------------------------


class Wares(NamedTuple):
    """Items of the drill: price in points by id, and the one of limited stock."""

    points: dict[str, int]
    scarce: str


def _furnish(server: LocalDsql | EmbeddedPostgres, plan: DrillLoad) -> Wares:
    """Put items on the shelf: two of unlimited stock and one of `scarce_units`, spread over four slots."""
    points = {str(uuid4()): price for price in (10, 20, 30)}
    scarce = next(iter(points))
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        for item_id, price in points.items():
            connection.execute(
                "insert into xpoints.catalog_items (id, name, category, points_price) "
                "values (%s, %s, 'Drill', %s)",
                (item_id, f"Drill item of {price}", price),
            )
        for slot in range(4):
            connection.execute(
                "insert into xpoints.stock (item_id, slot, available) values (%s, %s, %s)",
                (scarce, slot, plan.scarce_units // 4),
            )
    return Wares(points, scarce)


def _admit(
    server: LocalDsql | EmbeddedPostgres, regions: Sequence[LocalRegion], customers: int
) -> dict[str, UUID]:
    """Make customers with points to spend, and users of them in every Region; give their ids by username."""
    admitted = {f"drill_{uuid4().hex[:12]}": uuid4() for _ in range(customers)}
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        for username, customer_id in admitted.items():
            connection.execute(
                "insert into xpoints.customers (id, username, first_name, email) values (%s, %s, 'Ana', %s)",
                (customer_id, username, f"{username}@example.com"),
            )
            connection.execute("insert into xpoints.points_balances values (%s, 1000000)", (customer_id,))
            connection.execute(
                "insert into xpoints.transactions (customer_id, tx_type, points, balance_after) "
                "values (%s, 'OPENING', 1000000, 1000000)",
                (customer_id,),
            )
    for region in regions:
        region.enrol(
            [
                {"username": name, "email": f"{name}@example.com", "customer_id": str(customer_id)}
                for name, customer_id in admitted.items()
            ]
        )
    return admitted


# --- The load -----------------------------------------------------------------------------------------------


class Sent(NamedTuple):
    """A request to one Region, and whether that answered."""

    at_s: float
    region: str
    answered: bool


@dataclass
class Figures:
    """What the shoppers saw, together."""

    sent: list[Sent] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    orders: set[str] = field(default_factory=set)
    sent_again: int = 0
    found_done: int = 0
    conflicts: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note_request(self, sent: Sent) -> None:
        """Note one sending."""
        with self.lock:
            self.sent.append(sent)
            self.sent_again += not sent.answered

    def note_order(self, answer: httpx.Response, sendings: int) -> None:
        """Note what became of one order."""
        with self.lock:
            if answer.status_code != 201:
                self.outcomes[str(answer.json()["type"]).rpartition(":")[2]] += 1
                return
            replayed = answer.headers["Idempotency-Replayed"] == "true"
            self.outcomes["replayed" if replayed else "placed"] += 1
            self.orders.add(answer.json()["order_id"])
            self.conflicts += int(answer.headers["Rewards-Attempts"]) - 1
            self.found_done += replayed and sendings > 1


class RoamingCustomer:
    """A customer at the APIs of all Regions, who goes to the next one when one does not answer."""

    def __init__(self, apis: Sequence[tuple[str, Shopper]], home: int, figures: Figures) -> None:
        self._apis = apis
        self._home = home
        self._closed: set[int] = set()
        self._figures = figures

    def ask(self, method: str, path: str, api: int | None = None, **request: Any) -> httpx.Response:
        """Send a request until some Region answers it. Raises NotSoError when none does."""
        return self._ask(method, path, api, **request)[0]

    def _ask(
        self, method: str, path: str, api: int | None = None, **request: Any
    ) -> tuple[httpx.Response, int]:
        at = self._home if api is None else api
        for sending in range(1, _SENDINGS + 1):
            name, shopper = self._apis[at]
            sent_at = time.monotonic()
            answer = None
            with suppress(httpx.TransportError):
                answer = shopper.send_once(method, path, **request)
            if answer is not None and answer.status_code < 500:
                self._figures.note_request(Sent(sent_at, name, answered=True))
                return answer, sending
            self._figures.note_request(Sent(sent_at, name, answered=False))
            other = (at + 1) % len(self._apis)
            if answer is None and other not in self._closed:
                self._closed.add(at)
                self._home = other
            at = other
        raise NotSoError(f"{method} {path} was answered by no Region, sent {_SENDINGS} times")

    def order(self, total_points: int, key: str, api: int | None = None) -> httpx.Response:
        """Order the cart."""
        answer, sendings = self._ask(
            "POST",
            "/orders",
            api,
            json={"expected_total_points": total_points},
            headers={"Idempotency-Key": key},
        )
        self._figures.note_order(answer, sendings)
        return answer

    def order_everywhere(self, total_points: int, key: str) -> None:
        """Send one order to all Regions at once. Raises NotSoError if it happened twice."""
        apis = [api for api in range(len(self._apis)) if api not in self._closed]
        with ThreadPoolExecutor(len(apis)) as pool:
            answers = list(pool.map(lambda api: self.order(total_points, key, api), apis))
        placed = [answer for answer in answers if answer.status_code == 201]
        made = [answer for answer in placed if answer.headers["Idempotency-Replayed"] == "false"]
        if len({answer.text for answer in placed}) > 1 or len(made) > 1:
            raise NotSoError(f"one order was placed twice: {[answer.text for answer in answers]}")

    def shop(self, wares: Wares, stop: threading.Event) -> None:
        """Put something into the cart and order it, again and again."""
        offered = list(wares.points)
        for number in count(1):
            if stop.is_set():
                return
            item, quantity = random.choice(offered), random.randint(1, 3)
            self.ask("PUT", f"/cart/items/{item}", json={"quantity": quantity})
            total, key = wares.points[item] * quantity, f"drill-{uuid4()}"
            if number % _DUPLICATE_EVERY == 0:
                self.order_everywhere(total, key)
                continue
            answer = self.order(total, key)
            if answer.status_code == 201:
                continue
            # Sold out, or another Region's shopper is at the same cart: begin with an empty one.
            self.ask("DELETE", "/cart")
            if answer.json()["type"].endswith(":out-of-stock"):
                offered = [one for one in offered if one != wares.scarce]


# --- The drill ----------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """When a Region was lost, by two clocks, since when it had been warm, and the messages that it left.

    `stranded` stood in its outbox; `with_queues` its bus had taken, and no consumer had done with them.
    """

    warm: datetime
    at: datetime
    at_s: float
    stranded: set[UUID]
    with_queues: set[UUID]


class Drill:
    """Two running Regions, of which `lost` will not survive."""

    def __init__(self, lost: LocalRegion, survivor: LocalRegion, plan: DrillLoad) -> None:
        self.figures = Figures()
        self._lost = lost
        self._survivor = survivor
        self._plan = plan
        self._server = survivor.database
        self._next_line = 0.0
        self._database = reader(survivor, "rewards-drill")
        self._http = [api_client(lost), api_client(survivor)]

    def run(self) -> None:
        """Do all of it and print what comes out. Raises NotSoError."""
        with ExitStack() as stack:
            for http in self._http:
                stack.callback(http.close)
            stack.callback(self._database.discard)
            recorder = stack.enter_context(OutboxRecorder(self._survivor.postgres))
            broken_before = self._broken()
            wares = _furnish(self._server, self._plan)
            customers = _admit(self._server, (self._lost, self._survivor), 2 * self._plan.shoppers)
            self._agree(next(iter(customers)), wares)
            loss = self._lose(list(customers), wares, recorder)
            self._add_up(list(customers.values()), wares, recorder, loss, broken_before)
            self._report(recorder.effects(), loss)

    def _apis(self, username: str) -> list[tuple[str, Shopper]]:
        regions = (self._lost, self._survivor)
        return [
            (region.region_name, Shopper(region, http, username))
            for region, http in zip(regions, self._http, strict=True)
        ]

    def _agree(self, username: str, wares: Wares) -> None:
        heading("1. Two Regions, one shop")
        (here, one), (there, other) = self._apis(username)
        item = next(item for item in wares.points if item != wares.scarce)
        price = wares.points[item]
        one.send("PUT", f"/cart/items/{item}", json={"quantity": 2})
        lines = [(line["item_id"], line["quantity"]) for line in other.get("/cart")["lines"]]
        expect(lines == [(item, 2)], f"a line put into the cart in {here} is in the cart in {there} at once")
        placed = one.order(2 * price, f"drill-{uuid4()}")
        expect(placed.status_code == 201, f"the order is placed in {here}")
        past = [order["order_id"] for order in other.get("/orders")["orders"]]
        expect(past == [placed.json()["order_id"]], f"and is among the past orders in {there} at once")
        self.figures.orders.add(past[0])
        other.send("PUT", f"/cart/items/{item}", json={"quantity": 1})
        RoamingCustomer(((here, one), (there, other)), 0, self.figures).order_everywhere(
            price, f"drill-{uuid4()}"
        )
        past = [order["order_id"] for order in one.get("/orders")["orders"]]
        expect(len(past) == 2, "one order, sent to both with one key at once, is placed once")

    def _lose(self, usernames: list[str], wares: Wares, recorder: OutboxRecorder) -> Loss:
        plan, lost, survivor = self._plan, self._lost.region_name, self._survivor.region_name
        heading(f"2. {plan.shoppers} shoppers in each Region; {lost} is lost without warning")
        # One customer shops in both Regions, the others in one.
        homes = [(name, 0) for name in usernames[: plan.shoppers]]
        homes += [(name, 1) for name in (usernames[0], *usernames[plan.shoppers + 1 :])]
        customers = [RoamingCustomer(self._apis(name), home, self.figures) for name, home in homes]
        stop = threading.Event()
        with ThreadPoolExecutor(len(customers)) as pool:
            shopping = [pool.submit(customer.shop, wares, stop) for customer in customers]
            try:
                # It is not the start of processes that is to be measured.
                everyone = len(self.figures.orders) + _WARM_ORDERS * len(customers)
                self._keep_on(
                    shopping,
                    lambda: (
                        len(self.figures.orders) >= everyone
                        and {effect.region for effect in recorder.effects()} == {lost, survivor}
                    ),
                    lambda: "functions start",
                )
                warm = datetime.now(UTC)
                self._keep_on(shopping, _after(plan.load_s), lambda: "both Regions answer")
                # A relay that hangs, a moment before the rest goes: what is ordered now is told to nobody.
                self._keep_on(
                    shopping,
                    lambda: self._freeze_relay() and len(recorder.waiting(lost)) >= _STRANDED,
                    lambda: f"the relay of {lost} hangs",
                )
                self._lost.kill()
                at, at_s = datetime.now(UTC), time.monotonic()
                stranded, leases = recorder.waiting(lost), recorder.live_leases(lost)
                console.print(f"   {lost} is gone. Its relay's leases on {leases} shards are left behind.")

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
                self._keep_on(shopping, _after(_AFTERWARDS_S), lambda: "all messages are published")
            finally:
                stop.set()
        for customer in shopping:
            customer.result()
        expect(
            leases > 0 and len(stranded) >= _STRANDED, f"{len(stranded)} messages were stranded in its outbox"
        )
        expect(True, f"{survivor} had published all of them {taken_over_s:.1f} s later")
        return Loss(warm, at, at_s, stranded, self._lost_with_queues(recorder, stranded))

    def _freeze_relay(self) -> bool:
        for process in self._lost.function_processes("RelayFunction"):
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        return True

    def _keep_on(
        self, shopping: list[Future[None]], done: Callable[[], bool], where: Callable[[], str]
    ) -> None:
        """Let the shoppers shop and say how it goes, until `done`; their failure is ours."""
        while not done():
            time.sleep(0.05)
            for customer in shopping:
                if customer.done():
                    customer.result()
            if time.monotonic() > self._next_line:
                self._next_line = time.monotonic() + _LINE_EVERY_S
                console.print(f"   {len(self.figures.orders):>5} orders   {where()}")

    def _lost_with_queues(self, recorder: OutboxRecorder, stranded: set[UUID]) -> set[UUID]:
        """Wait until the survivor has done all it can; give the messages that it knows nothing of."""
        # The lost Region's bus had taken these: on AWS its queues would keep them until it is back.
        accepted = recorder.written(self._lost.region_name) - stranded
        wait_for(
            "the follow-up of everything that the survivor knows of",
            lambda: (
                not recorder.waiting(self._survivor.region_name) and recorder.without_effect() <= accepted
            ),
        )
        return recorder.without_effect()

    def _add_up(
        self,
        customer_ids: list[UUID],
        wares: Wares,
        recorder: OutboxRecorder,
        loss: Loss,
        broken_before: dict[str, set[Breach]],
    ) -> None:
        heading("3. Everything comes to rest, and adds up")
        survivor, lost = self._survivor.region_name, self._lost.region_name
        console.print(
            f"   {len(loss.with_queues)} events had left {lost}'s outbox and were in its queues. On AWS the "
            "queues outlive an outage;\n   the emulator's died with it, so that many messages are put into "
            f"{survivor}'s outbox, under their own ids."
        )
        recorder.put_back(loss.with_queues, survivor)
        wait_for("the rest", lambda: not recorder.without_effect() and not self._new_breaches(broken_before))
        broken = self._new_breaches(broken_before)
        for name in ALWAYS + AT_REST:
            expect(name not in broken, f"no {name.replace('_', ' ')}")
        placed = {
            str(order_id)
            for (order_id,) in recorder.rows(
                "select id from xpoints.orders where customer_id = any(%s)", [customer_ids]
            )
        }
        expect(placed == self.figures.orders, f"{len(placed)} orders, each known to the client who placed it")
        effects = Counter(effect.message_id for effect in recorder.effects())
        expect(
            len(effects) == len(placed) and set(effects.values()) == {2},
            f"{len(placed)} events, with one effect in each of the two consumers",
        )
        ((sold, left, least),) = recorder.rows(
            "select (select coalesce(sum(unit_cnt), 0) from xpoints.order_items where cat_item_id = %s), "
            "sum(available), min(available) from xpoints.stock where item_id = %s",
            [wares.scarce, wares.scarce],
        )
        units = 4 * (self._plan.scarce_units // 4)
        expect(
            sold + left == units and least >= 0,
            f"of {units} units of the scarce item {sold} are sold and {left} left",
        )
        mails = Counter(
            order_id
            for mail in self._survivor.emails()
            for order_id in placed
            if order_id in mail["BodyText"]
        )
        expect(set(mails.values()) <= {1}, f"{mails.total()} e-mails from {survivor}, none of them twice")

    def _broken(self) -> dict[str, set[Breach]]:
        return {name: set(found) for name, found in breaches(self._database, ALWAYS + AT_REST).items()}

    def _new_breaches(self, before: dict[str, set[Breach]]) -> set[str]:
        return {name for name, found in self._broken().items() if found - before.get(name, set())}

    def _report(self, effects: list[Happened], loss: Loss) -> None:
        heading("4. What it was like")
        first, last = _SECONDS_AROUND
        table = Table(
            "second", "sent", "answered", "availability", title="around the loss", title_justify="left"
        )
        for second in range(first, last):
            sent = [one.answered for one in self.figures.sent if second <= one.at_s - loss.at_s < second + 1]
            share = f"{100 * sum(sent) / len(sent):.0f} %" if sent else "-"
            table.add_row(f"{second:+d}", str(len(sent)), str(sum(sent)), share)
        console.print(table)
        figures = self.figures
        answered = sum(one.answered for one in figures.sent)
        console.print(
            f"   {len(figures.sent)} requests, {answered} answered at once; {figures.sent_again} were sent "
            f"again to the other Region\n   and answered there, {figures.found_done} of them with the order "
            f"that the lost answer was about; 0 were given up.\n   Orders: {dict(figures.outcomes)}; "
            f"{figures.conflicts} transactions ran again after a conflict."
        )
        in_time = [effect for effect in effects if effect.message_id not in loss.stranded | loss.with_queues]
        groups = {
            "before the loss, both Regions": [e for e in in_time if loss.warm <= e.occurred_at < loss.at],
            "after it, the survivor": [e for e in in_time if e.occurred_at >= loss.at],
            "stranded and taken over": [e for e in effects if e.message_id in loss.stranded],
        }
        lags = Table("events", "effects", "p50 ms", "p99 ms", title="from the order to an effect")
        for name, group in groups.items():
            lags.add_row(name, str(len(group)), *(f"{lag:,.0f}" for lag in _p50_p99(group)))
        console.print(lags)


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
    parser = argparse.ArgumentParser(prog="python -m demos.regions", description=__doc__)
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
    options = parser.parse_args(arguments)
    plan = DrillLoad(options.shoppers, options.load_s, options.takeover_s)
    stop_on_signals()
    say = stopwatch()
    try:
        with ExitStack() as stack:
            # One after the other, as they are deployed: the second finds the schema migrated.
            takeover = {"RelayTakeoverS": f"{plan.takeover_s:g}"}
            lost = stack.enter_context(LocalRegion(LOST, parameters=takeover, say=_of(LOST, say)))
            survivor = stack.enter_context(
                LocalRegion(SURVIVOR, lost.database, parameters=takeover, say=_of(SURVIVOR, say))
            )
            say("both Regions are up")
            try:
                Drill(lost, survivor, plan).run()
            except NotSoError:
                console.print("\n".join(errors(lost) + errors(survivor)), markup=False)
                raise
            console.print("\n[bold green]Everything was as it must be.[/] See docs/regions.md.")
            say("stopping")
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
