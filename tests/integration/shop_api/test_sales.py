"""One last seat, and a hot drop: as many are sold as there are, whoever comes, and buyers do not queue up."""

import json
from collections.abc import Callable

from demos.sale import PRICE_POINTS, hold_sale
from sql.connection import Database
from tests.integration.conftest import Connect
from tests.integration.shop import Shop
from tests.integration.shop_api.client import Api


def test_of_sixty_buyers_from_two_regions_one_gets_the_last_seat(
    connect: Connect, database: Callable[..., Database], shop: Shop
) -> None:
    sale = hold_sale(connect(), database, units=1, buyers=60)

    scores = {score.outcome: score for score in sale.scores}
    assert {outcome: score.buyers for outcome, score in scores.items()} == {"done": 1, "out-of-stock": 59}
    assert (sale.left, sale.orders, sale.debits) == (0, 1, PRICE_POINTS)
    # Whoever lost to a commit ran again, saw that nothing is left, and was refused cleanly.
    log = shop.rows(
        "select region, outcome, attempts, conflicts, started_at, ended_at from xpoints.request_log"
    )
    assert len(log) == 60
    assert {row[0] for row in log} == {"us-east-1", "us-west-2"}
    assert all(attempts == conflicts + 1 and start <= end for _, _, attempts, conflicts, start, end in log)
    shop.assert_sound()


def test_a_hot_drop_sells_just_what_there_is_from_many_rows(
    connect: Connect, database: Callable[..., Database], shop: Shop
) -> None:
    """1,000 units for 10,000 buyers, at a tenth of the size in both."""
    units, slots = 100, 20
    sale = hold_sale(
        connect(),
        database,
        units,
        buyers=400,
        slots=slots,
        at_once=24,
    )

    assert {score.outcome: score.buyers for score in sale.scores} == {"done": units, "out-of-stock": 300}
    assert (sale.left, sale.orders, sale.debits) == (0, units, units * PRICE_POINTS)
    assert sale.slots_sold_from == slots
    shop.assert_sound()


def test_buyers_of_the_first_units_of_a_drop_change_different_rows(
    connect: Connect, database: Callable[..., Database], shop: Shop
) -> None:
    """While every slot still has units, who buys where is chance: 24 buyers meet on few of 200 rows."""
    spread_out = hold_sale(connect(), database, 1000, buyers=24, slots=200, at_once=24)
    crowded = hold_sale(connect(), database, 1000, buyers=24, slots=1, at_once=24)

    (done,) = spread_out.scores
    assert (done.outcome, done.buyers) == ("done", 24)
    # Counted rows, not time: at most as many buyers met as slots are missing.
    assert spread_out.slots_sold_from >= 18
    assert crowded.slots_sold_from == 1
    messages = shop.rows("select detail from xpoints.outbox where event_type = 'OrderPlaced.v1'")
    assert len({json.loads(detail)["data"]["order_id"] for (detail,) in messages}) == 48


def test_whoever_takes_the_last_unit_says_so_once(api: Api, shop: Shop) -> None:
    item_id = shop.item(10, stock=[2, 1])
    for units, said in ((2, 0), (1, 1)):
        buyer = api.as_customer(shop.customer())
        buyer.put(f"/cart/items/{item_id}", {"quantity": units})
        assert buyer.post("/orders", {"expected_total_points": 10 * units}).status == 201
        messages = shop.rows("select detail from xpoints.outbox where event_type = 'StockExhausted.v1'")
        assert [json.loads(detail)["data"]["item_id"] for (detail,) in messages] == [str(item_id)] * said


def test_an_item_that_sells_out_again_ends_another_sale(api: Api, shop: Shop) -> None:
    """A consumer that goes by versions must not take the second event for the first one come late."""
    item_id = shop.item(10, stock=[1])
    for _ in range(2):
        shop.connection.execute("update xpoints.stock set available = 1")
        buyer = api.as_customer(shop.customer())
        buyer.put(f"/cart/items/{item_id}", {"quantity": 1})
        assert buyer.post("/orders", {"expected_total_points": 10}).status == 201
    messages = shop.rows("select detail from xpoints.outbox where event_type = 'StockExhausted.v1'")
    events = [json.loads(detail) for (detail,) in messages]
    assert [event["aggregate_version"] for event in events] == [1, 1]
    assert len({event["aggregate_id"] for event in events}) == 2
    assert all(event["aggregate_id"] == event["id"] for event in events)
