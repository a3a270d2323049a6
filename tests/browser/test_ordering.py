"""From the cart to the order, whatever happens in between: one order, one debit, or none and a reason."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import POINTS, Member, Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]

CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Retry-After,Idempotency-Replayed",
    "content-type": "application/problem+json",
}


def at_the_cart(world: World, screen: Open, price: int = 100, **item: Any) -> Screen:
    """Open the cart of a new member that holds one unit of a new item."""
    member: Member = item.pop("member", None) or world.member()
    item_id = world.shop.item(price, item.pop("name", "Ordered Thing"), item.pop("stock", None))
    world.shop.fill_cart(member.customer_id, {item_id: 1})
    shop = screen(member, address="/cart", **item)
    expect(shop.button("Order")).to_be_enabled()
    return shop


def confirm(shop: Screen) -> None:
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()


def expect_placed(shop: Screen) -> None:
    shop.expect_heading("Thank you, it is yours")


def order_requests(shop: Screen) -> list[Any]:
    """Give every POST /orders that the page sends from now on."""
    sent: list[Any] = []
    shop.page.on(
        "request",
        lambda request: (
            sent.append(request) if request.method == "POST" and request.url.endswith("/orders") else None
        ),
    )
    return sent


def problem(kind: str, status: int, **headers: str) -> dict[str, Any]:
    document = {"type": f"urn:rewards:problem:{kind}", "title": kind, "status": status}
    document["instance"] = "urn:rewards:request:test"
    return {"status": status, "body": json.dumps(document), "headers": {**CORS, **headers}}


def test_an_order_is_confirmed_placed_debited_and_listed(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen, price=1_250)
    shop.button("Order").click()
    dialog = shop.page.get_by_role("dialog", name="Confirm your order")
    expect(dialog).to_contain_text("1,250")
    expect(dialog).to_contain_text(f"{POINTS - 1_250:,}")
    dialog.get_by_role("button", name="Order for").click()
    expect_placed(shop)
    shop.page.get_by_text("Behind the counter").click()
    inside = shop.page.locator("details", has_text="2 round trips")
    expect(inside).to_contain_text("at the first attempt")
    expect(shop.page.locator(".wallet .amount")).to_have_text(f"{POINTS - 1_250:,}")
    expect(shop.cart_badge()).to_have_count(0)
    assert world.balance(shop.member) == POINTS - 1_250
    shop.page.get_by_role("link", name="Orders").first.click()
    expect(shop.page.locator(".order-row")).to_have_count(1)
    expect(shop.page.locator(".order-row")).to_contain_text("1,250")


def test_quantities_change_a_line_is_removed_and_an_empty_cart_leads_to_the_shop(
    world: World, screen: Open
) -> None:
    shop = at_the_cart(world, screen, price=100, name="Counted Cup")
    quantity = shop.page.get_by_role("group", name="Quantity of Counted Cup").locator("output")
    shop.button("One Counted Cup more").click()
    expect(quantity).to_have_text("2")
    expect(shop.page.locator(".summary .strong")).to_contain_text("200")
    expect(shop.cart_badge()).to_have_text("2")
    shop.button("One Counted Cup less").click()
    expect(quantity).to_have_text("1")
    expect(shop.button("One Counted Cup less")).to_be_disabled()
    shop.button("Remove Counted Cup").click()
    expect(shop.page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    expect(shop.page.get_by_role("heading", level=1)).to_be_focused()
    shop.page.get_by_role("link", name="Back to the shop").click()
    expect(shop.page.locator("li.card").first).to_be_visible()


def test_a_double_click_orders_once(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen)
    sent = order_requests(shop)
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").dblclick()
    expect_placed(shop)
    assert len(sent) == 1
    assert (world.orders(shop.member), world.balance(shop.member)) == (1, POINTS - 100)


@pytest.mark.parametrize("how", ["lost", "broken off"])
def test_an_answer_that_is_lost_after_the_commit_is_asked_for_again_under_the_same_key(
    world: World, screen: Open, how: str
) -> None:
    shop = at_the_cart(world, screen)
    sent = order_requests(shop)
    answers: list[tuple[int, str]] = []

    def lose_the_first(route: Any) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        answer = route.fetch()
        answers.append((answer.status, answer.headers.get("idempotency-replayed", "")))
        if len(answers) > 1:
            route.fulfill(response=answer)
        elif how == "lost":
            route.abort()
        else:
            route.fulfill(response=answer, body=answer.text()[:20])

    shop.page.route("**/v1/orders", lose_the_first)
    confirm(shop)
    expect(shop.alert).to_contain_text("It is not known whether the order was placed")
    assert world.orders(shop.member) == 1, "the order was committed before its answer was lost"
    shop.button("Ask again").click()
    expect_placed(shop)
    shop.page.get_by_text("Behind the counter").click()
    expect(shop.page.get_by_text("placed no second one")).to_be_visible()
    assert answers == [(201, "false"), (201, "true")]
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    assert (world.orders(shop.member), world.balance(shop.member)) == (1, POINTS - 100)


def test_an_order_whose_outcome_is_unknown_stays_to_be_asked_about(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen)
    sent = order_requests(shop)
    down = {"on": True}
    shop.page.route("**/v1/orders", lambda route: route.abort() if down["on"] else route.fallback())
    confirm(shop)
    expect(shop.button("Ask again")).to_be_visible()
    shop.page.keyboard.press("Escape")
    shop.go("/")
    expect(shop.alert).to_contain_text("No answer came")
    down["on"] = False
    shop.button("Ask again").click()
    expect_placed(shop)
    assert len({request.headers["idempotency-key"] for request in sent}) == 1


def test_offline_nothing_is_sent_and_online_it_goes_on(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen)
    sent = order_requests(shop)
    shop.button("Order").click()
    shop.page.context.set_offline(True)
    expect(shop.page.locator(".banner")).to_contain_text("You are offline")
    shop.page.get_by_role("button", name="Order for").click()
    expect(shop.alert).to_contain_text("Nothing was sent")
    assert sent == []
    shop.page.context.set_offline(False)
    expect(shop.page.locator(".banner")).to_have_count(0)
    shop.page.get_by_role("button", name="Order for").click()
    expect_placed(shop)
    assert world.orders(shop.member) == 1


@pytest.mark.parametrize(
    ("kind", "status"),
    [("too-many-requests", 429), ("temporarily-unavailable", 503), ("temporarily-unavailable", 504)],
)
def test_who_is_told_to_wait_waits_and_sends_the_same_key(
    world: World, screen: Open, kind: str, status: int
) -> None:
    shop = at_the_cart(world, screen)
    shop.page.clock.install()
    sent = order_requests(shop)
    shop.page.route(
        "**/v1/orders",
        lambda route: (
            route.fulfill(**problem(kind, status, **{"retry-after": "5"}))
            if len(sent) == 1
            else route.fallback()
        ),
    )
    confirm(shop)
    expect(shop.page.get_by_role("dialog")).to_contain_text("sent again in")
    expect(shop.page.get_by_role("dialog").locator(".button[aria-busy]")).to_be_disabled()
    shop.page.clock.run_for(5_000)
    expect_placed(shop)
    assert len(sent) == 2
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    assert world.orders(shop.member) == 1


def test_a_fault_of_the_shops_gives_its_number_and_can_be_tried_again(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen)
    sent = order_requests(shop)
    shop.page.route(
        "**/v1/orders",
        lambda route: route.fulfill(**problem("internal-error", 500)) if len(sent) == 1 else route.fallback(),
    )
    confirm(shop)
    expect(shop.alert).to_contain_text("urn:rewards:request:test")
    shop.button("Ask again").click()
    expect_placed(shop)
    assert len({request.headers["idempotency-key"] for request in sent}) == 1


def test_a_price_that_changed_is_shown_before_anything_is_ordered(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen, price=100, name="Dearer Vase")
    shop.button("Order").click()
    world.database.execute(
        "update xpoints.catalog_items set points_price = 140 where id in "
        "(select item_id from xpoints.shopping_cart_items where customer_id = %s)",
        (shop.member.customer_id,),
    )
    shop.page.get_by_role("button", name="Order for 100").click()
    expect(shop.alert).to_contain_text("You saw 100 points; it is 140 points now")
    assert world.orders(shop.member) == 0
    shop.page.get_by_role("button", name="Order for 140").click()
    expect_placed(shop)
    assert world.balance(shop.member) == POINTS - 140


def test_a_cart_that_changed_for_the_same_total_is_shown_before_anything_is_ordered(
    world: World, screen: Open
) -> None:
    shop = at_the_cart(world, screen, price=100, name="Chosen Vase")
    shop.button("Order").click()
    customer = shop.member.customer_id
    world.database.execute("delete from xpoints.shopping_cart_items where customer_id = %s", (customer,))
    world.shop.fill_cart(customer, {world.shop.item(100, "Other Vase"): 1})
    shop.page.get_by_role("button", name="Order for 100").click()
    expect(shop.alert).to_contain_text("It holds something else than you saw")
    expect(shop.page.get_by_role("dialog")).to_contain_text("Other Vase")
    assert world.orders(shop.member) == 0
    shop.page.get_by_role("button", name="Order for 100").click()
    expect_placed(shop)
    expect(shop.page.locator(".line h3")).to_have_text("Other Vase")


def test_the_last_one_is_won_once_and_the_other_keeps_their_points(world: World, screen: Open) -> None:
    item = world.shop.item(500, "Last Seat", stock=[1])
    pages = []
    for _ in range(2):
        member = world.member()
        world.shop.fill_cart(member.customer_id, {item: 1})
        page = screen(member, address="/cart")
        page.button("Order").click()
        pages.append(page)
    for page in pages:
        page.page.get_by_role("button", name="Order for").click()
    for page in pages:
        expect(page.page.get_by_text("Thank you, it is yours").or_(page.alert).first).to_be_visible()
    won = [page for page in pages if world.orders(page.member)]
    (lost,) = [page for page in pages if page not in won]
    assert len(won) == 1
    expect(lost.alert).to_contain_text("Sold out")
    lost.button("Close").click()
    expect(lost.page.locator(".trouble").first).to_contain_text("Sold out")
    expect(lost.button("Order")).to_be_disabled()
    assert world.balance(lost.member) == POINTS


def test_too_few_points_are_named_and_there_is_nothing_to_press(world: World, screen: Open) -> None:
    member = world.member(points=150)
    item = world.shop.item(400, "Dear Clock")
    world.shop.fill_cart(member.customer_id, {item: 1})
    shop = screen(member, address="/cart")
    expect(shop.page.locator(".summary .trouble")).to_contain_text("You need 250 points more")
    expect(shop.button("Order")).to_be_disabled()


def test_an_item_that_is_no_longer_for_sale_is_marked_and_can_be_removed(world: World, screen: Open) -> None:
    shop = at_the_cart(world, screen, name="Retired Radio")
    world.database.execute("update xpoints.catalog_items set retired_at = now() where name = 'Retired Radio'")
    shop.page.reload()
    expect(shop.page.locator(".line .trouble")).to_contain_text("No longer for sale")
    expect(shop.button("Order")).to_be_disabled()
    shop.button("Remove Retired Radio").click()
    expect(shop.page.get_by_role("heading", name="Your cart is empty")).to_be_visible()


def test_a_page_that_is_loaded_again_in_the_middle_of_an_order_finishes_it(
    world: World, screen: Open
) -> None:
    shop = at_the_cart(world, screen)
    sent = order_requests(shop)
    held: list[Any] = []
    shop.page.route(
        "**/v1/orders",
        lambda route: held.append(route) if len(sent) == 1 else route.fallback(),
    )
    with shop.page.expect_request("**/v1/orders"):
        confirm(shop)
    expect(shop.page.get_by_text("Placing your order")).to_be_visible()
    shop.page.reload()
    expect_placed(shop)
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    assert (world.orders(shop.member), world.balance(shop.member)) == (1, POINTS - 100)


def test_an_order_that_was_under_way_is_nobody_elses(world: World, screen: Open) -> None:
    shop = screen()
    shop.page.evaluate(
        "sessionStorage.setItem('rewards.order', "
        "JSON.stringify({username: 'another', key: 'k'.repeat(9), total: 1}))"
    )
    sent = order_requests(shop)
    shop.page.reload()
    expect(shop.page.locator("li.card").first).to_be_visible()
    shop.page.wait_for_load_state("networkidle")
    assert sent == []
