"""A cart that is changed, ordered and cleaned at the same time ends with what its shopper set last."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from domain.cart import LineFacts, decide_quantity
from domain.checkout import AcceptedOrder
from domain.events import Envelope, OrderPlaced
from sql.connection import Database
from sql.transactions.change_cart import remove_line, set_quantity
from sql.transactions.clean_cart import clean_cart
from sql.transactions.place_order import PlaceOrder, place_order
from tests.integration.conftest import Connect
from tests.integration.shop import Shop, render, wish


def test_a_quantity_set_while_the_cleaner_takes_an_order_that_has_no_line_any_more(
    connect: Connect, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(connect())
    customer_id, item_id = shop.customer(), shop.item(10)
    shop.fill_cart(customer_id, {item_id: 2})

    def remove_meanwhile(command: PlaceOrder, order: AcceptedOrder) -> tuple[int, str]:
        remove_line(database("storefront"), customer_id, item_id)
        return render(command, order)

    place_order(database("checkout"), wish(customer_id, 20), remove_meanwhile)
    assert shop.count("shopping_cart_items") == 0, "removed while it was ordered: units without a line"
    event = Envelope[OrderPlaced].model_validate(json.loads(shop.scalar("select detail from xpoints.outbox")))

    def clean_meanwhile(facts: LineFacts, quantity: int) -> Any:
        clean_cart(database("consumers"), event)
        return decide_quantity(facts, quantity)

    monkeypatch.setattr("sql.transactions.change_cart.decide_quantity", clean_meanwhile)
    set_quantity(database("storefront"), customer_id, item_id, 1)
    assert shop.scalar("select quantity from xpoints.shopping_cart_items") == 1
