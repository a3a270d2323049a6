"""The staff's side: items, stock, and a look at customers."""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from domain.stock import MAX_STOCK
from sql.transaction import Transaction
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client

ITEM: dict[str, Any] = {"name": "Teapot", "category": "Kitchen", "points_price": 450, "usd_price": "34.90"}


@pytest.fixture
def staff(api: Api) -> Client:
    return api.as_staff()


def test_an_item_is_added_changed_and_retired(api: Api, shop: Shop, staff: Client) -> None:
    customer = api.as_customer(shop.customer())
    added = staff.post("/staff/items", ITEM, key="add-teapot")
    assert added.status == 201
    assert staff.post("/staff/items", ITEM, key="add-teapot").text == added.text
    path = f"/staff/items/{added.json['item_id']}"
    assert customer.get(f"/catalog/{added.json['item_id']}").json["usd_price"] == "34.90"

    item = staff.get(path)
    assert item.headers["ETag"] == '"1"'
    changed = staff.put(path, {**ITEM, "points_price": 400}, If_Match='"1"')
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    assert staff.put(path, ITEM, If_Match='"1"').problem == "precondition-failed"
    assert staff.put(path, ITEM).problem == "precondition-required"

    for _ in range(2):
        assert staff.delete(path).status == 204
    assert staff.get(path).json["retired_at"] is not None
    assert staff.put(path, ITEM, If_Match='"3"').problem == "item-retired"
    assert customer.get("/catalog").json["items"] == []
    messages = shop.rows("select detail from xpoints.outbox where event_type = 'CatalogItemRetired.v1'")
    assert [json.loads(detail)["aggregate_version"] for (detail,) in messages] == [3]


def test_the_search_finds_an_item_by_what_it_says_now(api: Api, shop: Shop, staff: Client) -> None:
    customer = api.as_customer(shop.customer())

    def found(**query: str) -> list[str]:
        return [item["name"] for item in customer.get("/catalog", query).json["items"]]

    path = f"/staff/items/{staff.post('/staff/items', ITEM).json['item_id']}"
    assert found(q="teapot") == found(category="Kitchen") == ["Teapot"]

    staff.put(path, {**ITEM, "name": "Kanne", "description": "For tea"}, If_Match='"1"')
    assert found(q="teapot") == []
    assert found(q="tea kan") == found(category="Kitchen") == ["Kanne"]
    assert shop.rows("select word from xpoints.item_words order by word") == [
        ("for",), ("kanne",), ("tea",),
    ]  # fmt: skip

    staff.delete(path)
    assert found(q="kanne") == []
    assert shop.rows("select 1 from xpoints.item_words") == []


@pytest.mark.parametrize("field", ["name", "description"])
def test_an_item_of_nothing_but_one_letter_words_or_one_long_word_is_stored(
    staff: Client, field: str
) -> None:
    most = {"name": 50, "description": 200}[field]
    for text in (" ".join("abcdefghijklmnopqrstuvwxyz0123456789" * 6)[:most].strip(), "ﷺ" * most):
        assert staff.post("/staff/items", {**ITEM, field: text}).status == 201


def test_an_item_with_a_picture_that_is_not_there_is_refused(shop: Shop, staff: Client) -> None:
    assert staff.post("/staff/items", {**ITEM, "thumbnail_id": str(uuid4())}).problem == "unknown-image"
    image_id = shop.scalar("insert into xpoints.images (filename) values ('a.svg') returning id")
    assert staff.post("/staff/items", {**ITEM, "thumbnail_id": str(image_id)}).status == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("points_price", -1),
        ("points_price", 2**63),
        ("points_price", "450"),
        ("usd_price", "1e9"),
        ("usd_price", "1234567.00"),
        ("usd_price", 34.9),
        ("rating", 5.1),
        ("weight", -0.1),
        ("weight", 1e300),
        ("name", ""),
        ("name", "a\0"),
        ("name", "a\u061cb"),
        ("name", " "),
        ("name", "\u3000 \u00a0"),
        ("category", "  "),
        ("thumbnail_id", "1"),
        ("colour", "red"),
    ],
)
def test_values_that_no_item_may_have_are_named(staff: Client, field: str, value: object) -> None:
    answer = staff.post("/staff/items", {**ITEM, field: value})
    assert answer.problem == "invalid-request"
    assert [error["pointer"] for error in answer.json["errors"]] == [f"/{field}"]


@pytest.mark.parametrize(("sent", "stored"), [(1e-50, 0.0), (0.1, 0.1), (4.3, 4.3), (5, 5.0)])
def test_measures_are_stored_as_precisely_as_their_columns_are(
    staff: Client, sent: float, stored: float
) -> None:
    added = staff.post("/staff/items", {**ITEM, "weight": sent, "rating": sent})
    item = staff.get(f"/staff/items/{added.json['item_id']}").json
    assert (item["weight"], item["rating"]) == (stored, stored)


@pytest.mark.parametrize("text", ['{"name": NaN}', '{"rating": Infinity, "name": "a", "points_price": 1}'])
def test_numbers_that_json_does_not_have_are_refused(staff: Client, text: str) -> None:
    answer = staff.send("POST", "/staff/items", text=text, headers={"Idempotency-Key": "nan-12345"})
    assert answer.problem in ("invalid-request", "malformed-request")


@pytest.fixture
def answers_lost(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens once a COMMIT is done of which nobody hears: one entry for each that is lost."""
    then: list[Callable[[], object]] = []
    commit = Transaction.commit

    def commit_and_lose(self: Transaction, *statements: Any) -> Any:
        written = commit(self, *statements)
        if then:
            then.pop(0)()
            raise psycopg.OperationalError("the connection was lost")
        return written

    monkeypatch.setattr(Transaction, "commit", commit_and_lose)
    return then


def test_an_item_change_whose_answer_is_lost_is_found_and_not_refused(
    shop: Shop, staff: Client, answers_lost: list[Callable[[], object]]
) -> None:
    path = f"/staff/items/{shop.item()}"
    body = {**ITEM, "rating": 4.3, "weight": 0.1234567891}
    answers_lost.append(lambda: None)

    for _ in range(2):  # the function's own second attempt, then the client's
        changed = staff.put(path, body, If_Match='"1"')
        assert (changed.status, changed.headers["ETag"], changed.json["version"]) == (200, '"2"', 2)
    assert staff.put(path, {**body, "rating": 4.4}, If_Match='"1"').problem == "precondition-failed"


def test_stock_whose_setting_is_sent_again_does_not_bring_back_what_was_sold(
    api: Api, shop: Shop, staff: Client, answers_lost: list[Callable[[], object]]
) -> None:
    item_id = shop.item(10)
    path, body = f"/staff/items/{item_id}/stock", {"available": 5}
    buyer = api.as_customer(shop.customer())

    def buy() -> None:
        buyer.put(f"/cart/items/{item_id}", {"quantity": 2})
        assert buyer.post("/orders", {"expected_total_points": 20}).status == 201

    answers_lost.append(buy)
    for replayed in ("false", "true"):
        answer = staff.put(path, body, key="delivery-7")
        assert (answer.status, answer.json) == (200, {"available": 5, "slots": 1})
        assert answer.headers["Idempotency-Replayed"] == replayed
        assert shop.scalar("select available from xpoints.stock") == 3
    assert staff.put(path, {"available": 6}, key="delivery-7").problem == "idempotency-key-reused"
    assert staff.put(path, body).problem == "idempotency-key-missing"


def test_stock_is_laid_into_slots_set_again_and_lifted(api: Api, shop: Shop, staff: Client) -> None:
    customer = api.as_customer(shop.customer())
    item_id = shop.item()
    path = f"/staff/items/{item_id}/stock"

    def put(body: dict[str, object]) -> Any:
        return staff.put(path, body, key=str(uuid4())).json

    for _ in range(2):
        assert put({"available": 10, "slots": 4}) == {"available": 10, "slots": 4}
        assert shop.rows("select slot, available from xpoints.stock order by slot") == [
            (0, 3), (1, 3), (2, 2), (3, 2),
        ]  # fmt: skip
    assert put({"available": 2, "slots": 4}) == {"available": 2, "slots": 2}
    assert shop.count("stock") == 2
    assert put({"available": 0}) == {"available": 0, "slots": 1}
    assert customer.get(f"/catalog/{item_id}").json["available"] == 0
    assert put({"available": None}) == {"available": None, "slots": 0}
    assert customer.get(f"/catalog/{item_id}").json["available"] is None
    unknown = staff.put(f"/staff/items/{uuid4()}/stock", {"available": 1}, key=str(uuid4()))
    assert unknown.problem == "unknown-item"


def test_stock_is_not_adjusted_beyond_what_an_item_may_have(shop: Shop, staff: Client) -> None:
    item_id = shop.item(stock=[MAX_STOCK - 1, 0])
    path = f"/staff/items/{item_id}/stock/adjustments"

    assert staff.post(path, {"delta": 2}).problem == "stock-limit"
    assert staff.post(path, {"delta": 1}).json["available"] == MAX_STOCK


def test_stock_is_adjusted_once_a_key_and_never_below_nothing(shop: Shop, staff: Client) -> None:
    item_id = shop.item(stock=[5, 0, 1])
    path = f"/staff/items/{item_id}/stock/adjustments"

    for _ in range(2):
        assert staff.post(path, {"delta": 6}, key="delivery-1").json["available"] == 12
    assert shop.rows("select available from xpoints.stock order by slot") == [(4,), (4,), (4,)]
    assert staff.post(path, {"delta": -11}).json["available"] == 1
    assert staff.post(path, {"delta": -2}).problem == "stock-too-low"
    assert staff.post(path, {"delta": 0}).problem == "invalid-request"
    assert (
        staff.post(f"/staff/items/{shop.item()}/stock/adjustments", {"delta": 1}).problem == "stock-unlimited"
    )
    assert staff.post(f"/staff/items/{uuid4()}/stock/adjustments", {"delta": 1}).problem == "unknown-item"


def test_staff_find_a_customer_and_their_orders(api: Api, shop: Shop, staff: Client) -> None:
    customer = shop.customer(100, "ana")
    client, item_id = api.as_customer(customer), shop.item(10)
    client.put(f"/cart/items/{item_id}", {"quantity": 1})
    order_id = client.post("/orders", {"expected_total_points": 10}).json["order_id"]

    assert staff.get("/staff/customers", {"username": "ana"}).json["customers"] == [
        {"customer_id": str(customer), "username": "ana", "balance": 90, "status": "ACTIVE"}
    ]
    assert staff.get("/staff/customers", {"username": "nobody"}).json["customers"] == []
    assert staff.get("/staff/customers").problem == "invalid-request"
    orders = staff.get(f"/staff/customers/{customer}/orders").json["orders"]
    assert [order["order_id"] for order in orders] == [order_id]
    order = staff.get(f"/staff/customers/{customer}/orders/{order_id}")
    followed = client.get(f"/orders/{order_id}").json
    # What only the page that follows an order asks for: its progress, and pictures with their own addresses.
    for name in ("cart_cleaned_at", "confirmation", "confirmed_at"):
        del followed[name]
    for line in followed["lines"]:
        del line["picture_url"]
    assert order.json == followed
    assert staff.get(f"/staff/customers/{uuid4()}/orders/{order_id}").problem == "unknown-order"


def test_no_staff_route_serves_a_customer(api: Api, shop: Shop) -> None:
    customer = api.as_customer(shop.customer())
    pretender = Client({**customer.claims, "cognito:groups": "staffing,not-staff"})
    some_id = str(uuid4())
    from handlers import staff as module

    for client in (customer, pretender):
        for method, resource in module.handler.routes:
            path = resource
            for name in ("item_id", "customer_id", "order_id"):
                path = path.replace("{" + name + "}", some_id)
            assert client.send(method, path, body={}).problem == "forbidden", (method, resource)


def test_a_customers_order_is_no_others(api: Api, shop: Shop) -> None:
    owner, thief = shop.customer(), shop.customer()
    item_id = shop.item(10)
    client: Client = api.as_customer(owner)
    client.put(f"/cart/items/{item_id}", {"quantity": 2})
    order_id: UUID = client.post("/orders", {"expected_total_points": 20}, key="shared-key").json["order_id"]
    before = shop.contents()

    other = api.as_customer(thief)
    assert other.get(f"/orders/{order_id}").problem == "unknown-order"
    assert other.post(f"/orders/{order_id}/cancel").problem == "unknown-order"
    assert other.post(f"/orders/{order_id}/refunds", {}).problem == "unknown-order"
    assert other.post("/orders", {"expected_total_points": 20}, key="shared-key").problem == "empty-cart"
    assert other.get("/cart").json["lines"] == []
    assert shop.contents() == before
