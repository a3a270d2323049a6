"""What holds for every route, asked of the tables of routes, so that a new one cannot be forgotten."""

from typing import Any
from uuid import UUID

import pytest
from psycopg import OperationalError

from api.document import make, routes
from api.examples import EXAMPLES
from domain.email import hash_code
from handlers.edge.http import Route
from sql.transaction import Transaction
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client, staff_client

Named = tuple[str, Route]

ROUTES = dict(routes())

#: Routes that ask who calls.
OF_CALLERS = sorted(name for name, route in ROUTES.items() if not route.is_public)

WRITES = sorted(name for name, route in ROUTES.items() if route.method != "GET")


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the statements that transactions sent, exchange by exchange."""
    sent: list[list[str]] = []
    exchange = Transaction._exchange

    def counted(self: Transaction, statements: Any, committing: bool = False) -> Any:
        sent.append([one.query.name for one in statements])
        return exchange(self, statements, committing)

    monkeypatch.setattr(Transaction, "_exchange", counted)
    return sent


class Sent:
    """Asks for operations by name, about one customer with an order and a cart, and one item."""

    def __init__(self, api: Api, shop: Shop) -> None:
        self.customer = shop.customer(5000, "ana")
        self.partner = shop.customer(10, "carlos_salazar_121")
        self.item = shop.item(10, stock=[5])
        self.client = api.as_customer(self.customer)
        self.staff_id = shop.staff_member()
        self.staff = staff_client(self.staff_id)
        self.client.put(f"/cart/items/{self.item}", {"quantity": 1})
        self.order: str = self.client.post("/orders", {"expected_total_points": 10}).json["order_id"]
        shop.connection.execute("delete from xpoints.shopping_cart_items")
        shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")
        self.client.put(f"/cart/items/{self.item}", {"quantity": 1})
        shop.connection.execute(
            "insert into xpoints.email_changes (customer_id, change_id, email, code_hash, expires_at) "
            "values (%s, gen_random_uuid(), 'ana@example.com', %s, now() + interval '1 hour')",
            [self.customer, hash_code(EXAMPLES["confirmEmail"]["code"], self.customer)],
        )

    def ask(self, name: str, client: Client | None = None) -> Any:
        """Send the operation with the example that its document shows, in this shop's ids."""
        route = ROUTES[name]
        path = route.resource.format(item_id=self.item, order_id=self.order, customer_id=self.customer)
        body = EXAMPLES.get(name)
        if name == "placeOrder":
            body = {"expected_total_points": 10}
        elif name == "refundOrder":
            body = {"lines": [{"item_id": str(self.item), "quantity": 1}]}
        elif name == "staffBoostHousehold":
            body = {"beneficiary": str(self.partner), "partner": str(self.customer), "below_points": 9000}
        query = {"username": "ana"} if name == "staffFindMembers" else None
        client = client or (self.staff if route.groups else self.client)
        return client.ask(route.method, path, body, query)


@pytest.fixture
def sent(api: Api, shop: Shop) -> Sent:
    return Sent(api, shop)


def erase(shop: Shop, customer_id: UUID) -> None:
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [customer_id])


def test_the_document_has_no_operation_that_is_not_tried_here() -> None:
    operations = {
        operation["operationId"] for path in make()["paths"].values() for operation in path.values()
    }
    assert operations == set(ROUTES)


@pytest.mark.parametrize("name", OF_CALLERS)
def test_no_route_serves_a_customer_who_is_erased(
    shop: Shop, sent: Sent, exchanges: list[list[str]], name: str
) -> None:
    """The token goes on being good for an hour. Nothing is done, nothing is shown."""
    gone = sent.staff_id if ROUTES[name].groups else sent.customer
    erase(shop, gone)
    before = shop.contents()
    exchanges.clear()

    answer = sent.ask(name)

    assert (answer.status, answer.problem) == (403, "account-closed")
    assert len(exchanges) == 1, "refused with the reading that it takes anyway"
    assert shop.contents() == before


@pytest.mark.parametrize("name", OF_CALLERS)
def test_no_route_serves_one_of_the_staff_who_is_erased(shop: Shop, sent: Sent, name: str) -> None:
    erase(shop, sent.staff_id)
    before = shop.contents()

    assert sent.ask(name, sent.staff).problem == "account-closed"
    assert shop.contents() == before


@pytest.mark.parametrize("name", OF_CALLERS)
def test_no_route_of_the_staff_serves_whoever_is_none_of_them_any_more(
    shop: Shop, sent: Sent, exchanges: list[list[str]], name: str
) -> None:
    """Their token still says so. What every member may do they may go on doing."""
    shop.connection.execute("delete from xpoints.staff_members")
    before = shop.contents()
    exchanges.clear()

    answer = sent.ask(name, sent.staff)

    if ROUTES[name].groups:
        assert (answer.status, answer.problem) == (403, "forbidden")
        assert len(exchanges) == 1, "refused with the reading that it takes anyway"
        assert shop.contents() == before
    else:
        assert answer.status not in (401, 403)


def test_a_route_that_asks_the_database_nothing_admits_callers_too(api: Api, shop: Shop, sent: Sent) -> None:
    assert sent.client.get("/catalog", {"q": "!"}).json["items"] == []
    erase(shop, sent.customer)
    assert sent.client.get("/catalog", {"q": "!"}).problem == "account-closed"


def test_callers_are_admitted_with_what_a_request_reads_anyway_and_once(
    sent: Sent, exchanges: list[list[str]]
) -> None:
    for name in OF_CALLERS:
        exchanges.clear()
        sent.ask(name)
        asked = [sum(one.startswith("find_caller") for one in exchange) for exchange in exchanges]
        assert asked[:1] == [1], name
        assert sum(asked) == 1, name
        assert len(exchanges[0]) > 2 or name == "clearCart", name


def test_whoever_was_let_in_hears_how_their_write_ended(
    api: Api, shop: Shop, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure's own commit goes through and its answer is lost: the next attempt is not sent away."""
    exchange = Transaction._exchange
    lost: list[bool] = []

    def lose(self: Transaction, statements: Any, committing: bool = False) -> Any:
        written = exchange(self, statements, committing)
        if committing and not lost:
            lost.append(True)
            self._connection.close()
            raise OperationalError("the connection was lost")
        return written

    monkeypatch.setattr(Transaction, "_exchange", lose)

    assert sent.client.delete("/account").status == 202
    assert sent.client.delete("/account").problem == "account-closed"


@pytest.mark.parametrize("name", WRITES)
def test_every_write_is_done_in_two_exchanges(sent: Sent, exchanges: list[list[str]], name: str) -> None:
    exchanges.clear()

    answer = sent.ask(name)

    assert answer.status == ROUTES[name].status, answer.text
    # How many codes an address got is asked when it is known which address waits.
    reads = 2 if name == "sendCode" else 1
    assert ["commit" in exchange for exchange in exchanges] == [*[False] * reads, True]


@pytest.mark.parametrize("erased", ["beneficiary", "partner"])
def test_a_household_with_a_member_who_is_erased_gets_no_boost(shop: Shop, sent: Sent, erased: str) -> None:
    gone: UUID = sent.partner if erased == "beneficiary" else sent.customer
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [gone])
    before = shop.contents()

    assert sent.ask("staffBoostHousehold").problem == "unknown-customer"
    assert shop.contents() == before
