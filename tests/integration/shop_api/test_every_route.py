"""What holds for every route, asked of the tables of routes, so that a new one cannot be forgotten."""

from typing import Any
from uuid import UUID

import pytest

from api.document import routes
from api.examples import EXAMPLES
from handlers.edge.http import Route
from sql.transaction import Transaction
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api, Client

Named = tuple[str, Route]

ROUTES = dict(routes())

#: Routes that are not about the caller: the catalogue is the same for everybody, the staff act on others.
NOT_THE_CALLERS = {
    name for name, route in ROUTES.items() if route.resource.startswith(("/catalog", "/staff"))
}

WRITES = sorted(name for name, route in ROUTES.items() if route.method != "GET")


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What transactions sent, exchange by exchange."""
    sent: list[str] = []

    def counted(name: str) -> None:
        original = getattr(Transaction, name)

        def send(self: Transaction, *statements: Any) -> Any:
            sent.append(name)
            return original(self, *statements)

        monkeypatch.setattr(Transaction, name, send)

    for name in ("read", "commit", "alone"):
        counted(name)
    return sent


class Sent:
    """Asks for operations by name, about one customer with an order and a cart, and one item."""

    def __init__(self, api: Api, shop: Shop) -> None:
        self.customer = shop.customer(5000, "ana")
        self.partner = shop.customer(10, "carlos_salazar_121")
        self.item = shop.item(10, stock=[5])
        self.client = api.as_customer(self.customer)
        self.staff = api.as_staff()
        self.client.put(f"/cart/items/{self.item}", {"quantity": 1})
        self.order: str = self.client.post("/orders", {"expected_total_points": 10}).json["order_id"]
        shop.connection.execute("delete from xpoints.shopping_cart_items")
        shop.connection.execute("update xpoints.orders set cart_cleaned_at = now()")
        self.client.put(f"/cart/items/{self.item}", {"quantity": 1})

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
        return (client or (self.staff if route.groups else self.client)).ask(route.method, path, body)


@pytest.fixture
def sent(api: Api, shop: Shop) -> Sent:
    return Sent(api, shop)


@pytest.mark.parametrize("name", sorted(set(ROUTES) - NOT_THE_CALLERS - {"eraseAccount"}))
def test_no_route_serves_a_customer_who_is_erased(
    shop: Shop, sent: Sent, exchanges: list[str], name: str
) -> None:
    """Erasing again is answered as before, which is a test of its own."""
    if ROUTES[name].method == "GET" and not ROUTES[name].resource.startswith("/account"):
        assert sent.ask(name).status == 200, "served before the erasure"
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [sent.customer])
    before = shop.contents()
    exchanges.clear()

    assert sent.ask(name).problem == "unknown-customer"

    assert len(exchanges) == 1, "refused with the reading that it takes anyway"
    assert shop.contents() == before


@pytest.mark.parametrize("name", WRITES)
def test_every_write_is_done_in_at_most_two_exchanges(sent: Sent, exchanges: list[str], name: str) -> None:
    exchanges.clear()

    answer = sent.ask(name)

    assert answer.status == ROUTES[name].status, answer.text
    assert exchanges == ["read", "commit"]


@pytest.mark.parametrize("erased", ["beneficiary", "partner"])
def test_a_household_with_a_member_who_is_erased_gets_no_boost(shop: Shop, sent: Sent, erased: str) -> None:
    gone: UUID = sent.partner if erased == "beneficiary" else sent.customer
    shop.connection.execute("update xpoints.customers set erased_at = now() where id = %s", [gone])
    before = shop.contents()

    assert sent.ask("staffBoostHousehold").problem == "unknown-customer"
    assert shop.contents() == before
