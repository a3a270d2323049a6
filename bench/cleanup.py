"""How fast dependants are deleted: `python -m bench.cleanup [--quick] [--json PATH]`.

A million rows (quick: a hundred thousand) that have lost their parent, deleted through the code that
functions run, in transactions of at most 3,000 rows, by one connection, with fsync. Beside it the same work
in other ways, alternating, so that their ratios hold on any machine.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from bench.harness import machine, ratios, read_options, say, spread, table, take_turns, write_json
from bench.shop import REGION, Shop, open_shop
from domain.events import Origin, event_of
from domain.events.items import CatalogItemRetired
from local_dsql.console import run_command
from sql.connection import Database, DatabaseSettings
from sql.references import REFERENCES
from sql.scan import MAX_ROWS
from sql.transactions.expire import EXPIRIES, expire
from sql.transactions.retire_item_data import retire_item_data
from sql.transactions.sweep_orphans import sweep

_LINES_A_CUSTOMER = 10

#: Where the item that is retired lies; it has no other line.
_ITEM = UUID(int=1)

#: Rows are laid down in the order of their keys, as DSQL keeps them.
_FILLS = {
    # Carts of customers who are not there.
    "orphans": b"""insert into xpoints.shopping_cart_items (customer_id, item_id, quantity)
        select customer_id, gen_random_uuid(), 1
        from (select gen_random_uuid() as customer_id from generate_series(1, %(parents)s)) as customers,
            generate_series(1, %(each)s)
        order by 1, 2""",
    # The one retired item in as many carts.
    "item": b"""insert into xpoints.shopping_cart_items (customer_id, item_id, quantity)
        select gen_random_uuid(), %(item)s, 1 from generate_series(1, %(rows)s) order by 1""",
    "inbox": b"""insert into xpoints.inbox (event_id, consumer, processed_at)
        select gen_random_uuid(), 'notify', now() - interval '100 days' from generate_series(1, %(rows)s)
        order by 1""",
}

#: What the sweep's statements come down to, by psycopg alone: the range of keys is read, then deleted.
_NEXT_KEY = b"""select customer_id, item_id
    from (select customer_id, item_id from xpoints.shopping_cart_items
        where (customer_id, item_id) > (%s, %s) order by customer_id, item_id limit %s) as batch
    order by customer_id desc, item_id desc limit 1"""
_DELETE_RANGE = b"""delete from xpoints.shopping_cart_items
    where (customer_id, item_id) > (%s, %s) and (customer_id, item_id) <= (%s, %s)"""

#: What one would write first: look for orphans from the beginning, again and again.
_DELETE_ANY = b"""delete from xpoints.shopping_cart_items
    where (customer_id, item_id) in (
        select l.customer_id, l.item_id from xpoints.shopping_cart_items l
        left join xpoints.customers c on c.id = l.customer_id
        where c.id is null limit %s)"""


class _Way(NamedTuple):
    """A way of deleting: what is filled for it, and what it does; gives rows and the largest transaction.

    A way that takes long for each row gets a `share`th of the rows.
    """

    name: str
    fill: str
    delete: Callable[[Shop], tuple[int, int]]
    share: int = 1


def _database(shop: Shop, role: str) -> Database:
    settings = DatabaseSettings(shop.server.host, role, REGION, port=shop.server.port, tls="disable")
    return Database(settings, mint=lambda _: "")


def _never() -> bool:
    return False


def _sweep(shop: Shop) -> tuple[int, int]:
    swept = sweep(_database(shop, "jobs"), REFERENCES[0], _never, every_s=0)
    return swept.deleted, swept.most_rows


def _expire(shop: Shop) -> tuple[int, int]:
    inbox = next(expiry for expiry in EXPIRIES if expiry.name == "inbox")
    scanned = expire(_database(shop, "jobs"), inbox, _never, every_s=0)
    return scanned.rows, scanned.most_rows


def _retire(shop: Shop) -> tuple[int, int]:
    """Take the item out of all carts, with a message for each; the slice ends before they are sent."""
    event = Origin(event_of(_ITEM), datetime.now(UTC), REGION, "bench").announce(
        CatalogItemRetired(item_id=_ITEM), _ITEM
    )
    left: Callable[[], Any] = lambda: shop.admin.execute(  # noqa: E731
        b"select 1 from xpoints.shopping_cart_items limit 1"
    ).fetchone()
    first = retire_item_data(
        _database(shop, "cascades"),
        event,
        lambda _: None,
        lambda: left() is None,
        REGION,
        datetime.now(UTC),
    )
    return first.rows // 2, first.most_rows


def _bare(shop: Shop) -> tuple[int, int]:
    rows, largest = 0, 0
    with psycopg.connect(shop.server.conninfo(), autocommit=True) as connection:
        after: tuple[Any, ...] = (UUID(int=0), UUID(int=0))
        while True:
            with connection.transaction():
                upto = connection.execute(_NEXT_KEY, (*after, MAX_ROWS - 1)).fetchone()
                if upto is None:
                    return rows, largest
                deleted = connection.execute(_DELETE_RANGE, (*after, *upto)).rowcount
            rows, largest, after = rows + deleted, max(largest, deleted), upto


def _from_the_beginning(shop: Shop) -> tuple[int, int]:
    rows, largest = 0, 0
    with psycopg.connect(shop.server.conninfo(), autocommit=True) as connection:
        while deleted := connection.execute(_DELETE_ANY, (MAX_ROWS - 1,)).rowcount:
            rows, largest = rows + deleted, max(largest, deleted)
    return rows, largest


_WAYS = (
    _Way("orphan sweep (the code of the function)", "orphans", _sweep),
    _Way("expiry (the code of the function)", "inbox", _expire),
    _Way("item out of carts, a message each (the code of the function)", "item", _retire, 10),
    _Way("psycopg alone: next key, delete the range", "orphans", _bare),
    _Way("psycopg alone: anti-join with LIMIT, no cursor", "orphans", _from_the_beginning),
)


def main() -> None:
    """Measure and print."""
    options = read_options("cleanup", "Rows a second that cleanup deletes, and the largest transaction.")
    rows, rounds = (100_000, 3) if options.quick else (1_000_000, 3)
    with open_shop(1) as shop:
        shop.admin.execute(b"alter system set log_statement = 'none'")
        shop.admin.execute(b"select pg_reload_conf()")
        shop.admin.execute(
            b"insert into xpoints.catalog_items (id, name, retired_at) values (%s, 'Mug', now())", (_ITEM,)
        )
        figures = _measure(shop, rows, rounds)
    write_json(options.json_path, figures)


def _measure(shop: Shop, rows: int, rounds: int) -> dict[str, Any]:
    largest = dict.fromkeys((way.name for way in _WAYS), 0)
    busy_s: dict[str, list[float]] = {way.name: [] for way in _WAYS}

    def side(way: _Way) -> Callable[[], float]:
        def measure() -> float:
            mine = rows // way.share
            _fill(shop, way, mine)
            busy_before_s, started = shop.processor_s() + time.process_time(), time.perf_counter()
            deleted, most_rows = way.delete(shop)
            took_s = time.perf_counter() - started
            if deleted != mine:
                raise RuntimeError(f"{way.name} deleted {deleted} of {mine} rows")
            largest[way.name] = max(largest[way.name], most_rows)
            busy_s[way.name].append(shop.processor_s() + time.process_time() - busy_before_s)
            say(f"  {way.name}: {deleted / took_s:,.0f} rows/s")
            return deleted / took_s

        return measure

    say(f"Deleting {rows:,} dependants in each of {len(_WAYS)} ways, {rounds} times ...")
    rates = take_turns(rounds, *(side(way) for way in _WAYS), between=lambda: None)
    bare = next(number for number, way in enumerate(_WAYS) if way.delete is _bare)
    lines = [
        [
            way.name,
            f"{spread(rate).median:,.0f}",
            f"{spread(rate).least:,.0f}..{spread(rate).most:,.0f}",
            str(ratios(rate, rates[bare])),
            f"{spread(busy_s[way.name]).median * 1e6 * way.share / rows:.2f}",
            f"{largest[way.name]:,}",
        ]
        for way, rate in zip(_WAYS, rates, strict=True)
    ]
    head = [
        "",
        "rows/s",
        "least..most",
        "x psycopg alone",
        "processor s a million",
        "most rows in a transaction",
    ]
    print(table(f"Deleting {rows:,} dependants, one connection", head, lines))
    print(f"\n{machine()}")
    ours = [way.name for way in _WAYS if "the function" in way.name]
    return {
        "rows_per_s": round(spread(rates[0]).median),
        "rows_per_s_expiry": round(spread(rates[1]).median),
        "rows_per_s_item_out_of_carts": round(spread(rates[2]).median),
        "rows_per_s_psycopg_alone": round(spread(rates[bare]).median),
        "processor_s_per_million": round(spread(busy_s[ours[0]]).median * 1e6 / rows, 2),
        "ratio_to_psycopg_alone": round(ratios(rates[0], rates[bare]).median, 3),
        "max_rows_in_a_transaction": max(largest[name] for name in ours),
        "dependants": rows,
    }


def _fill(shop: Shop, way: _Way, rows: int) -> None:
    execute = shop.admin.execute
    execute(b"truncate xpoints.shopping_cart_items, xpoints.inbox, xpoints.notifications, xpoints.outbox")
    parameters = {
        "rows": rows,
        "parents": rows // _LINES_A_CUSTOMER,
        "each": _LINES_A_CUSTOMER,
        "item": _ITEM,
    }
    execute(_FILLS[way.fill], parameters)
    execute(b"vacuum analyze xpoints.shopping_cart_items, xpoints.inbox")
    execute(b"checkpoint")


if __name__ == "__main__":
    run_command(main)
