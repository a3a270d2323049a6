"""Shoppers of two Regions, who go to the other one when theirs does not answer, and what they saw."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import psycopg

from demos.shoppers import NotSoError, Shopper
from local.region import LocalRegion

#: Sendings of one request, to one Region or the other, until its client gives up.
_SENDINGS = 8
#: Every so many orders of a shopper are sent to both Regions at once.
_DUPLICATE_EVERY = 5


class Wares(NamedTuple):
    """Items of the drill: price in points by id, and the one of limited stock."""

    points: dict[str, int]
    scarce: str


def furnish(region: LocalRegion, scarce_units: int) -> Wares:
    """Put items on the shelf: two of unlimited stock and one of `scarce_units`, spread over four slots."""
    points = {str(uuid4()): price for price in (10, 20, 30)}
    scarce = next(iter(points))
    with psycopg.connect(region.conninfo(), autocommit=True) as connection:
        for item_id, price in points.items():
            connection.execute(
                "insert into xpoints.catalog_items (id, name, category, points_price) "
                "values (%s, %s, 'Drill', %s)",
                (item_id, f"Drill item of {price}", price),
            )
        for slot in range(4):
            connection.execute(
                "insert into xpoints.stock (item_id, slot, available) values (%s, %s, %s)",
                (scarce, slot, scarce_units // 4),
            )
    return Wares(points, scarce)


def admit(regions: Sequence[LocalRegion], customers: int) -> dict[str, UUID]:
    """Make customers with points to spend, and users of them in every Region; give their ids by username."""
    admitted = {f"drill_{uuid4().hex[:12]}": uuid4() for _ in range(customers)}
    with psycopg.connect(regions[0].conninfo(), autocommit=True) as connection:
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


class Sent(NamedTuple):
    """A request to one Region, and whether that answered."""

    at_s: float
    region: str
    answered: bool


@dataclass
class Seen:
    """What the shoppers saw, together."""

    sent: list[Sent] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    orders: set[str] = field(default_factory=set)
    sent_again: int = 0
    found_done: int = 0
    conflicts: int = 0
    placed_in: Counter[str] = field(default_factory=Counter)
    start_s: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _answered: Counter[tuple[str, int]] = field(default_factory=Counter)

    def note_request(self, sent: Sent) -> None:
        """Note one sending."""
        with self.lock:
            self.sent.append(sent)
            self.sent_again += not sent.answered
            self._answered[sent.region, self.second()] += sent.answered

    def second(self) -> int:
        """Give the number of whole seconds since the beginning."""
        return int(time.monotonic() - self.start_s)

    def answered(self, region: str) -> tuple[int, ...]:
        """Give how many requests a Region has answered in each second that is over."""
        with self.lock:
            return tuple(self._answered[region, second] for second in range(self.second()))

    def note_order(self, answer: httpx.Response, sendings: int, region: str) -> None:
        """Note what became of one order, and which Region said so."""
        with self.lock:
            if answer.status_code != 201:
                self.outcomes[str(answer.json()["type"]).rpartition(":")[2]] += 1
                return
            replayed = answer.headers["Idempotency-Replayed"] == "true"
            self.outcomes["replayed" if replayed else "placed"] += 1
            self.placed_in[region] += not replayed
            self.orders.add(answer.json()["order_id"])
            self.conflicts += int(answer.headers["Rewards-Attempts"]) - 1
            self.found_done += replayed and sendings > 1


class RoamingCustomer:
    """A customer at the APIs of all Regions, who goes to the next one when one does not answer."""

    def __init__(self, apis: Sequence[tuple[str, Shopper]], home: int, seen: Seen) -> None:
        self._apis = apis
        self._born = self._home = home
        self._closed: set[int] = set()
        self._seen = seen

    def ask(self, method: str, path: str, api: int | None = None, **request: Any) -> httpx.Response:
        """Send a request until some Region answers it. Raises NotSoError when none does."""
        return self._ask(method, path, api, **request)[0]

    def _ask(
        self, method: str, path: str, api: int | None = None, **request: Any
    ) -> tuple[httpx.Response, int, str]:
        at = self._home if api is None else api
        for sending in range(1, _SENDINGS + 1):
            name, shopper = self._apis[at]
            sent_at = time.monotonic()
            answer = None
            with suppress(httpx.TransportError):
                answer = shopper.send_once(method, path, **request)
            if answer is not None and answer.status_code < 500:
                self._seen.note_request(Sent(sent_at, name, answered=True))
                return answer, sending, name
            self._seen.note_request(Sent(sent_at, name, answered=False))
            other = (at + 1) % len(self._apis)
            if answer is None and other not in self._closed:
                self._closed.add(at)
                self._home = other
            at = other
        raise NotSoError(f"{method} {path} was answered by no Region, sent {_SENDINGS} times")

    def go_home(self) -> None:
        """Try the Region again that did not answer: it is said to be back."""
        self._closed.clear()
        self._home = self._born

    def order(self, total_points: int, key: str, api: int | None = None) -> httpx.Response:
        """Order the cart."""
        answer, sendings, region = self._ask(
            "POST",
            "/orders",
            api,
            json={"expected_total_points": total_points},
            headers={"Idempotency-Key": key},
        )
        self._seen.note_order(answer, sendings, region)
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
