"""Looking around: the shelf, an item, and putting things into the cart."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.browser.conftest import Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]


def test_the_shelf_shows_pictures_that_have_loaded(screen: Open) -> None:
    shop = screen()
    pictures = shop.page.locator("li.card img")
    expect(pictures.nth(7)).to_be_attached()
    for picture in pictures.all()[:8]:
        expect(picture).not_to_have_js_property("naturalWidth", 0)


def test_search_categories_sorting_and_more_stand_in_the_address(world: World, screen: Open) -> None:
    shop = screen()
    cards = shop.page.locator("li.card")
    expect(cards).to_have_count(24)
    shop.button("Show more").click()
    expect(cards).to_have_count(48)

    shop.page.get_by_label("Sort by").select_option("points")
    expect(shop.page).to_have_url(world.home.pages_url + "#/?sort=points")
    expect(cards).to_have_count(24)  # no longer those that were there
    prices = [int(text.replace(",", "")) for text in shop.page.locator("li.card .amount").all_text_contents()]
    assert prices == sorted(prices)

    shop.page.get_by_role("link", name="Kitchen").click()
    expect(shop.page.get_by_role("link", name="Kitchen")).to_have_attribute("aria-current", "true")
    expect(cards.first.locator(".meta")).to_contain_text("Kitchen")

    shop.page.get_by_role("searchbox").fill("mug")
    shop.button("Search").click()
    expect(cards.first.locator("h3")).to_contain_text("Mug")
    expect(
        shop.page.locator("li.card h3").filter(has_not_text=re.compile("mug", re.IGNORECASE))
    ).to_have_count(0)
    shop.page.reload()
    expect(cards.first.locator("h3")).to_contain_text("Mug")
    expect(shop.page.get_by_role("searchbox")).to_have_value("mug")

    shop.page.get_by_role("searchbox").fill("nothing has this name")
    shop.button("Search").click()
    expect(shop.page.get_by_role("heading", name="Nothing found")).to_be_visible()
    shop.page.get_by_role("link", name="Show everything").click()
    expect(cards.first).to_be_visible()


def test_an_item_shows_all_its_pictures_and_goes_back_to_the_shelf_as_it_was(screen: Open) -> None:
    shop = screen(address="/?sort=points&q=mug")
    shop.page.locator("li.card a").first.click()
    thumbnails = shop.page.locator(".thumbs button")
    expect(thumbnails.first).to_be_visible()
    assert thumbnails.count() > 1
    for picture in shop.page.locator(".gallery img").all():
        expect(picture).not_to_have_js_property("naturalWidth", 0)
    shown = shop.page.locator(".gallery > .picture img")
    first = shown.get_attribute("src")
    thumbnails.nth(1).click()
    expect(thumbnails.nth(1)).to_have_attribute("aria-pressed", "true")
    assert shown.get_attribute("src") != first
    shop.page.get_by_role("link", name="Back to the shop").click()
    expect(shop.page.get_by_role("searchbox")).to_have_value("mug")


def test_adding_moves_the_badge_and_is_announced(world: World, screen: Open) -> None:
    name = f"Announced Lamp {uuid4().hex[:4]}"
    world.shop.item(100, name)
    shop = screen(address=f"/?q={name}")
    expect(shop.cart_badge()).to_have_count(0)
    shop.page.wait_for_load_state("networkidle")
    asked: list[str] = []
    shop.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    shop.button(f"Add {name} to the cart").click()
    expect(shop.cart_badge()).to_have_text("1")
    expect(shop.live).to_contain_text(f"{name} is in the cart. 1 unit in all.")
    shop.button(f"Add {name} to the cart").click()
    expect(shop.cart_badge()).to_have_text("2")
    # What the badge says is in the answer: no second request.
    assert [each for each in asked if each.startswith("GET") and each.endswith("/cart")] == []
    shop.go("/cart")
    expect(shop.page.locator(".line")).to_contain_text(name)
    expect(shop.page.locator(".line output")).to_have_text("2")


def test_what_is_sold_out_cannot_be_added_and_what_is_nearly_so_says_it(world: World, screen: Open) -> None:
    tag = uuid4().hex[:6]
    world.shop.item(100, f"Gone {tag}", stock=[0])
    world.shop.item(100, f"Nearly {tag}", stock=[2, 1])
    shop = screen(address=f"/?q={tag}")
    expect(shop.button(f"Sold out: Gone {tag}")).to_be_disabled()
    expect(shop.page.get_by_text("Only 3 left")).to_be_visible()


def test_an_item_that_is_gone_says_so_and_leads_back(world: World, screen: Open) -> None:
    shop = screen(address=f"/item/{uuid4()}")
    expect(shop.page.get_by_text("This item is not in the shop any more.")).to_be_visible()
    shop.page.get_by_role("link", name="Back to the shop").click()
    expect(shop.page.locator("li.card").first).to_be_visible()
    shop.go("/no-such-page")
    expect(shop.page.get_by_role("heading", name="Nothing here")).to_be_visible()


def test_a_picture_that_does_not_load_leaves_a_tile(screen: Open) -> None:
    shop = screen(signed_in=True, address="/?q=mug")
    shop.page.route("**/*picturesbucket*/**", lambda route: route.abort())
    shop.page.reload()
    expect(shop.page.locator("li.card .picture.broken .initial").first).to_be_visible()


def test_names_that_are_html_are_shown_as_text(world: World, screen: Open) -> None:
    tag = uuid4().hex[:6]
    hostile = f"<img src=x onerror=alert(1)> {tag}"
    world.shop.item(100, f"{hostile} A")
    world.database.execute(
        "update xpoints.catalog_items set description = %s where name = %s",
        ("<script>alert(2)</script> javascript:alert(3)", f"{hostile} A"),
    )
    shop = screen(address=f"/?q={tag}")
    dialogs: list[Any] = []
    shop.page.on("dialog", lambda dialog: dialogs.append(dialog))
    expect(shop.page.locator("li.card h3")).to_have_text(f"{hostile} A")
    shop.page.locator("li.card a").click()
    shop.expect_heading(f"{hostile} A")
    expect(shop.page.get_by_text("<script>alert(2)</script>")).to_be_visible()
    shop.button("Add to the cart").click()
    expect(shop.cart_badge()).to_have_text("1")
    shop.go("/cart")
    expect(shop.page.locator(".line h2")).to_have_text(f"{hostile} A")
    assert dialogs == []
