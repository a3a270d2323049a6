"""The account: no change is lost to another, and erasure leaves nothing to spend."""

import json
from typing import Any
from uuid import UUID

import pytest

from sql.transaction import Transaction
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client

INPUT = {"first_name": "Ana", "last_name": "López", "email": "ana@example.com", "city": "Lyon"}


@pytest.fixture
def customer(shop: Shop) -> UUID:
    return shop.customer(300, "ana")


@pytest.fixture
def client(api: Api, customer: UUID) -> Client:
    return api.as_customer(customer)


def test_an_account_is_changed_by_whoever_knows_its_version(client: Client) -> None:
    tag = client.get("/account").headers["ETag"]

    changed = client.put("/account", INPUT, If_Match=tag)

    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    account = client.get("/account").json
    assert {name: account[name] for name in INPUT} == INPUT
    assert (account["version"], account["phone_num"], account["username"]) == (2, None, "ana")


def test_a_change_without_or_with_another_version_is_refused(client: Client) -> None:
    assert client.put("/account", INPUT).problem == "precondition-required"
    for tag in ('"2"', '"0"', 'W/"1"', "1", '"99999999999"', '""', '"0", "2"', 'W/"1", "2"'):
        assert client.put("/account", INPUT, If_Match=tag).problem == "precondition-failed"
    assert client.get("/account").json["version"] == 1


@pytest.mark.parametrize("tags", ["*", '"0", "1"', '"1",W/"1"'])
def test_a_change_may_be_for_several_versions_or_for_any(client: Client, tags: str) -> None:
    assert client.put("/account", INPUT, If_Match=tags).status == 200


def test_a_change_that_is_sent_again_finds_itself_done(client: Client) -> None:
    first = client.put("/account", INPUT, If_Match='"1"')
    again = client.put("/account", INPUT, If_Match='"1"')
    assert (again.status, again.text) == (first.status, first.text)
    assert client.put("/account", {**INPUT, "city": "Nice"}, If_Match='"1"').problem == "precondition-failed"


def test_of_two_changes_at_once_the_second_is_refused(
    shop: Shop, client: Client, customer: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Transaction.read

    def read_then_lose(self: Transaction, *statements: Any) -> object:
        rows = read(self, *statements)
        shop.connection.execute(
            "update xpoints.customers set city = 'Oslo', version = 2 where id = %s and version = 1",
            [customer],
        )
        return rows

    monkeypatch.setattr(Transaction, "read", read_then_lose)

    assert client.put("/account", INPUT, If_Match='"1"').problem == "precondition-failed"
    assert shop.scalar("select city from xpoints.customers where id = %s", [customer]) == "Oslo"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", "a\0b"),
        ("first_name", "right\u202eto left"),
        ("first_name", "two\nlines"),
        ("first_name", "x" * 51),
        ("email", "no address"),
        ("email", "a@b"),
        ("email", "a\u202e@example.com"),
        ("postal_code", "12345678901"),
        ("username", "root"),
        ("version", 7),
        ("customer_id", "0"),
    ],
)
def test_values_that_may_not_stand_in_an_account_are_named(client: Client, field: str, value: object) -> None:
    answer = client.put("/account", {field: value}, If_Match='"1"')
    assert answer.problem == "invalid-request"
    assert [error["pointer"] for error in answer.json["errors"]] == [f"/{field}"]


def test_letters_of_every_script_may_stand_in_a_name(client: Client) -> None:
    for name in ("שלום", "محمد", "Åse-Mørk O'Neill", "李小龍", "क्षितिज"):
        tag = client.get("/account").headers["ETag"]
        assert client.put("/account", {"first_name": name}, If_Match=tag).status == 200
        assert client.get("/account").json["first_name"] == name


def test_an_erased_account_is_not_served_and_has_nothing_to_spend(
    api: Api, shop: Shop, client: Client, customer: UUID
) -> None:
    item_id = shop.item(10)
    client.put(f"/cart/items/{item_id}", {"quantity": 1})
    order_id = client.post("/orders", {"expected_total_points": 10}).json["order_id"]
    other = api.as_customer(shop.customer(50, "bo"))

    answer = client.delete("/account")
    assert (answer.status, answer.json) == (202, {"status": "ERASING"})

    assert client.delete("/account").problem == "account-closed"
    assert client.get("/account").problem == "account-closed"
    assert client.put("/account", INPUT, If_Match='"2"').problem == "account-closed"
    assert client.post(f"/orders/{order_id}/cancel").problem == "account-closed"
    assert client.post("/points/transfers", {"payee_username": "bo", "points": 1}).problem == "account-closed"
    assert other.post("/points/transfers", {"payee_username": "ana", "points": 1}).problem == "unknown-payee"
    assert shop.balance(customer) == 0
    forfeits = "select points, balance_after, tx_description from xpoints.transactions where tx_type = %s"
    assert shop.rows(forfeits, ["FORFEIT"]) == [(-290, 0, "Account closed")]
    messages = shop.rows("select detail from xpoints.outbox where event_type = 'CustomerErased.v1'")
    assert [json.loads(detail)["data"] for (detail,) in messages] == [{"customer_id": str(customer)}]
    shop.assert_sound()


@pytest.mark.parametrize("balance", [0, 300])
def test_a_credit_that_is_under_way_when_the_account_is_erased_is_refused(
    api: Api, shop: Shop, monkeypatch: pytest.MonkeyPatch, balance: int
) -> None:
    """Its first attempt has read the account before the erasure; without a conflict it would leave points."""
    customer = shop.customer(balance)
    read = Transaction.read
    reads = []

    def read_then_erase(self: Transaction, *statements: Any) -> object:
        rows = read(self, *statements)
        reads.append(1)
        if len(reads) == 1:
            assert api.as_customer(customer).delete("/account").status == 202
        return rows

    monkeypatch.setattr(Transaction, "read", read_then_erase)
    answer = api.as_staff().post(f"/staff/customers/{customer}/credits", {"points": 5, "kind": "EARN"})

    assert answer.problem == "unknown-customer"
    assert shop.balance(customer) == 0
    shop.assert_sound()
