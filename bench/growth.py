"""What calls cost in a shop a hundred times as large: `python -m bench.growth [--quick] [--json PATH]`.

Two databases on one server, 10 thousand orders and 1,000 items in one, 1 million orders and 100,000 items in
the other; the same calls in turns, each as the functions make them, without the handler around. Customers
have the same in both: ten orders, three cart lines. The figure is the median call in the large shop by that
in the small one. The lists are then asked for once more with comparisons of rows that no index is searched
by: so does an engine that does not take them to its index.
"""

import contextlib
import hashlib
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

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
from sql.reads import list_items, list_ledger, list_orders, show_cart, show_item
from sql.references import REFERENCES
from sql.relay import Outbox
from sql.transactions.change_cart import set_quantity
from sql.transactions.place_order import PlaceOrder, place_order
from sql.transactions.sweep_orphans import sweep
from tools.plain_migrations import plain_migrations

#: What a customer's call may cost in the large shop, by the small one. The page and the picture show it.
MOST = 1.5

_FIRST_ID, _LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
_SEED = Path(__file__).with_name("growth.sql")
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "16GB",
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


class Shop:
    """One of the two databases, with the ways that functions have to it."""

    def __init__(self, server: EmbeddedPostgres, size: Size) -> None:
        self.size = size
        self._server = server
        self._ways: dict[str, Database] = {}
        #: Seconds of the last call where it is not the whole of it.
        self.timed_s: float | None = None
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

    def close(self) -> None:
        """End all connections."""
        self.admin.close()
        for way in self._ways.values():
            way.discard()


def _id(kind: str, number: int) -> UUID:
    return UUID(hashlib.md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest())


# --- The calls ------------------------------------------------------------------------------------------


def _check_out(shop: Shop) -> None:
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
    began = time.perf_counter()
    done = place_order(shop.way("checkout"), command, lambda *_: (201, "{}")).value
    shop.timed_s = time.perf_counter() - began
    assert getattr(done, "status", None) == 201, done


def _page(
    shop: Shop, sort: str, after: Any, after_id: UUID, q: str | None = None, category: str | None = None
) -> None:
    wanted = wanted_words(q, category)
    assert wanted is not None
    list_items(shop.way("storefront"), REGION, sort, after, after_id, wanted, 20)  # type: ignore[arg-type]


def _there(shop: Shop) -> None:
    name = _hex("name", random.randint(1, shop.size.items))
    _page(shop, "name", "", _FIRST_ID, f"cup {name}")


def _hex(kind: str, number: int) -> str:
    return _id(kind, number).hex[:8]


def _orders(shop: Shop) -> None:
    list_orders(shop.way("storefront"), shop.customer(), datetime.now(UTC), _LAST_ID, 20)


def _ledger(shop: Shop) -> None:
    list_ledger(shop.way("storefront"), shop.customer(), datetime(9999, 12, 31, tzinfo=UTC), _LAST_ID, 20)


#: By name: the call, and whether a customer makes it.
CALLS: dict[str, Callable[[Shop], None]] = {
    "checkout": _check_out,
    "cart": lambda shop: void(show_cart(shop.way("storefront"), REGION, shop.customer(), 100)),
    "cart: set a quantity": lambda shop: void(
        set_quantity(shop.way("storefront"), shop.customer(), shop.item(), random.randint(1, 9))
    ),
    "orders": _orders,
    "ledger": _ledger,
    "item": lambda shop: void(show_item(shop.way("storefront"), REGION, shop.item())),
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


def void(_: object) -> None:
    """Take a result and give none."""


def _call_ms(shop: Shop, call: Callable[[Shop], None], calls: int) -> float:
    """Give the median of so many calls, in milliseconds."""
    times_s = []
    for _ in range(calls):
        shop.timed_s = None
        began = time.perf_counter()
        call(shop)
        took_s = time.perf_counter() - began
        times_s.append(shop.timed_s if shop.timed_s is not None else took_s)
    return 1000 * percentile(times_s, 50)


def _batch_ms(shop: Shop) -> float:
    """Give the milliseconds of one batch of the orphan sweep: some 3,000 rows looked at, none deleted."""
    asked = iter((False,))
    reference = next(one for one in REFERENCES if str(one) == "order_items.tx_id")
    began = time.perf_counter()
    sweep(shop.way("jobs"), reference, lambda: next(asked, True), every_s=0)
    return 1000 * (time.perf_counter() - began)


class _EmptyError(Exception):
    """The relay has found nothing more to do."""


def _event_us(shop: Shop, events: int) -> float:
    """Give the microseconds an event that the relay takes to empty a full outbox."""
    shop.admin.execute("truncate xpoints.outbox")
    shop.admin.execute(_FILL, (REGION, len(SHARDS), events))
    shop.admin.execute("vacuum analyze xpoints.outbox")

    def no_rest(_: float) -> None:
        raise _EmptyError

    outbox = Outbox(shop.way("relay"), REGION, uuid4(), "bench")
    relay = Relay(outbox, Stub, RelaySettings(bus="bench"), sleep=no_rest)
    began = time.monotonic()
    with contextlib.suppress(_EmptyError):
        relay.run(began + 600)
    took_s = time.monotonic() - began
    outbox.leave()
    assert relay.report.published == events
    return 1_000_000 * took_s / events


@contextlib.contextmanager
def _two_shops(sizes: tuple[Size, Size]) -> Iterator[list[Shop]]:
    with own_directory("rewards-bench", passable=True) as directory:
        say("Starting PostgreSQL (fsync on) ...")
        with EmbeddedPostgres(directory / "data") as server:
            with psycopg.connect(server.conninfo(), autocommit=True) as admin:
                for name, setting in _SETTINGS.items():
                    admin.execute(f"alter system set {name} = '{setting}'".encode())
                admin.execute("select pg_reload_conf()")
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
    sides: dict[str, Callable[[Shop], float]] = {
        name: partial(_call_ms, call=call, calls=calls) for name, call in CALLS.items()
    }
    sides["relay: an event (µs)"] = partial(_event_us, events=events)
    sides["sweep: a batch"] = _batch_ms
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
        ratio = ratios(in_large, in_small)
        figures[name] = {
            "small": round(spread(in_small).median, 3),
            "large": round(spread(in_large).median, 3),
            "ratio": round(ratio.median, 2),
        }
        rows.append([name, f"{figures[name]['small']:.2f}", f"{figures[name]['large']:.2f}", str(ratio)])
    sizes = " by ".join(f"{shop.size.orders:,} orders, {shop.size.items:,} items" for shop in (large, small))
    print(table(f"Growth: {sizes}", ["ms", "small", "large", "ratio (least..most)"], rows))
    dearer = [name for name in CALLS if figures[name]["ratio"] > MOST]
    print(f"\nCustomers' calls over {MOST} x: {', '.join(dearer) or 'none'}\n{machine()}")
    return {"calls": figures, "over": dearer}


if __name__ == "__main__":
    run_command(main)
