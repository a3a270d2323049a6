"""One shop in two Regions: the same cart in both, and the page that goes on when one is lost.

The last test of the file kills a Region: nothing here may come after it.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import PATIENCE_MS, POINTS, Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]


def test_what_goes_into_the_cart_in_one_region_shows_in_the_other(world: World, screen: Open) -> None:
    item = world.shop.item(100, "Everywhere Mug")
    shop = screen(at=world.away, address=f"/item/{item}")
    regions = shop.page.get_by_label("Region")
    expect(regions).to_have_value("us-east-2")
    shop.button("Add to the cart").click()
    expect(shop.cart_badge()).to_have_text("1")
    answers: list[Any] = []
    shop.page.on("response", lambda answer: answers.append(answer) if "/v1/" in answer.url else None)
    regions.select_option("us-east-1")
    expect(shop.live).to_contain_text("You are in us-east-1 now")
    shop.button("Add to the cart").click()
    expect(shop.cart_badge()).to_have_text("2")
    assert answers
    assert all(answer.url.startswith(world.home.api_url) for answer in answers)
    assert all(answer.ok for answer in answers)


def test_who_comes_while_a_region_cannot_serve_signs_in_at_the_other(world: World, screen: Open) -> None:
    entrance = screen(signed_in=False)  # one Region: there is nothing to choose
    entrance.expect_heading("Sign in")
    expect(entrance.page.get_by_label("Region")).to_have_count(0)
    context = world.browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.route(f"{world.away.api_url}/health", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(world.away.pages_url)
    expect(page.get_by_label("Region")).to_have_value("us-east-1")
    expect(page.locator(".notice")).to_contain_text(
        "us-east-2 does not answer. You are going on in us-east-1"
    )
    context.close()


def test_when_a_region_is_lost_the_order_goes_on_in_the_other_with_the_same_key(
    world: World, screen: Open
) -> None:
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(100, "Rescued Mug"): 1})
    shop = screen(member, at=world.away)
    shop.page.get_by_label("Region").select_option("us-east-1")
    shop.go("/cart")
    shop.button("Order").click()
    sent: list[Any] = []
    shop.page.on(
        "request",
        lambda request: (
            sent.append(request) if request.method == "POST" and request.url.endswith("/orders") else None
        ),
    )
    world.home.kill()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    expect(shop.page.locator(".notice")).to_contain_text("us-east-1 does not answer")
    expect(shop.page.get_by_label("Region")).to_have_value("us-east-2")
    # The page may have noticed the loss by another request, and the other Region may be slow to answer.
    orders = [f"{region.api_url}/orders" for region in (world.home, world.away)]
    assert sent[-1].url == orders[1]
    assert {request.url for request in sent} <= set(orders)
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    assert (world.orders(member), world.balance(member)) == (1, POINTS - 100)
