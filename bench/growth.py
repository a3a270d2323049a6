"""What calls cost in a shop a hundred times as large: `python -m bench.growth [--quick] [--json PATH]`.

Two databases on one server, 10 thousand orders and 1,000 items in one, 1 million orders and 100,000 items in
the other; the same calls in turns, each as the functions make them, without the handler around. Customers
have the same in both: ten orders, three cart lines. The figure is the processor time of a call, the server's
and ours, in the large shop by that in the small one: other work on the machine moves it less than the time
that a call takes, which stands beside it. The lists are then asked for once more with comparisons of
rows that no index is searched by: so does an engine that does not take them to its index.
"""

import contextlib
import hashlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psutil
import psycopg

from bench import plots
from bench.harness import (
    Options,
    machine,
    percentile,
    ratios,
    read_options,
    say,
    spread,
    table,
    take_turns,
    write_json,
)
from bench.relay import Stub
from bench.shop import REGION
from domain.idempotency import Request
from domain.refusals import Refusal
from domain.search import wanted_words
from events.relay import Relay, RelaySettings
from local_dsql.console import run_command
from local_dsql.places import own_directory
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Database, DatabaseSettings
from sql.migrate import migrate, split
from sql.outbox import SHARDS
from sql.queries import Query
from sql.reads.cart import show_cart
from sql.reads.catalogue import list_items, show_item
from sql.reads.orders import list_orders
from sql.reads.points import list_ledger
from sql.references import REFERENCES
from sql.relay import Outbox
from sql.transactions.change_cart import set_quantity
from sql.transactions.place_order import PlaceOrder, place_order
from sql.transactions.sweep_orphans import sweep
from tools.plain_migrations import plain_migrations

#: What a customer's call may cost in the large shop, by the small one. The page and the picture show it.
MOST = 1.5

_FIRST_ID, _LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
_NEWEST = datetime(9999, 12, 31, tzinfo=UTC)
_SEED = Path(__file__).with_name("growth.sql")
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
    # Both shops fit into it. By default PostgreSQL keeps 128 MB at hand; the large shop has 1.5 GB.
    "shared_buffers": "2GB",
}
_FILL = """insert into xpoints.outbox (region, shard, id, event_type, detail)
    select %s, i %% %s, gen_random_uuid(), 'OrderPlaced.v1', '{"x": "' || repeat('y', 700) || '"}'
    from generate_series(1, %s) i"""


class Size(NamedTuple):
    """How large a shop is. Of ten orders a customer."""

    name: str
    orders: int
    items: int

    @property
    def customers(self) -> int:
        """Customers."""
        return self.orders // 10


QUICK = (Size("small", 2_000, 200), Size("large", 100_000, 10_000))
FULL = (Size("small", 10_000, 1_000), Size("large", 1_000_000, 100_000))


class Cost(NamedTuple):
    """What a call costs in milliseconds: how long it takes, and the processor's time (the server's, ours)."""

    took_ms: float
    processor_ms: float


class Shop:
    """One of the two databases, with the ways that functions have to it."""

    def __init__(self, server: EmbeddedPostgres, size: Size) -> None:
        self.size = size
        self._server = server
        self._ways: dict[str, Database] = {}
        self._buyers = iter(random.Random(1).sample(range(1, size.customers + 1), size.customers))
        server.create_database(size.name)
        migrate(self.way("admin"), migrations=plain_migrations())
        say(f"Filling the {size.name} shop: {size.orders:,} orders, {size.items:,} items ...")
        self.admin = psycopg.connect(server.conninfo(size.name), autocommit=True)
        cursor = psycopg.ClientCursor(self.admin)
        for statement in split(_SEED.read_text(encoding="utf-8")):
            cursor.execute(statement.encode(), {"items": size.items, "customers": size.customers})
        self.admin.execute("vacuum analyze")

    def way(self, role: str) -> Database:
        """Give a role's way to the database."""
        if role not in self._ways:
            server = self._server
            settings = DatabaseSettings(
                server.host, role, REGION, port=server.port, name=self.size.name, tls="disable"
            )
            self._ways[role] = Database(settings, mint=lambda _: "")
        return self._ways[role]

    def customer(self) -> UUID:
        """Give any customer."""
        return _id("customer", random.randint(1, self.size.customers))

    def item(self) -> UUID:
        """Give any item."""
        return _id("item", random.randint(1, self.size.items))

    def buyer(self) -> UUID:
        """Give a customer who has not ordered yet."""
        return _id("customer", next(self._buyers))

    def processor_s(self) -> float:
        """Give the processor time of this process and of the server's sessions so far, in seconds."""
        postmaster = psutil.Process(self.admin.info.backend_pid).parent()
        assert postmaster is not None
        return time.process_time() + sum(_processor_s(child.pid) for child in postmaster.children())

    def close(self) -> None:
        """End all connections."""
        self.admin.close()
        for way in self._ways.values():
            way.discard()


def _processor_s(pid: int) -> float:
    """Give a process's time on the processor; Linux alone has it finer than by hundredths of a second."""
    with contextlib.suppress(FileNotFoundError):
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) / 1e9
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def _id(kind: str, number: int) -> UUID:
    return UUID(hashlib.md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


# --- The calls ------------------------------------------------------------------------------------------


#: A call that is ready to be made.
Ready = Callable[[], object]


def _check_out(shop: Shop) -> Ready:
    customer = shop.buyer()
    shown = show_cart(shop.way("storefront"), REGION, customer, 10)
    assert not isinstance(shown, Refusal), shown
    command = PlaceOrder(
        request=Request(customer, uuid4().hex, "0" * 64, uuid4()),
        expected_points=shown[0][0].total_points,
        now=datetime.now(UTC),
        region=REGION,
        correlation_id="bench",
    )

    def placed() -> None:
        done = place_order(shop.way("checkout"), command, lambda *_: (201, "{}")).value
        assert getattr(done, "status", None) == 201, done

    return placed


def _page(
    shop: Shop, sort: str, after: Any, after_id: UUID, q: str | None = None, category: str | None = None
) -> Ready:
    wanted = wanted_words(q)
    assert wanted is not None
    return partial(
        list_items,
        *(shop.way("storefront"), REGION, sort, after, after_id, wanted, category, 20),  # type: ignore[arg-type]
    )


def _there(shop: Shop) -> Ready:
    name = _hex("name", random.randint(1, shop.size.items))
    return _page(shop, "name", "", _FIRST_ID, f"cup {name}")


def _hex(kind: str, number: int) -> str:
    return _id(kind, number).hex[:8]


#: A customer's calls by name.
CALLS: dict[str, Callable[[Shop], Ready]] = {
    "checkout": _check_out,
    "cart": lambda shop: partial(show_cart, shop.way("storefront"), REGION, shop.customer(), 100),
    "cart: set a quantity": lambda shop: partial(
        set_quantity, shop.way("storefront"), shop.customer(), shop.item(), random.randint(1, 9)
    ),
    "orders": lambda shop: partial(
        list_orders, shop.way("storefront"), shop.customer(), datetime.now(UTC), _LAST_ID, 20
    ),
    "ledger": lambda shop: partial(
        list_ledger, shop.way("storefront"), shop.customer(), _NEWEST, _LAST_ID, 20
    ),
    "item": lambda shop: partial(show_item, shop.way("storefront"), REGION, shop.item()),
    "catalogue by name, first page": lambda shop: _page(shop, "name", "", _FIRST_ID),
    "catalogue by price, in the middle": lambda shop: _page(shop, "points", 500, _LAST_ID),
    "catalogue by price, dearest first": lambda shop: _page(shop, "-points", 2**53, _LAST_ID),
    "catalogue by rating": lambda shop: _page(shop, "-rating", float("inf"), _LAST_ID),
    "a category": lambda shop: _page(shop, "points", -1, _FIRST_ID, None, "Category 3"),
    "a category that is not": lambda shop: _page(shop, "points", -1, _FIRST_ID, None, "Nowhere"),
    "search: one item has it": _there,
    "search: every item has it": lambda shop: _page(shop, "points", -1, _FIRST_ID, "thing"),
    "search: no item has it": lambda shop: _page(shop, "name", "", _FIRST_ID, "nowhere"),
    "search: a common and a missing word": lambda shop: _page(shop, "name", "", _FIRST_ID, "thing nowhere"),
}


#: What pages through an index: calls that are measured a second time, without comparisons of rows in it.
LISTS = ("orders", "ledger", *(name for name in CALLS if name.startswith("catalogue")))

#: A comparison of rows: of columns, or of the key that sql/scan.py fills in.
_ROWS_COMPARED = re.compile(
    rb"\((?:[\w.]+, )+[\w.]+\) [<>]=? \(%\(\w+\)s(?:::\w+)?, %\(\w+\)s(?:::\w+)?\)"
    rb"|\(\{key\}\) [<>]=? \(\{\w+\}\)"
)


def opaque(text: bytes) -> bytes:
    """Give a statement whose comparisons of rows only filter: no index is searched by what `is true`."""
    return _ROWS_COMPARED.sub(rb"(\g<0>) is true", text)


def make_opaque() -> int:
    """Do that to all statements that this process sends from now on; give how many were changed."""
    changed = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("sql."):
            places = [vars(module), *(each for each in vars(module).values() if isinstance(each, dict))]
            for place in places:
                for key, each in list(place.items()):
                    if isinstance(each, Query) and (text := opaque(each.text)) != each.text:
                        place[key] = each._replace(text=text)
                        changed += 1
    return changed


def _cost(shop: Shop, calls: Sequence[Ready]) -> Cost:
    """Make calls; give the median of what they took, and the mean of the processor's time."""
    took_s = []
    before_s = shop.processor_s()
    for call in calls:
        began = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - began)
    return Cost(1000 * percentile(took_s, 50), 1000 * (shop.processor_s() - before_s) / len(calls))


def _call_cost(shop: Shop, call: Callable[[Shop], Ready], calls: int) -> Cost:
    return _cost(shop, [call(shop) for _ in range(calls)])


def _batch_cost(shop: Shop) -> Cost:
    """Give the cost of one batch of the orphan sweep: some 3,000 rows looked at, none deleted."""
    reference = next(one for one in REFERENCES if str(one) == "order_items.tx_id")

    def batch() -> None:
        asked = iter((False,))
        sweep(shop.way("jobs"), reference, lambda: next(asked, True), every_s=0)

    return _cost(shop, [batch] * 5)


class _EmptyError(Exception):
    """The relay has found nothing more to do."""


def _thousand_events_cost(shop: Shop, events: int) -> Cost:
    """Give the cost of a thousand events, of those that the relay empties a full outbox of."""
    shop.admin.execute("truncate xpoints.outbox")
    shop.admin.execute(_FILL, (REGION, len(SHARDS), events))
    shop.admin.execute("vacuum analyze xpoints.outbox")

    def no_rest(_: float) -> None:
        raise _EmptyError

    outbox = Outbox(shop.way("relay"), REGION, uuid4(), "bench")
    relay = Relay(outbox, Stub, RelaySettings(bus="bench"), sleep=no_rest)

    def drain() -> None:
        with contextlib.suppress(_EmptyError):
            relay.run(time.monotonic() + 600)

    cost = _cost(shop, [drain])
    outbox.leave()
    assert relay.report.published == events
    return Cost(*(1000 * each / events for each in cost))


@contextlib.contextmanager
def _two_shops(sizes: tuple[Size, Size]) -> Iterator[list[Shop]]:
    with own_directory("rewards-bench", passable=True) as directory:
        say("Starting PostgreSQL (fsync on) ...")
        with EmbeddedPostgres(directory / "data", settings=_SETTINGS) as server:
            shops = [Shop(server, size) for size in sizes]
            with psycopg.connect(server.conninfo(), autocommit=True) as admin:
                admin.execute("checkpoint")
            try:
                yield shops
            finally:
                for shop in shops:
                    shop.close()


def main() -> None:
    """Measure, print, draw."""
    options = read_options("growth", "What calls cost in a shop a hundred times as large.")
    with _two_shops(QUICK if options.quick else FULL) as (small, large):
        figures = _measure(small, large, options)
    plots.growth({name: each["ratio"] for name, each in figures["calls"].items()}, MOST, options.plots)
    write_json(options.json_path, figures)


def _measure(small: Shop, large: Shop, options: Options) -> dict[str, Any]:
    rounds, calls, events = (3, 15, 5_000) if options.quick else (7, 40, 20_000)
    sides: dict[str, Callable[[Shop], Cost]] = {
        name: partial(_call_cost, call=call, calls=calls) for name, call in CALLS.items()
    }
    sides["relay: a thousand events"] = partial(_thousand_events_cost, events=events)
    sides["sweep: a batch"] = _batch_cost
    figures: dict[str, Any] = {}
    rows = []
    again = {f"{name}, rows filtered": sides[name] for name in (*LISTS, "sweep: a batch")}
    for name, side in (sides | again).items():
        if name == next(iter(again)):
            make_opaque()
        say(f"{name} ...")
        side(small), side(large)  # both sessions are prepared, and the tables warm
        in_small, in_large = take_turns(
            rounds, partial(side, small), partial(side, large), between=lambda: None
        )
        took = ratios([cost.took_ms for cost in in_large], [cost.took_ms for cost in in_small])
        used = ratios([cost.processor_ms for cost in in_large], [cost.processor_ms for cost in in_small])
        figures[name] = {"ratio": round(used.median, 2), "took_ratio": round(took.median, 2)}
        cells = []
        for size, costs in (("small", in_small), ("large", in_large)):
            took_ms = spread([cost.took_ms for cost in costs]).median
            processor_ms = spread([cost.processor_ms for cost in costs]).median
            figures[name] |= {size: round(processor_ms, 3), f"{size}_took": round(took_ms, 3)}
            cells += [f"{processor_ms:.2f}", f"{took_ms:.2f}"]
        rows.append([name, *cells[::2], str(used), *cells[1::2], str(took)])
    sizes = " by ".join(f"{shop.size.orders:,} orders, {shop.size.items:,} items" for shop in (large, small))
    head = ["small", "large", "ratio (least..most)"]
    print(table(f"Growth: {sizes}", ["ms of the processor; took", *head, *head], rows))
    dearer = [name for name in CALLS if figures[name]["ratio"] > MOST]
    print(f"\nCustomers' calls over {MOST} x: {', '.join(dearer) or 'none'}\n{machine()}")
    return {"calls": figures, "over": dearer}


if __name__ == "__main__":
    run_command(main)
