"""A small shop in a test's database, and what must hold in it whatever happens."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from domain.checkout import AcceptedOrder
from domain.events import Envelope
from domain.idempotency import Request
from domain.search import item_words
from sql.connection import Connection
from sql.transactions.place_order import PlaceOrder

REGION = "us-east-1"


@dataclass(frozen=True)
class Shop:
    """Puts things into the database the way the fixtures may: directly."""

    connection: Connection

    def item(self, points: int = 10, name: str = "Mug", stock: Sequence[int] | None = None) -> UUID:
        """Add a catalogue item; `stock` gives the units in each slot of a limited one."""
        item_id = uuid4()
        self.connection.execute(
            "insert into xpoints.catalog_items (id, name, category, points_price) "
            "values (%s, %s, 'Home', %s)",
            (item_id, name, points),
        )
        for word in item_words(name, None):
            self.connection.execute("insert into xpoints.item_words values (%s, %s)", (item_id, word))
        for slot, available in enumerate(stock or ()):
            self.connection.execute(
                "insert into xpoints.stock (item_id, slot, available) values (%s, %s, %s)",
                (item_id, slot, available),
            )
        return item_id

    def customer(
        self, points: int = 1000, username: str | None = None, customer_id: UUID | None = None
    ) -> UUID:
        """Add a customer with an opening balance, which is a ledger entry like any other."""
        customer_id = customer_id or uuid4()
        username = username or f"user_{customer_id.hex[:12]}"
        self.connection.execute(
            "insert into xpoints.customers (id, username, first_name, email) values (%s, %s, 'Ana', %s)",
            (customer_id, username, f"{username}@example.com"),
        )
        self.connection.execute(
            "insert into xpoints.points_balances (customer_id, points_balance) values (%s, %s)",
            (customer_id, points),
        )
        self.connection.execute(
            "insert into xpoints.transactions (customer_id, tx_type, points, balance_after) "
            "values (%s, 'OPENING', %s, %s)",
            (customer_id, points, points),
        )
        return customer_id

    def staff_member(self, username: str | None = None) -> UUID:
        """Add a customer who is one of the staff."""
        customer_id = self.customer(username=username)
        self.connection.execute("insert into xpoints.staff_members (customer_id) values (%s)", [customer_id])
        return customer_id

    def record_event(self, event: Envelope[Any]) -> None:
        """Write an event of an order into the order's history, as what announces it does."""
        self.connection.execute(
            "insert into xpoints.order_events "
            "(order_id, version, event_id, event_type, points, lines, occurred_at) "
            "values (%s, %s, %s, %s, 0, '[]', %s)",
            (event.aggregate_id, event.aggregate_version, event.id, event.type, event.occurred_at),
        )

    def fill_cart(self, customer_id: UUID, quantities: dict[UUID, int]) -> None:
        """Put items into a cart."""
        for item_id, quantity in quantities.items():
            self.connection.execute(
                "insert into xpoints.shopping_cart_items (customer_id, item_id, quantity) "
                "values (%s, %s, %s)",
                (customer_id, item_id, quantity),
            )

    def count(self, table: str) -> int:
        """Count a table's rows."""
        return int(self.scalar(f"select count(*) from xpoints.{table}"))

    def scalar(self, query: str, parameters: Iterable[Any] = ()) -> Any:
        """Give the one value that a query yields."""
        row = self.connection.execute(query.encode(), tuple(parameters)).fetchone()
        assert row is not None
        return row[0]

    def rows(self, query: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Give the rows that a query yields."""
        return self.connection.execute(query.encode(), tuple(parameters)).fetchall()

    def balance(self, customer_id: UUID) -> int:
        """Give a customer's balance."""
        return int(
            self.scalar(
                "select points_balance from xpoints.points_balances where customer_id = %s", [customer_id]
            )
        )

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """Give everything that a checkout may write, to see that nothing was."""
        tables = (
            "points_balances transactions orders order_items idempotency_records outbox stock "
            "shopping_cart_items"
        )
        return {table: self.rows(f"select * from xpoints.{table} order by 1, 2") for table in tables.split()}

    def assert_sound(self) -> None:
        """Assert the invariants of money: balances, ledger, orders and messages agree."""
        assert (
            self.rows(
                "select b.customer_id from xpoints.points_balances b left join xpoints.transactions t "
                "on t.customer_id = b.customer_id group by b.customer_id, b.points_balance "
                "having b.points_balance <> coalesce(sum(t.points), 0)"
            )
            == []
        ), "every balance is the sum of its ledger"
        assert (
            self.rows(
                "select o.id from xpoints.orders o left join xpoints.transactions t "
                "on t.id = o.id and t.points = -o.total_points and t.tx_type = 'PURCHASE' where t.id is null"
            )
            == []
        ), "every order has its debit"
        assert (
            self.rows(
                "select o.id from xpoints.orders o left join xpoints.order_items l on l.tx_id = o.id "
                "group by o.id, o.total_points having o.total_points <> sum(l.unit_cnt * l.unit_points_price)"
            )
            == []
        ), "every order costs what its lines cost"
        messages = [
            json.loads(detail)["data"]["order_id"]
            for (detail,) in self.rows(
                "select detail from xpoints.outbox where event_type = 'OrderPlaced.v1'"
            )
        ]
        orders = [str(order_id) for (order_id,) in self.rows("select id from xpoints.orders")]
        assert sorted(messages) == sorted(orders), "every order has one message (nothing relays here)"


def order_command(
    customer_id: UUID, expected_points: int, key: str = "key-12345", body: str = "same"
) -> PlaceOrder:
    """Give the command that the checkout's handler would make."""
    return PlaceOrder(
        request=Request(customer_id=customer_id, key=key, hash=f"1:{body}", result_id=uuid4()),
        expected_points=expected_points,
        now=datetime.now(UTC),
        region=REGION,
        correlation_id="test",
    )


def render(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
    """Render an order as shortly as possible."""
    return 201, json.dumps({"order_id": str(command.request.result_id), "total": order.total_points})
