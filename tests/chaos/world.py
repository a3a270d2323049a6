"""One run: a small shop, requests, relays, consumers and jobs in two Regions, and what befalls them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from botocore.exceptions import ReadTimeoutError

import events.relay
import sql.scan
import sql.transaction
from domain.audit import Difference
from domain.checkout import total
from domain.events import Envelope, Origin, Payload, event_of
from domain.events.customers import CustomerErased, CustomerErasureResumed
from domain.events.items import CatalogItemRetired, ItemRetirementResumed
from domain.events.orders import OrderPlaced
from domain.events.refunds import OrderCancelled
from domain.idempotency import Answer, Request
from domain.refusals import Refusal
from events.relay import Relay, RelaySettings
from sql.connection import RetryPolicy
from sql.errors import RetriesExhaustedError
from sql.references import REFERENCES, Reference
from sql.relay import Outbox
from sql.transaction import Completed
from sql.transactions import audit_ledger
from sql.transactions import retire_item_data as retirement
from sql.transactions.audit_ledger import (
    AUDIT_EVERY_S,
    PARTS,
    audit_everything,
    audit_pass,
    audit_sample,
    audit_stock,
)
from sql.transactions.change_account import erase_account
from sql.transactions.change_cart import clear_cart, remove_line, set_quantity
from sql.transactions.change_item import retire_item
from sql.transactions.clean_cart import clean_cart
from sql.transactions.clean_region import Cleanup, clean, waiting_cleanups
from sql.transactions.erase_customer_data import erase_customer_data
from sql.transactions.expire import EXPIRIES, PASS_EVERY_S, expire
from sql.transactions.measure_backlog import measure_backlog
from sql.transactions.move_points import (
    Boost,
    Credit,
    Transfer,
    boost_household,
    credit_points,
    transfer_points,
)
from sql.transactions.notify import BeingSentError, confirm_cancellation, confirm_order
from sql.transactions.operations import requeue_dead_letters
from sql.transactions.place_order import READ_CART, CartSlot, PlaceOrder, cart_lines, place_order
from sql.transactions.refund_order import RefundOrder, refund_order
from sql.transactions.retire_item_data import retire_item_data
from sql.transactions.sweep_orphans import SWEEP_EVERY_S, sweep
from tests.chaos.cloud import Bus, Mail, Queue, invoke
from tests.chaos.scheduler import Actor, Crash, Scheduler
from tests.chaos.wire import FAULTS, ChaosDatabase, Exchanges, Links, Wire

REGIONS = ("us-east-1", "us-west-2")
BOOST_POINTS, BOOST_BELOW = 40, 500

_MOST_STEPS = 4000
_ROUNDS_TO_DRAIN = 30

#: What jobs do; the operator's requeue is one of them.
JOBS = ("sweep", "expire", "audit", "sample", "whole", "measure", "requeue")

#: True only when everything has come to rest, or by clocks that are right.
_NOT_UNDER_WAY = frozenset({"order-without-effect", "erasure-unfinished"})

#: Everything that may fail, in a run that has not switched it off.
KINDS = (
    *FAULTS,
    *("connect-refused", "connect-crash", "rollback-lost"),
    *("bus-down", "bus-timeout", "bus-partial", "bus-rejects", "bus-crash", "delivered-twice"),
    *("mail-down", "mail-timeout", "mail-crash", "outside-down", "outside-crash"),
    *("time-is-up", "delete-lost"),
)
#: What happens less often than an exchange of statements fails so many times as often.
_RARE = {"bus": 4, "mail": 8, "delivered": 4, "outside": 100}

#: How often each exchange, call or delivery fails, by run.
_RATES = (0.0, 0.01, 0.02, 0.04, 0.08, 0.15)

#: All that a run could leave to the next: whatever tables the schema has by now.
_TABLES = (
    b"select format('%I.%I', schemaname, tablename) from pg_tables "
    b"where schemaname = 'xpoints' and tablename <> 'schema_migrations' order by 1"
)


@dataclass(eq=False, slots=True)
class Call:
    """One request as it was sent once. `result_id` is the id of the ledger entry that it makes.

    `outcome` is what the client was told, None for nothing. `commits` are the numbers of the exchanges in
    which its snapshot was taken and its COMMIT was done.
    """

    operation: str
    owner: UUID
    key: str
    body: str
    result_id: UUID
    subject: Any = None
    points: int = 0
    outcome: Answer | Refusal | bool | None = None
    commits: list[tuple[int, int]] = field(default_factory=list)

    @property
    def event_id(self) -> UUID:
        """The id of the event that announces it."""
        return event_of(self.subject if self.operation in ("erase", "retire") else self.result_id)


@dataclass(eq=False, slots=True)
class CartRequest:
    """A shopper's request to have a quantity in the cart; None stands for all items. Numbers as in `Call`."""

    customer_id: UUID
    item_id: UUID | None
    quantity: int
    commits: list[tuple[int, int]] = field(default_factory=list)


class _Pool:
    """Stands for a relay's threads: a request goes out at once, or as late as its answer is waited for."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._late: list[Callable[[], None]] = []

    def __enter__(self) -> "_Pool":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._run_late()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> "_Late":
        late = _Late(self._run_late)
        self._late.append(lambda: late.set_result(work(*arguments)))
        if self._random.random() < 0.5:
            self._run_late()
        return late

    def _run_late(self) -> None:
        while self._late:
            self._late.pop(0)()


class _Late(Future[Any]):
    def __init__(self, run: Callable[[], None]) -> None:
        super().__init__()
        self._run = run

    def result(self, timeout: float | None = None) -> Any:
        self._run()
        return super().result(0)


class World:
    """A run's state. `problems` are what was found while it ran; checks.py looks at the rest."""

    #: How often the functions try a transaction; nothing is gained by waiting.
    retries = RetryPolicy(base_s=0.0, cap_s=0.0)

    def __init__(self, seed: int, links: Links) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.links = links
        self.admin = links.admin
        self.scheduler = Scheduler(random)
        self.exchanges = Exchanges(self.scheduler, links, self.choose)
        self.exchanges.committed = self._committed
        self.counts: Counter[str] = Counter()
        self.calls: list[Call] = []
        self.requests: list[CartRequest] = []
        #: What each Region deleted outside the database.
        self.deleted: set[tuple[str, Cleanup]] = set()
        self._rate = random.choice(_RATES)
        self._kinds = {kind for kind in KINDS if random.random() < 0.5}
        self._quiet = False
        #: Sends the request of a key once more.
        self.again: dict[str, Callable[[], bool]] = {}
        self._doing: dict[Actor | None, Call | CartRequest] = {}
        self._idle: dict[tuple[str, str], list[ChaosDatabase]] = {}
        self._databases: list[ChaosDatabase] = []
        self._stock_up()
        self._connect_consumers()

    # --- What decides -----------------------------------------------------------------------------------

    def choose(self, kinds: tuple[str, ...]) -> str | None:
        """Decide whether one of these things goes wrong now, and which."""
        times = _RARE.get(kinds[0].split("-")[0], 1)
        if self._quiet or self.random.random() >= times * self._rate:
            return None
        possible = [kind for kind in kinds if kind in self._kinds]
        if not possible:
            return None
        kind = self.random.choice(possible)
        self.counts[kind] += 1
        return kind

    def uuid(self) -> UUID:
        """Give the next id."""
        return UUID(int=self.random.getrandbits(128), version=4)

    def now(self) -> datetime:
        """Give the time by some function's clock, which may be wrong by hours.

        It begins where the database's does: a seed is the same at whatever hour it is run.
        """
        return self._began_at + timedelta(seconds=self.random.choice((0, 0, -7200, 7200)))

    # --- The shop ---------------------------------------------------------------------------------------

    def _stock_up(self) -> None:
        random, execute = self.random, self.admin.execute
        tables = ", ".join(name for (name,) in self.rows(_TABLES))
        self.links.begin_afresh(f"{tables}, chaos.trip")
        self._began_at: datetime = self.rows("select now from chaos.clock")[0][0]
        execute(b"alter sequence chaos.numbers restart")
        execute(b"alter sequence chaos.ticks restart")
        self.staff_id = self.uuid()
        self.customers = [self.uuid() for _ in range(random.randint(2, 4))]
        self.items = [self.uuid() for _ in range(random.randint(2, 4))]
        self.images = {item: self.uuid() for item in self.items}
        self.first_stock: dict[UUID, int] = {}
        self.first_carts: dict[tuple[UUID, UUID], int] = {}
        self.household = (self.customers[0], self.customers[1])
        rows: dict[str, list[Any]] = {name: [] for name in _INSERTS}
        for number, item in enumerate(self.items):
            rows["item"].append((item, f"Item {number}", random.randint(1, 60), self.images[item]))
            rows["image"].append((self.images[item], f"{self.images[item]}.png"))
            rows["link"].append((item, self.images[item]))
            rows["url"].append((self.images[item], REGIONS[0]))
            if random.random() < 0.6:
                slots = [random.randint(0, random.choice((2, 6))) for _ in range(random.randint(1, 3))]
                self.first_stock[item] = sum(slots)
                rows["stock"] += [(item, slot, units) for slot, units in enumerate(slots)]
        for number, customer in enumerate(self.customers):
            points = random.randint(0, random.choice((200, 900)))
            rows["customer"].append((customer, self.username(customer), f"c{number}@example.com"))
            rows["balance"].append((customer, points))
            rows["opening"].append((self.uuid(), customer, points, points))
            for item in random.sample(self.items, random.randint(1, 2)):
                quantity = self.first_carts[customer, item] = random.randint(1, 3)
                rows["line"].append((customer, item, quantity))
        self.poison = [self.uuid()] if random.random() < 0.1 else []
        for event_id in self.poison:
            message = (REGIONS[0], 3, event_id, "Nobody.v1", json.dumps({"id": str(event_id)}))
            rows[random.choice(("message", "dead letter"))].append(message)
        self._lay_in_old_rows(rows)
        rows["region"] = [(region,) for region in REGIONS]
        with self.admin.cursor() as cursor:
            for name, values in rows.items():
                if values:
                    cursor.executemany(_INSERTS[name], values)

    def _lay_in_old_rows(self, rows: dict[str, list[Any]]) -> None:
        """Leave a row to expire in each table but that of the carts, whose lines would be ordered."""
        for expiry in EXPIRIES:
            if expiry.name in OLD_ROWS:
                owner = self.images[self.items[0]] if expiry.name == "image_urls" else self.customers[0]
                age = timedelta(seconds=expiry.age_s, days=1)
                rows[f"old {expiry.name}"].append({"id": self.uuid(), "owner": owner, "age": age})

    @staticmethod
    def username(customer_id: UUID) -> str:
        """Give a customer's username."""
        return f"user_{customer_id.hex[:12]}"

    def cart_total(self, customer_id: UUID) -> int:
        """Give the total that the shopper sees."""
        return total(
            cart_lines(CartSlot(*row) for row in self.rows(READ_CART.text, {"customer_id": customer_id}))
        )

    def rows(self, query: bytes | str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Ask the database, past everything that may fail."""
        text = query if isinstance(query, bytes) else query.encode()
        return self.admin.execute(text, parameters).fetchall()

    # --- Functions and their environments ---------------------------------------------------------------

    @contextmanager
    def environment(self, role: str, region: str) -> Iterator[ChaosDatabase]:
        """Give an execution environment's database, warm or cold; after a crash it is not used again."""
        idle = self._idle.setdefault((role, region), [])
        if idle and self.random.random() < 0.8:
            database = idle.pop()
        else:
            pipelined = self.random.random() < 0.7
            database = ChaosDatabase(self.exchanges, role, region, pipelined, self.retries)
            self._databases.append(database)
        yield database
        idle.append(database)

    def _connect_consumers(self) -> None:
        effects: dict[str, tuple[str, dict[type[Payload], Callable[..., object]]]] = {
            "clean-cart": ("consumers", {OrderPlaced: lambda db, event: clean_cart(db, event).value}),
            "notify": (
                "consumers",
                {
                    OrderPlaced: lambda db, event: confirm_order(db, event, self.mail.send),
                    OrderCancelled: lambda db, event: confirm_cancellation(db, event, self.mail.send),
                },
            ),
            "erase-customer": (
                "cascades",
                dict.fromkeys((CustomerErased, CustomerErasureResumed), self._erase_data),
            ),
            "retire-item": (
                "cascades",
                dict.fromkeys((CatalogItemRetired, ItemRetirementResumed), self._retire_data),
            ),
        }
        self.consumers = effects
        self.queues = {name: Queue(name) for name in effects}
        routes: dict[str, list[Queue]] = {}
        for name, (_, consumed) in effects.items():
            for payload in consumed:
                routes.setdefault(payload.type_name, []).append(self.queues[name])
        self.routes = routes
        self.bus = Bus(self.scheduler, self.choose, routes)
        self.bus.poison = {str(event_id) for event_id in self.poison}
        self.mail = Mail(self.scheduler, self.choose)

    def _erase_data(self, database: ChaosDatabase, event: Envelope[Any]) -> object:
        return erase_customer_data(database, event, self._is_over, self._somewhere(), self.now())

    def _retire_data(self, database: ChaosDatabase, event: Envelope[Any]) -> object:
        return retire_item_data(
            database,
            event,
            self.mail.send,
            self._is_over,
            self._somewhere(),
            self.now(),
        )

    def clean_region(self, region: str) -> None:
        """Be a run of the job in which a Region deletes what is left to it."""

        def delete(cleanup: Cleanup) -> None:
            self._outside(f"delete {cleanup.kind} {cleanup.name}")
            self.deleted.add((region, cleanup))

        with self.environment("jobs", region) as database, suppress(RetriesExhaustedError):
            for cleanup in waiting_cleanups(database, region):
                with suppress(ConnectionError):
                    clean(database, region, cleanup, delete)

    def _outside(self, what: str) -> None:
        self.scheduler.pause(what)
        fault = self.choose(("outside-down", "outside-crash"))
        if fault == "outside-down":
            raise ConnectionError(what)
        if fault:
            raise Crash

    def _is_over(self) -> bool:
        return not self._quiet and self.random.random() < 0.3

    def _somewhere(self) -> str:
        return self.random.choice(REGIONS)

    def consume(self, name: str) -> None:
        """Be one invocation of a consumer."""
        role, effects = self.consumers[name]
        with self.environment(role, self._somewhere()) as database:

            def bind(effect: Callable[..., object]) -> Callable[[Envelope[Any]], object]:
                def have_effect(event: Envelope[Any]) -> object:
                    with self.mail.delivering(str(event.id)):
                        try:
                            return effect(database, event)
                        except (RetriesExhaustedError, ConnectionError, ReadTimeoutError, BeingSentError):
                            raise
                        except Exception as error:
                            # The record would come again, and nobody would see what went wrong.
                            problem = f"{name} failed with {type(error).__name__}: {error}"
                            self.exchanges.problems.append(problem)
                            raise

                return have_effect

            bound = {payload: bind(effect) for payload, effect in effects.items()}
            invoke(self.scheduler, self.choose, self.queues[name], bound, self.random.randint(1, 4))

    def relay(self, region: str, worker: int, for_s: float) -> None:
        """Be one run of a relay, by a clock of its own."""
        own = [self.random.uniform(0, 1e6)]

        def sleep(seconds: float) -> None:
            self.scheduler.pause(f"sleep {seconds:.2f}")
            own[0] += seconds

        with self.environment("relay", region) as database:
            outbox = Outbox(database, region, self.uuid(), "chaos", worker)
            settings = RelaySettings(bus="chaos", batch=self.random.randint(1, 8), parallel=2)
            relay = Relay(outbox, lambda: self.bus, settings, monotonic=lambda: own[0], sleep=sleep)
            relay.run(own[0] + for_s)

    # --- Jobs -------------------------------------------------------------------------------------------

    def job(self, kind: str) -> None:
        """Be one run of a job or of an operator's command; what it may not find is a problem."""
        try:
            with self.environment(
                "operations" if kind == "requeue" else "jobs", self._somewhere()
            ) as database:
                getattr(self, f"_{kind}")(database)
        except RetriesExhaustedError:
            self.scheduler.note("  the job failed")
        self.counts[f"job: {kind}"] += 1

    def _every_s(self, usual_s: int) -> int:
        return self.random.choice((0, 0, usual_s))

    def _sweep(self, database: ChaosDatabase) -> None:
        self._sweep_at(database, self.random.choice(REFERENCES), self._is_over, self._every_s(SWEEP_EVERY_S))

    def _sweep_at(
        self, database: ChaosDatabase, reference: Reference, is_over: Callable[[], bool], every_s: int
    ) -> None:
        def found(missing: set[UUID]) -> None:
            self.exchanges.problems.append(f"the sweep reports {reference} without a parent: {missing}")

        sweep(database, reference, is_over, every_s, found)

    def _expire(self, database: ChaosDatabase) -> None:
        expire(database, self.random.choice(EXPIRIES), self._is_over, self._every_s(PASS_EVERY_S))

    def _audit(self, database: ChaosDatabase) -> None:
        part, every_s = self.random.choice(PARTS), self._every_s(AUDIT_EVERY_S)
        audit_pass(database, part, self._differs, self._is_over, every_s)

    def _sample(self, database: ChaosDatabase) -> None:
        audit_sample(database, self.random.choice(PARTS), self._differs, self.uuid(), self._is_over, 2)
        audit_stock(database, self._differs)

    def _whole(self, database: ChaosDatabase) -> None:
        audit_everything(database, self.random.choice(PARTS), self._differs)

    def _differs(self, differences: Sequence[Difference]) -> None:
        for each in differences:
            if self._quiet or each.kind not in _NOT_UNDER_WAY:
                self.exchanges.problems.append(f"the audit reports {each}")

    def _measure(self, database: ChaosDatabase) -> None:
        backlogs, dead, _ = measure_backlog(database)
        if dead > len(self.poison) or (self._quiet and (backlogs or dead != len(self.poison))):
            self.exchanges.problems.append(f"{dead} outbox dead letters, of {self.poison}: {backlogs}")

    def _requeue(self, database: ChaosDatabase) -> None:
        requeue_dead_letters(database, self.poison)

    # --- Requests ---------------------------------------------------------------------------------------

    def plan_requests(self) -> list[Callable[[], None]]:
        """Choose what clients do; each is started at a moment of its own."""
        kinds: list[tuple[int, Callable[[], None]]] = [
            (8, self._check_out),
            (3, self._check_out_twice_at_once),
            (3, self._check_out_in_two_tabs),
            (5, self._change_cart),
            (5, self._refund),
            (3, self._transfer),
            (2, self._credit),
            (2, self._boost_both),
            (2, self._erase),
            (2, self._retire),
        ]
        # Each run has requests that it leaves out and some that it is full of.
        weights = [weight * self.random.choice((0, 1, 1, 4)) for weight, _ in kinds]
        weights[0] += 1
        requests = [request for _, request in kinds]
        return self.random.choices(requests, weights, k=self.random.randint(5, 16))

    def _client(self, name: str, send: Callable[[], bool]) -> None:
        """Be a client that sends a request until it is answered, at most four times, or once too often."""
        times = self.random.randint(1, 4)
        once_more = self.random.random() < 0.2

        def body() -> None:
            for _ in range(times):
                if send():
                    if once_more:
                        send()
                    return

        self.scheduler.spawn(f"{name}-{self.counts['requests']}", body)
        self.counts["requests"] += 1

    def _send(
        self, call: Call, role: str, work: Callable[[ChaosDatabase, Request, Origin], Completed[Any]]
    ) -> bool:
        """Be one invocation of an API function; tell whether the client had an answer."""
        self.calls.append(call)
        if call.key:
            self.again.setdefault(call.key, lambda: self._send(self._repeated(call), role, work))
        region = self._somewhere()
        request = Request(call.owner, call.key, f"1:{call.body}", call.result_id)
        actor = self.scheduler.current
        self._doing[actor] = call
        try:
            with self.environment(role, region) as database:
                origin = Origin(call.event_id, self.now(), region, f"correlation-{call.key}")
                call.outcome = work(database, request, origin).value
        except (Crash, RetriesExhaustedError) as error:
            self.counts[f"told: {type(error).__name__}"] += 1
            self.scheduler.note(f"  client has no answer: {type(error).__name__}")
            return False
        finally:
            del self._doing[actor]
        outcome = call.outcome
        word = outcome.code if isinstance(outcome, Refusal) else "done"
        if isinstance(outcome, Answer) and outcome.replayed:
            word = "replayed"
        self.counts[f"told: {word}"] += 1
        self.scheduler.note(f"  {call.operation} {call.result_id.hex[:8]}: {word}")
        return True

    def _repeated(self, call: Call) -> Call:
        return Call(
            call.operation,
            call.owner,
            call.key,
            call.body,
            self.uuid(),
            call.subject,
            call.points,
        )

    def _call(self, operation: str, owner: UUID, key: str, body: str, **more: Any) -> Call:
        return Call(operation, owner, key, body, self.uuid(), **more)

    def _place(self, customer_id: UUID, key: str, expected: int) -> bool:
        # Now and then a client's mistake: the key of one request with the body of another.
        wrong = self.random.random() < 0.08
        call = self._call("order", customer_id, key, f"{expected + wrong}")

        def work(database: ChaosDatabase, request: Request, origin: Origin) -> Completed[Any]:
            command = PlaceOrder(request, expected + wrong, origin.now, origin.region, origin.correlation_id)
            return place_order(database, command, lambda c, _: _render(c), pick=self.random.randrange)

        return self._send(call, "checkout", work)

    def _check_out(self) -> None:
        customer_id, key = self.random.choice(self.customers), self.uuid().hex
        expected = self.cart_total(customer_id)
        self._client("checkout", lambda: self._place(customer_id, key, expected))

    def _check_out_twice_at_once(self) -> None:
        customer_id, key = self.random.choice(self.customers), self.uuid().hex
        expected = self.cart_total(customer_id)
        for _ in range(2):
            self._client("same-key", lambda: self._place(customer_id, key, expected))

    def _check_out_in_two_tabs(self) -> None:
        customer_id = self.random.choice(self.customers)
        expected = self.cart_total(customer_id)
        for _ in range(2):
            key = self.uuid().hex
            self._client("tab", lambda key=key: self._place(customer_id, key, expected))  # type: ignore[misc]

    def _change_cart(self) -> None:
        customer_id, item_id = self.random.choice(self.customers), self.random.choice(self.items)
        quantity = self.random.choice((0, 0, 1, 2, 3))
        request = CartRequest(customer_id, None if self.random.random() < 0.15 else item_id, quantity)

        def send() -> bool:
            self.requests.append(request)
            actor = self.scheduler.current
            self._doing[actor] = request
            try:
                with self.environment("storefront", self._somewhere()) as database:
                    if request.item_id is None:
                        request.quantity = 0
                        clear_cart(database, customer_id)
                    elif quantity == 0:
                        remove_line(database, customer_id, item_id)
                    else:
                        set_quantity(database, customer_id, item_id, quantity)
            except (Crash, RetriesExhaustedError):
                return False
            finally:
                del self._doing[actor]
            return True

        self._client("cart", send)

    def _refund(self) -> None:
        orders = self.rows("select id, customer_id from xpoints.orders order by id")
        if not orders:
            return
        order_id, customer_id = self.random.choice(orders)
        cancel = self.random.random() < 0.4
        units = None
        if not cancel and self.random.random() < 0.7:
            query = "select cat_item_id from xpoints.order_items where tx_id = %s order by 1 limit 1"
            units = {item_id: 1 for (item_id,) in self.rows(query, [order_id])}
        for _ in range(self.random.choice((1, 1, 2))):
            key = self.uuid().hex

            def send(key: str = key) -> bool:
                call = self._call("refund", customer_id, key, "refund", subject=order_id)

                def work(database: ChaosDatabase, request: Request, origin: Origin) -> Completed[Any]:
                    command = RefundOrder(request, origin, order_id, units, cancel)
                    return refund_order(
                        database, command, lambda c, _: _render(c), pick=self.random.randrange
                    )

                return self._send(call, "checkout", work)

            self._client("cancel" if cancel else "refund", send)

    def _transfer(self) -> None:
        payer, payee = self.random.sample(self.customers, 2)
        key, points = self.uuid().hex, self.random.randint(1, 120)

        def send() -> bool:
            call = self._call("transfer", payer, key, str(points), subject=payee, points=-points)
            entry_id = self.uuid()

            def work(database: ChaosDatabase, request: Request, origin: Origin) -> Completed[Any]:
                command = Transfer(request, origin, self.username(payee), points, entry_id)
                return transfer_points(database, command, lambda c, _: _render(c))

            return self._send(call, "checkout", work)

        for _ in range(self.random.choice((1, 1, 2))):
            self._client("transfer", send)

    def _credit(self) -> None:
        customer_id, key = self.random.choice(self.customers), self.uuid().hex
        points = self.random.randint(1, 100)

        def send() -> bool:
            call = self._call("credit", self.staff_id, key, str(points), subject=customer_id, points=points)

            def work(database: ChaosDatabase, request: Request, origin: Origin) -> Completed[Any]:
                command = Credit(request, origin, customer_id, points, "GIFT", "A gift")
                return credit_points(database, command, lambda c, _: _render(c))

            return self._send(call, "staff", work)

        self._client("credit", send)

    def _boost_both(self) -> None:
        """Boost both members of a household at once, from wherever: one of them has to see the other."""
        for beneficiary, partner in (self.household, self.household[::-1]):
            key = self.uuid().hex

            def send(beneficiary: UUID = beneficiary, partner: UUID = partner, key: str = key) -> bool:
                call = self._call(
                    "boost", self.staff_id, key, "boost", subject=beneficiary, points=BOOST_POINTS
                )

                def work(database: ChaosDatabase, request: Request, origin: Origin) -> Completed[Any]:
                    command = Boost(request, origin, beneficiary, partner, BOOST_POINTS, BOOST_BELOW)
                    return boost_household(database, command, lambda c, _: _render(c))

                return self._send(call, "staff", work)

            self._client("boost", send)

    def _erase(self) -> None:
        customer_id = self.random.choice(self.customers)

        def send() -> bool:
            call = self._call("erase", customer_id, "", "", subject=customer_id)
            return self._send(
                call,
                "accounts",
                lambda database, request, origin: erase_account(
                    database, customer_id, request.result_id, origin
                ),
            )

        self._client("erase", send)

    def _retire(self) -> None:
        item_id = self.random.choice(self.items)

        def send() -> bool:
            call = self._call("retire", self.staff_id, "", "", subject=item_id)
            return self._send(
                call,
                "staff",
                lambda database, _, origin: retire_item(database, item_id, origin),
            )

        self._client("retire", send)

    def _committed(self, wire: Wire, names: Sequence[str]) -> None:
        doing = self._doing.get(self.scheduler.current)
        if doing is not None and _WRITES.intersection(names):
            doing.commits.append((wire.snapshot, self.exchanges.count))

    # --- The run ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do it all: chaos until every client has its answer or has given up, then rest."""
        with self._in_place():
            try:
                self._chaos()
            finally:
                self.scheduler.doom()
            self._calm_down()
            # Now that nothing fails, every client asks once more what became of its request.
            for send in list(self.again.values()):
                send()
            self._drain()
            for database in self._databases:
                database.discard()

    def _calm_down(self) -> None:
        """Have nothing fail any more."""
        self._quiet = True
        self._doing.clear()

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Put this run's clock, threads and small batches where the code under test has its own."""
        defaults = sql.transaction.run.__kwdefaults__
        assert defaults is not None
        kept = dict(defaults)
        relay_module: Any = events.relay
        pool = relay_module.ThreadPoolExecutor
        carts = retirement.CARTS_AT_ONCE
        scanned, audited = sql.scan.MAX_ROWS, audit_ledger.BATCH_ROWS
        defaults.update(
            sleep=lambda _: self.scheduler.pause("back-off"), uniform=lambda *_: 0.0, monotonic=lambda: 0.0
        )
        relay_module.ThreadPoolExecutor = lambda *_, **__: _Pool(self.random)
        retirement.CARTS_AT_ONCE = 2
        sql.scan.MAX_ROWS, audit_ledger.BATCH_ROWS = 4, 2
        try:
            yield
        finally:
            defaults.update(kept)
            relay_module.ThreadPoolExecutor = pool
            retirement.CARTS_AT_ONCE = carts
            sql.scan.MAX_ROWS, audit_ledger.BATCH_ROWS = scanned, audited

    def _chaos(self) -> None:
        scheduler, random = self.scheduler, self.random
        requests = self.plan_requests()
        relays: list[Actor] = []
        others: list[Actor] = []
        jobs: list[Actor] = []
        extra = random.randint(0, 150)
        while scheduler.steps < _MOST_STEPS:
            relays = [actor for actor in relays if not actor.done]
            others = [actor for actor in others if not actor.done]
            jobs = [actor for actor in jobs if not actor.done]
            clients = len(scheduler.actors) - len(relays) - len(others) - len(jobs)
            if not requests and not clients:
                if extra <= 0:
                    break
                extra -= 1
            visible = [name for name, queue in self.queues.items() if queue.visible()]
            flying = [message for queue in self.queues.values() for message in queue.messages]
            flying = [message for message in flying if message.in_flight]
            weights = {
                "step": 30 if scheduler.actors else 0,
                "request": 4 if requests and clients < 6 else 0,
                "consume": 4 if visible and len(others) < 4 else 0,
                "relay": 2 if len(relays) < 3 else 0,
                "job": 1 if len(jobs) < 2 else 0,
                "clean": 1 if len(others) < 4 else 0,
                "time": 1,
                "visibility": 2 if flying else 0,
            }
            (action,) = random.choices(list(weights), list(weights.values()))
            if action == "step":
                scheduler.step()
            elif action == "request":
                requests.pop()()
            elif action == "consume":
                name = random.choice(visible)
                others.append(
                    scheduler.spawn(f"{name}-{self.counts['consumers']}", _bind(self.consume, name))
                )
                self.counts["consumers"] += 1
            elif action == "relay":
                region, worker, for_s = self._somewhere(), random.randint(0, 1), random.uniform(1, 20)
                name = f"relay-{region[3:]}-{worker}-{self.counts['relays']}"
                relays.append(scheduler.spawn(name, _bind(self.relay, region, worker, for_s)))
                self.counts["relays"] += 1
            elif action == "job":
                kind = random.choice(JOBS if self.poison else JOBS[:-1])
                jobs.append(scheduler.spawn(f"{kind}-{self.counts['jobs']}", _bind(self.job, kind)))
                self.counts["jobs"] += 1
            elif action == "clean":
                region = self._somewhere()
                name = f"clean-{region[3:]}-{self.counts['cleanups']}"
                others.append(scheduler.spawn(name, _bind(self.clean_region, region)))
                self.counts["cleanups"] += 1
            elif action == "time":
                self.advance_time(random.choice((1, 6, 16, 70, 300)))
            else:
                scheduler.note("a visibility timeout ends")
                random.choice(flying).in_flight = False

    def advance_time(self, seconds: int) -> None:
        """Let time pass on the database's clock and no other: leases end under relays that know nothing."""
        self.scheduler.note(f"the database's clock goes on by {seconds} s")
        self.admin.execute(b"update chaos.clock set now = now + make_interval(secs => %s)", [seconds])

    def _drain(self) -> None:
        """Let everything come to rest, with nothing failing any more; then have the jobs do all of theirs."""
        for _ in range(_ROUNDS_TO_DRAIN):
            self.advance_time(1000)
            for region in REGIONS:
                self.relay(region, 0, 1.0)
            for name, queue in self.queues.items():
                for message in queue.messages:
                    message.in_flight = False
                while queue.messages:
                    before = len(queue.messages)
                    self.consume(name)
                    if len(queue.messages) == before and self._stuck(queue):
                        break
            if not self.rows("select 1 from xpoints.outbox limit 1") and not any(
                queue.messages for queue in self.queues.values()
            ):
                break
        # A pass that is half done would go on behind what has come in since.
        self.admin.execute(b"delete from xpoints.job_progress")
        for region in REGIONS:
            self.clean_region(region)
        with self.environment("jobs", REGIONS[0]) as jobs:
            for reference in REFERENCES:
                self._sweep_at(jobs, reference, lambda: False, 0)
            for expiry in EXPIRIES:
                expire(jobs, expiry, lambda: False, 0)
            for part in PARTS:
                audit_pass(jobs, part, self._differs, lambda: False, 0)
            self._measure(jobs)

    @staticmethod
    def _stuck(queue: Queue) -> bool:
        return all(message.received > 40 for message in queue.messages)


_INSERTS = {
    "region": "insert into xpoints.regions (region) values (%s)",
    "item": "insert into xpoints.catalog_items (id, name, points_price, thumbnail_id) "
    "values (%s, %s, %s, %s)",
    "image": "insert into xpoints.images (id, filename) values (%s, %s)",
    "link": "insert into xpoints.catalog_images (item_id, image_id) values (%s, %s)",
    "url": "insert into xpoints.image_urls (image_id, region, presigned_url) values (%s, %s, 'url')",
    "stock": "insert into xpoints.stock (item_id, slot, available) values (%s, %s, %s)",
    "customer": "insert into xpoints.customers (id, username, email, first_name) values (%s, %s, %s, 'Ana')",
    "balance": "insert into xpoints.points_balances (customer_id, points_balance) values (%s, %s)",
    "opening": "insert into xpoints.transactions (id, customer_id, tx_type, points, balance_after) "
    "values (%s, %s, 'OPENING', %s, %s)",
    "line": "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) values (%s, %s, %s)",
    "message": "insert into xpoints.outbox (region, shard, id, event_type, detail) "
    "values (%s, %s, %s, %s, %s)",
    "dead letter": "insert into xpoints.outbox_dead_letters (region, shard, id, event_type, detail, "
    "created_at, attempts, reason) values (%s, %s, %s, %s, %s, now(), 10, 'chaos')",
}

#: How a row that is too old comes into each table: by an id of its own, and its owner's. Keys are not left to
#: chance, which would part the tables into other batches each time.
OLD_ROWS = {
    "idempotency_records": "values (%(id)s, 'old', '', %(id)s, 201, '', now() - %(age)s)",
    "inbox": "values (%(id)s, 'notify', now() - %(age)s)",
    "consumed_versions": "values (%(id)s, 'notify', 1, now() - %(age)s)",
    "image_urls": "values (%(owner)s, 'us-west-2', 'url', now() at time zone 'UTC' - %(age)s)",
    "notifications": "values (%(id)s, %(owner)s, gen_random_uuid(), 'old', 'SENT', '', '', "
    "now() - 2 * %(age)s, now() - %(age)s)",
    "request_log": "values (%(id)s, '', gen_random_uuid(), gen_random_uuid(), '', '', 1, 0, "
    "now() - %(age)s, now())",
    "email_changes": "values (%(owner)s, %(id)s, 'old@example.com', '', 0, now() - %(age)s)",
    "usage_counts": "values (%(id)s::text, 'mail', 0, 1, extract(epoch from now() - %(age)s) / 86400 - 1, 1)",
}
_INSERTS |= {f"old {table}": f"insert into xpoints.{table} {values}" for table, values in OLD_ROWS.items()}

#: Statements that make a committed transaction an effect of the request.
_WRITES = frozenset(
    {
        *("insert_ledger_entry", "insert_line", "change_line", "delete_line", "hold_ordered_lines"),
        *("mark_erased", "retire_item"),
    }
)


def _render(command: Any) -> tuple[int, str]:
    return 201, json.dumps({"id": str(command.request.result_id)})


def _bind(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    return lambda: work(*arguments)
