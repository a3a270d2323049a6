"""What the schema refuses, whatever the code above it decided: the guards that random runs never reach."""

from uuid import UUID, uuid4

import psycopg
import pytest

from sql.scan import MAX_BYTES, MAX_ROWS
from sql.transactions.operations import _MESSAGES_AT_ONCE
from tests.integration.conftest import Connect
from tests.integration.shop import Shop


@pytest.fixture
def sold(connect: Connect) -> tuple[Shop, UUID]:
    """A shop with one limited item, and one order of two of it for 10 points each."""
    shop = Shop(connect())
    item_id, order_id = shop.item(10, stock=[1]), uuid4()
    shop.connection.execute(
        "insert into xpoints.orders (id, customer_id, total_points, region) values (%s, %s, 20, 'us-east-1')",
        (order_id, shop.customer()),
    )
    shop.connection.execute(
        "insert into xpoints.order_items (tx_id, cat_item_id, unit_cnt, unit_points_price) "
        "values (%s, %s, 2, 10)",
        (order_id, item_id),
    )
    return shop, order_id


@pytest.mark.parametrize(
    ("constraint", "statement"),
    [
        ("points_balance_not_negative", "update xpoints.points_balances set points_balance = -1"),
        ("stock_not_negative", "update xpoints.stock set available = available - 2"),
        ("order_items_refund_within_line", "update xpoints.order_items set refunded_cnt = 3"),
        ("order_items_refund_within_line", "update xpoints.order_items set refunded_cnt = -1"),
        ("orders_refund_within_total", "update xpoints.orders set refunded_points = 21"),
        ("orders_status_known", "update xpoints.orders set status = 'LOST'"),
    ],
)
def test_a_change_that_no_decision_may_make_is_refused(
    sold: tuple[Shop, UUID], constraint: str, statement: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        sold[0].connection.execute(statement.encode())


def test_transactions_are_bounded_by_what_dsql_allows() -> None:
    assert MAX_ROWS <= 3000, "changed rows of a transaction (54000)"
    assert MAX_BYTES < 10 * 1024 * 1024, "changed bytes of a transaction, index entries counted"
    assert 2 * _MESSAGES_AT_ONCE * 1024 * 1024 <= MAX_BYTES, "messages put back: each written and deleted"
