"""Reads are cheap: one round trip each, and every table is found by an index once it has rows."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from uuid import UUID

import pytest

from sql.connection import Database
from sql.queries import Statement
from sql.reads import catalogue, orders, points
from sql.transaction import Transaction
from tests.integration.conftest import Connect
from tests.integration.shop import Shop
from tests.integration.shop_api.client import ROLES, Api, Client, staff_client
from tools.proxy import Proxy

CUSTOMERS = 3000
ITEMS = 20_000


@pytest.fixture(scope="module")
def customer() -> UUID:
    return UUID(int=7)


def _fill(shop: Shop, customer: UUID) -> None:
    """Rows enough that reading a table from end to end is the wrong plan; ids as random as real ones."""
    for statement in (
        "insert into xpoints.images (id, filename) "
        "select md5('image' || n)::uuid, n || '.svg' from generate_series(1, {items}) n",
        "insert into xpoints.catalog_items "
        "(id, name, description, category, points_price, rating, thumbnail_id) "
        "select md5('item' || n)::uuid, 'Item ' || md5(n::text), 'Fine', 'Category ' || n % 40, n % 900, "
        "(n % 50) / 10.0, md5('image' || n)::uuid from generate_series(1, {items}) n",
        "insert into xpoints.item_words select id, unnest(array['item', md5(n::text), 'fine']) "
        "from generate_series(1, {items}) n, md5('item' || n) as hex, cast(hex as uuid) as id",
        "insert into xpoints.catalog_images select id, thumbnail_id from xpoints.catalog_items",
        "insert into xpoints.stock select id, s, 5 from xpoints.catalog_items, generate_series(0, 1) s "
        "where points_price % 5 = 0",
        "insert into xpoints.image_urls (image_id, region, presigned_url) "
        "select id, 'us-east-1', 'x' from xpoints.images",
        "insert into xpoints.customers (id, username) "
        "select md5('customer' || n)::uuid, 'user_' || n from generate_series(1, {customers}) n",
        "insert into xpoints.customers (id, username) values ('{customer}', 'seven')",
        "insert into xpoints.points_balances select id, 1000000 from xpoints.customers",
        "insert into xpoints.staff_members (customer_id) "
        "select id from xpoints.customers where username <> 'seven'",
        "insert into xpoints.email_changes (customer_id, change_id, email) "
        "select id, gen_random_uuid(), 'x@example.com' from xpoints.customers",
        "insert into xpoints.transactions (customer_id, tx_type, points, tx_dt) "
        "select id, 'EARN', n, now() - make_interval(hours => n) "
        "from xpoints.customers, generate_series(1, 20) n",
        "insert into xpoints.orders (id, customer_id, total_points, placed_at, region, cart_cleaned_at) "
        "select md5(id || '/' || n)::uuid, id, 10, now() - make_interval(hours => n), 'us-east-1', now() "
        "from xpoints.customers, generate_series(1, 10) n",
        "insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price) "
        "select o.id, md5('item' || n)::uuid, 1, 5 from xpoints.orders o, generate_series(1, 2) n",
        "insert into xpoints.order_events select id, 2, id, 'OrderRefunded.v1', 5, '[]', now() "
        "from xpoints.orders where substr(id::text, 1, 1) < '4'",
        "insert into xpoints.notifications (id, customer_id, event_id, kind, subject, body) "
        "select id, customer_id, id, 'OrderPlaced', '', '' from xpoints.orders",
        "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
        "select c.id, md5('item' || n)::uuid, 1 from xpoints.customers c, generate_series(1, 5) n",
        "analyze",
    ):
        filled = statement.format(items=ITEMS, customers=CUSTOMERS, customer=customer)
        shop.connection.execute(filled.encode())


@pytest.fixture
def full_shop(shop: Shop, customer: UUID) -> Shop:
    _fill(shop, customer)
    return shop


@pytest.fixture
def paths(full_shop: Shop, customer: UUID) -> list[tuple[str, dict[str, str]]]:
    """Every read of the API that a customer or the staff has, with parameters that find something."""
    item = full_shop.scalar("select md5('item1')::uuid")
    order = full_shop.scalar("select id from xpoints.orders where customer_id = %s limit 1", [customer])
    return [
        ("/catalog", {}),
        ("/catalog", {"sort": "points"}),
        *(("/catalog", {"sort": sort, "category": "Category 7"}) for sort in catalogue.LISTS),
        ("/catalog", {"sort": "-rating"}),
        ("/catalog", {"q": "item ab0"}),
        ("/catalog", {"q": "item ab0", "category": "Category 7"}),
        ("/catalog", {"q": "nowhere", "sort": "-rating"}),
        # Of which there are too many to look at them all.
        ("/catalog", {"q": "item", "sort": "points"}),
        ("/catalog", {"q": "item", "category": "Category 7"}),
        (f"/catalog/{item}", {}),
        ("/cart", {}),
        ("/orders", {}),
        (f"/orders/{order}", {}),
        ("/points", {}),
        ("/points/ledger", {}),
        ("/account", {}),
        (f"/staff/items/{item}", {}),
        ("/staff/customers", {"username": "seven"}),
        (f"/staff/customers/{customer}/orders", {}),
        (f"/staff/customers/{customer}/orders/{order}", {}),
    ]


@pytest.fixture
def client(api: Api, shop: Shop, customer: UUID) -> Client:
    shop.connection.execute("insert into xpoints.staff_members (customer_id) values (%s)", [customer])
    return staff_client(customer)


def test_every_read_is_one_round_trip_and_touches_no_table_without_an_index(
    paths: list[tuple[str, dict[str, str]]],
    client: Client,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchanges: list[tuple[Statement[Any], ...]] = []
    exchange = Transaction._exchange

    def counted(self: Transaction, statements: tuple[Statement[Any], ...], committing: bool = False) -> Any:
        sent = [one for one in statements if one.query.name not in ("begin", "commit")]
        exchanges.append(tuple(sent))
        return exchange(self, statements, committing)

    monkeypatch.setattr(Transaction, "_exchange", counted)
    admin = connect()
    for path, query in paths:
        exchanges.clear()
        answer = client.get(path, query)
        assert answer.status == 200, (path, answer.text)
        most = 2 if query.get("q") == "item" else 1
        assert len(exchanges) == most, f"{path} takes {len(exchanges)} exchanges"
        for statement in chain(*exchanges):
            plan = _plan(admin, statement)
            assert "Seq Scan" not in plan, f"{path}: {statement.query.name}\n{plan}"


def _plan(admin: Any, statement: Statement[Any]) -> str:
    rows = admin.execute(b"explain " + statement.query.text, statement.parameters).fetchall()
    return "\n".join(line for (line,) in rows)


def test_no_read_is_planned_anew_at_each_call(
    paths: list[tuple[str, dict[str, str]]], client: Client
) -> None:
    """A server keeps a plan that is as good for any values as those that it made for the first five calls."""
    for path, query in paths:
        for _ in range(8):
            assert client.get(path, query).status == 200
    planned: dict[str, bool] = {}
    for module in ROLES:
        with module._DATABASE.connection() as connection:
            planned |= dict(
                connection.execute(
                    "select name, generic_plans > 0 from pg_prepared_statements "
                    "where statement !~ 'local_dsql'"
                ).fetchall()
            )
    assert len(planned) > 25
    # Of one or two usernames: a plan that is good for any number would read the table.
    anew = {name for name, is_kept in planned.items() if not is_kept and not name.startswith("find_members_")}
    assert anew == set()


def test_a_page_in_the_middle_of_a_list_starts_where_the_last_one_ended(
    full_shop: Shop, customer: UUID, connect: Connect, monkeypatch: pytest.MonkeyPatch, database: Any
) -> None:
    """The place in the list is an index condition and no filter: the last page costs what the first does."""
    sent: list[Statement[Any]] = []
    snapshot = catalogue.snapshot  # type: ignore[attr-defined]

    def seen(way: Database, *statements: Statement[Any]) -> Any:
        sent.extend(statements)
        return snapshot(way, *statements)

    for module in (catalogue, orders, points):
        monkeypatch.setattr(module, "snapshot", seen)
    after_id = UUID("80000000-0000-0000-0000-000000000000")
    way = database("storefront")
    for sort, after in (("name", "Item 8"), ("points", 450), ("-points", 450), ("-rating", 2.5)):
        for category in (None, "Category 7"):
            catalogue.list_items(
                *(way, "us-east-1", sort, after, after_id, [], category, 20),  # type: ignore[arg-type]
            )
    moment = full_shop.scalar("select now() - interval '5 hours'")
    orders.list_orders(way, customer, moment, after_id, 3)
    points.list_ledger(way, customer, moment, after_id, 3)

    admin = connect()
    lists = [statement for statement in sent if "%(after_id)s" in statement.query.text.decode()]
    assert len(lists) == 11
    for statement in lists:
        conditions = re.findall(r"Index Cond: (.*)", _plan(admin, statement))
        places = [one for one in conditions if "ROW(" in one]
        assert places, (statement.query.name, conditions)
        if statement.query in catalogue.CATEGORY_LISTS.values():
            assert "category)::text = 'Category 7'" in places[0], "of no other category is anything read"


@pytest.fixture
def proxied(
    shop: Shop, database: Callable[..., Database], postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Proxy, Database]]:
    with Proxy(postgres.port) as proxy:
        yield proxy, database("storefront", port=proxy.port)


def test_round_trips_counted_on_the_wire(
    api: Api, shop: Shop, proxied: tuple[Proxy, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    from handlers import storefront

    proxy, way = proxied
    monkeypatch.setattr(storefront, "_DATABASE", way)
    client = api.as_customer(shop.customer())
    item_id = shop.item()
    client.get("/catalog")  # connects

    def trips(action: Callable[[], Any]) -> int:
        before = sum(proxy.round_trips)
        assert action().status in (200, 204)
        return sum(proxy.round_trips) - before

    for _ in range(2):  # statements are prepared the first time, which must not cost a trip either
        for path in ("/catalog", f"/catalog/{item_id}", "/cart", "/orders", "/points", "/points/ledger"):
            assert trips(lambda path=path: client.get(path)) == 1, path  # type: ignore[misc]
    for quantity in (1, 2):
        assert trips(lambda: client.put(f"/cart/items/{item_id}", {"quantity": quantity})) == 2  # noqa: B023
    assert trips(lambda: client.delete(f"/cart/items/{item_id}")) == 2
    assert trips(lambda: client.delete("/cart")) == 2
    assert json.loads(client.get("/cart").text)["line_count"] == 0
