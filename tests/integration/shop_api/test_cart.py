"""The cart: what is set is what is seen, whatever was ordered from it meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

import sql.transactions.change_cart as change_cart
from domain.checkout import MAX_ORDER_LINES
from sql.connection import Database
from sql.queries import load
from sql.transaction import RetryPolicy, Transaction
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client


@pytest.fixture
def customer(shop: Shop) -> UUID:
    return shop.customer(100_000)


@pytest.fixture
def client(api: Api, customer: UUID) -> Client:
    return api.as_customer(customer)


def quantities(client: Client) -> dict[str, int]:
    return {line["item_id"]: line["quantity"] for line in client.get("/cart").json["lines"]}


def clean(shop: Shop) -> None:
    """Do what the cleanup does after each order that waits for it."""
    with shop.connection.transaction():
        for customer_id, order_id, item_id, units in shop.rows(
            "select o.customer_id, o.id, l.cat_item_id, l.unit_cnt from xpoints.orders o "
            "join xpoints.order_items l on l.tx_id = o.id where o.cart_cleaned_at is null"
        ):
            key = (units, customer_id, item_id)
            shop.connection.execute(
                "delete from xpoints.shopping_cart_items "
                "where quantity <= %s and customer_id = %s and item_id = %s",
                key,
            )
            shop.connection.execute(
                "update xpoints.shopping_cart_items set quantity = quantity - %s "
                "where customer_id = %s and item_id = %s",
                key,
            )
            shop.connection.execute(
                "update xpoints.orders set cart_cleaned_at = now() where id = %s", [order_id]
            )


def order(client: Client) -> None:
    total = client.get("/cart").json["total_points"]
    assert client.post("/orders", {"expected_total_points": total}).status == 201


def test_setting_a_quantity_twice_is_the_same_as_once(shop: Shop, client: Client) -> None:
    item_id = shop.item()
    for _ in range(2):
        assert client.put(f"/cart/items/{item_id}", {"quantity": 3}).status == 200
    assert quantities(client) == {str(item_id): 3}

    client.put(f"/cart/items/{item_id}", {"quantity": 1})
    assert quantities(client) == {str(item_id): 1}


def test_the_totals_are_live_and_leave_out_what_is_not_for_sale(shop: Shop, client: Client) -> None:
    dear, cheap = shop.item(50), shop.item(5)
    client.put(f"/cart/items/{dear}", {"quantity": 2})
    client.put(f"/cart/items/{cheap}", {"quantity": 3})
    shop.connection.execute("update xpoints.catalog_items set points_price = 6 where id = %s", [cheap])
    assert client.get("/cart").json["total_points"] == 118

    shop.connection.execute("update xpoints.catalog_items set retired_at = now() where id = %s", [dear])
    cart = client.get("/cart").json

    assert (cart["line_count"], cart["unit_count"], cart["total_points"]) == (2, 5, 18)
    assert {line["item_id"]: line["line_points"] for line in cart["lines"]} == {
        str(dear): None,
        str(cheap): 18,
    }


def test_removing_and_clearing_can_be_repeated(shop: Shop, client: Client) -> None:
    first, second = shop.item(), shop.item()
    for item_id in (first, second):
        client.put(f"/cart/items/{item_id}", {"quantity": 1})

    for _ in range(2):
        assert client.delete(f"/cart/items/{first}").status == 200
        assert quantities(client) == {str(second): 1}
    for _ in range(2):
        assert client.delete("/cart").status == 204
        assert quantities(client) == {}
    assert shop.count("shopping_cart_items") == 0


def test_an_item_that_is_not_for_sale_gets_no_line(shop: Shop, client: Client) -> None:
    retired = shop.item()
    shop.connection.execute("update xpoints.catalog_items set retired_at = now()")
    for item_id in (retired, uuid4()):
        assert client.put(f"/cart/items/{item_id}", {"quantity": 1}).problem == "unknown-item"


def test_a_cart_holds_as_many_lines_as_an_order_may_have(shop: Shop, client: Client) -> None:
    items = [shop.item() for _ in range(MAX_ORDER_LINES + 1)]
    for item_id in items[:-1]:
        assert client.put(f"/cart/items/{item_id}", {"quantity": 1}).status == 200
    assert client.put(f"/cart/items/{items[-1]}", {"quantity": 1}).problem == "cart-full"
    assert client.put(f"/cart/items/{items[0]}", {"quantity": 2}).status == 200


def test_a_cart_of_ten_thousand_lines_is_shown_in_part_refused_and_cleared(
    shop: Shop, customer: UUID, client: Client
) -> None:
    shop.connection.execute(
        "with made as (insert into xpoints.catalog_items (name, points_price) "
        "select 'Item ' || n, 1 from generate_series(1, 10000) n returning id) "
        "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) select %s, id, 2 from made",
        [customer],
    )

    cart = client.get("/cart").json
    assert (len(cart["lines"]), cart["line_count"], cart["total_points"]) == (MAX_ORDER_LINES, 10_000, 20_000)
    assert client.post("/orders", {"expected_total_points": 20_000}).problem == "too-many-lines"
    assert client.delete("/cart").status == 204
    assert shop.count("shopping_cart_items") == 0


def test_what_an_order_holds_is_gone_at_once_and_setting_means_what_it_says(
    shop: Shop, client: Client
) -> None:
    item_id = shop.item(10)
    client.put(f"/cart/items/{item_id}", {"quantity": 2})
    order(client)
    assert quantities(client) == {}

    client.put(f"/cart/items/{item_id}", {"quantity": 5})
    assert quantities(client) == {str(item_id): 5}
    clean(shop)
    assert quantities(client) == {str(item_id): 5}


@pytest.mark.parametrize("path", ["/cart", "/cart/items/{item_id}"])
def test_what_is_removed_before_the_cleanup_stays_removed_after_it(
    shop: Shop, client: Client, path: str
) -> None:
    item_id, other = shop.item(10), shop.item(10)
    client.put(f"/cart/items/{item_id}", {"quantity": 2})
    order(client)
    client.put(f"/cart/items/{item_id}", {"quantity": 5})

    client.delete(path.replace("{item_id}", str(item_id)))
    assert quantities(client) == {}
    # A new order of something else must not find the units that the first one still holds.
    client.put(f"/cart/items/{other}", {"quantity": 1})
    order(client)
    clean(shop)
    assert quantities(client) == {}
    client.put(f"/cart/items/{item_id}", {"quantity": 1})
    assert quantities(client) == {str(item_id): 1}


@pytest.mark.parametrize("added", [0, 4])
def test_a_cleanup_that_comes_between_reading_and_writing_makes_the_change_run_again(
    shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch, added: int
) -> None:
    """The line is deleted by the cleanup (nothing was added) or reduced by it (something was)."""
    item_id = shop.item(10)
    client.put(f"/cart/items/{item_id}", {"quantity": 2})
    order(client)
    if added:
        client.put(f"/cart/items/{item_id}", {"quantity": added})
    read = Transaction.read
    attempts = []

    def read_then_clean(self: Transaction, *statements: Any) -> object:
        rows = read(self, *statements)
        attempts.append(1)
        if len(attempts) == 1:
            clean(shop)
        return rows

    monkeypatch.setattr(Transaction, "read", read_then_clean)
    assert client.put(f"/cart/items/{item_id}", {"quantity": 3}).status == 200

    assert quantities(client) == {str(item_id): 3}
    assert len(attempts) == 2, "the first attempt lost to the cleanup"


def test_an_upsert_in_its_place_would_forget_what_the_cleanup_took(
    shop: Shop, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why a line that was there is updated and never upserted: this is how it goes wrong."""
    monkeypatch.setattr(change_cart, "_CHANGE_LINE", load("cart")["insert_line"])
    item_id = shop.item(10)
    client.put(f"/cart/items/{item_id}", {"quantity": 2})
    order(client)
    read = Transaction.read

    def read_then_clean(self: Transaction, *statements: Any) -> object:
        rows = read(self, *statements)
        clean(shop)
        return rows

    monkeypatch.setattr(Transaction, "read", read_then_clean)
    client.put(f"/cart/items/{item_id}", {"quantity": 3})

    assert quantities(client) == {str(item_id): 5}


def test_two_tabs_that_add_the_same_item_at_once_both_succeed(
    shop: Shop, api: Api, customer: UUID, database: Callable[..., Database]
) -> None:
    items = [shop.item() for _ in range(8)]
    barrier = threading.Barrier(4)

    def tab(number: int) -> None:
        way = database("storefront", retries=RetryPolicy(attempts=20, base_s=0.001))
        for item_id in items:
            barrier.wait(20)
            outcome = change_cart.set_quantity(way, customer, item_id, number)
            assert outcome.value.lines > 0  # type: ignore[union-attr]

    with ThreadPoolExecutor(4) as tabs:
        futures = [tabs.submit(tab, n) for n in range(1, 5)]
    failures = [failure for future in futures if (failure := future.exception()) is not None]
    assert [failure for failure in failures if not isinstance(failure, threading.BrokenBarrierError)] == []
    assert shop.count("shopping_cart_items") == len(items)


def test_a_change_tells_what_the_cart_comes_to_and_what_it_took(shop: Shop, client: Client) -> None:
    mug, cap = shop.item(10), shop.item(25)
    client.put(f"/cart/items/{mug}", {"quantity": 2})
    answer = client.put(f"/cart/items/{cap}", {"quantity": 3})
    assert answer.json == {"line_count": 2, "unit_count": 5, "total_points": 95}
    assert (answer.headers["Rewards-Attempts"], answer.headers["Rewards-Round-Trips"]) == ("1", "2")
    order(client)
    # What an order holds has left the cart already.
    assert client.put(f"/cart/items/{mug}", {"quantity": 1}).json == {
        "line_count": 1,
        "unit_count": 1,
        "total_points": 10,
    }
    empty = {"line_count": 0, "unit_count": 0, "total_points": 0}
    assert client.delete(f"/cart/items/{mug}").json == empty
    assert client.delete(f"/cart/items/{mug}").json == empty


def test_the_cart_shows_balance_and_pictures(shop: Shop, client: Client, customer: UUID) -> None:
    item = shop.item(10)
    shop.connection.execute("delete from xpoints.points_balances where customer_id = %s", (customer,))
    client.put(f"/cart/items/{item}", {"quantity": 1})
    cart = client.get("/cart").json
    assert (cart["balance"], cart["lines"][0]["picture_url"]) == (None, None)
    shop.connection.execute("insert into xpoints.points_balances values (%s, 77)", (customer,))
    assert client.get("/cart").json["balance"] == 77


def swapped(shop: Shop, client: Client) -> dict[str, Any]:
    """Give the cart as it was seen before another tab swapped its item for one of the same price."""
    seen = shop.item(100, "Seen")
    client.put(f"/cart/items/{seen}", {"quantity": 1})
    cart: dict[str, Any] = client.get("/cart").json
    client.put(f"/cart/items/{shop.item(100, 'Unseen')}", {"quantity": 1})
    client.delete(f"/cart/items/{seen}")
    return cart


def test_nobody_orders_what_they_did_not_see(shop: Shop, client: Client, customer: UUID) -> None:
    cart = swapped(shop, client)
    body = {"expected_total_points": cart["total_points"], "cart_version": cart["cart_version"]}
    assert client.post("/orders", body).problem == "cart-changed"
    assert shop.count("orders") == 0
    now = client.get("/cart").json
    assert now["total_points"] == cart["total_points"]
    assert now["cart_version"] != cart["cart_version"]
    body["cart_version"] = now["cart_version"]
    assert client.post("/orders", body).status == 201


def test_prices_that_moved_against_each_other_are_a_change(shop: Shop, client: Client) -> None:
    dear, cheap = shop.item(60), shop.item(40)
    for item in (dear, cheap):
        client.put(f"/cart/items/{item}", {"quantity": 1})
    cart = client.get("/cart").json
    for item, price in ((dear, 50), (cheap, 50)):
        shop.connection.execute(
            "update xpoints.catalog_items set points_price = %s where id = %s", (price, item)
        )
    body = {"expected_total_points": 100, "cart_version": cart["cart_version"]}
    assert client.post("/orders", body).problem == "cart-changed"


def test_a_client_that_says_the_total_alone_is_held_to_that(shop: Shop, client: Client) -> None:
    cart = swapped(shop, client)
    assert client.post("/orders", {"expected_total_points": cart["total_points"]}).status == 201
