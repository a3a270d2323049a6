"""A member's account, past orders, and what is given back."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from demos.shoppers import wait_for
from tests.browser.conftest import POINTS, Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]


def placed_order(world: World, screen: Open, price: int = 100, quantity: int = 3) -> Screen:
    """Open the page of a new order of one line."""
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(price, "Returned Robe"): quantity})
    shop = screen(member, address="/cart")
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    return shop


def test_an_order_is_given_back_by_line_and_then_cannot_be_cancelled(world: World, screen: Open) -> None:
    shop = placed_order(world, screen)
    shop.button("Give back Returned Robe").click()
    dialog = shop.page.get_by_role("dialog")
    expect(dialog).to_contain_text("You get 300 points back")
    dialog.get_by_role("button", name="One Returned Robe less").click()
    dialog.get_by_role("button", name="One Returned Robe less").click()
    expect(dialog).to_contain_text("You get 100 points back")
    dialog.get_by_role("button", name="Give back", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(shop.live).to_contain_text("100 points are back on your balance")
    expect(shop.page.locator(".order-head .tag")).to_have_text("Partly given back")
    expect(shop.page.locator(".line").first).to_contain_text("1 given back")
    expect(shop.button("Cancel the order")).to_have_count(0)
    assert world.balance(shop.member) == POINTS - 200


def test_an_order_is_cancelled_and_its_points_are_back(world: World, screen: Open) -> None:
    shop = placed_order(world, screen)
    shop.button("Cancel the order").click()
    shop.page.get_by_role("dialog").get_by_role("button", name="Cancel the order").click()
    expect(shop.page.locator(".order-head .tag")).to_have_text("Cancelled")
    expect(shop.page.locator(".wallet .amount")).to_have_text(f"{POINTS:,}")
    assert world.balance(shop.member) == POINTS


def test_an_order_that_somebody_else_gave_back_from_says_why_it_cannot_be_cancelled(
    world: World, screen: Open
) -> None:
    shop = placed_order(world, screen)
    shop.look_away()  # it would read the order anew, until its confirmation is sent, and offer no cancelling
    other = screen(shop.member, address=shop.page.url.partition("#")[2])
    other.button("Give back Returned Robe").click()
    other.page.get_by_role("dialog").get_by_role("button", name="Give back", exact=True).click()
    expect(other.page.locator(".order-head .tag")).to_have_text("Given back")
    shop.button("Cancel the order").click()
    shop.page.get_by_role("dialog").get_by_role("button", name="Cancel the order").click()
    expect(shop.alert).to_contain_text("It cannot be cancelled")
    shop.button("Keep it").click()
    # Reading it anew showed what is left: nothing.
    expect(shop.page.locator(".order-head .tag")).to_have_text("Given back")
    expect(shop.button("Give back Returned Robe")).to_have_count(0)
    assert world.balance(shop.member) == POINTS


def lose_answers(shop: Screen, pattern: str) -> list[str]:
    """Have the shop act on what matches and nobody hear of it; gives the keys."""
    keys: list[str] = []

    def lose(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        route.fetch()
        route.abort()

    shop.page.route(pattern, lose)
    return keys


def test_a_give_back_whose_answer_was_lost_is_shown_once_nobody_asks_any_more(
    world: World, screen: Open
) -> None:
    shop = placed_order(world, screen)
    lose_answers(shop, "**/refunds")
    shop.button("Give back Returned Robe").click()
    dialog = shop.page.get_by_role("dialog")
    dialog.get_by_role("button", name="One Returned Robe less").click()
    dialog.get_by_role("button", name="Give back", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("It is not known whether it was done")
    shop.page.unroute("**/refunds")
    shop.button("Keep it").click()
    # The page has read what became of it.
    expect(shop.page.locator(".line").first).to_contain_text("2 given back")
    assert world.balance(shop.member) == POINTS - 100


def test_points_whose_answer_was_lost_are_given_once_though_the_form_is_sent_anew(
    world: World, screen: Open
) -> None:
    payee = world.member()
    shop = screen(address="/account")
    keys = lose_answers(shop, "**/points/transfers")
    shop.page.get_by_label("Username of the member").fill(payee.username)
    shop.page.get_by_label("Points to give").fill("700")
    shop.button("Give").click()
    dialog = shop.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Give", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("It is not known whether it was done")
    dialog.get_by_role("button", name="Cancel").click()
    shop.page.unroute("**/points/transfers")
    with shop.page.expect_request("**/points/transfers") as again:
        shop.button("Give").click()
        dialog.get_by_role("button", name="Give", exact=True).click()
    expect(shop.live).to_have_text(f"{payee.username} has your 700 points.")
    assert again.value.headers["idempotency-key"] == keys[0]
    assert (world.balance(shop.member), world.balance(payee)) == (POINTS - 700, POINTS + 700)


def test_an_order_of_somebody_else_is_not_there(world: World, screen: Open) -> None:
    shop = placed_order(world, screen)
    other = screen(address=shop.page.url.partition("#")[2])
    expect(other.page.get_by_role("heading", name="Nothing here")).to_be_visible()


def test_an_address_is_changed_and_read_again(world: World, screen: Open) -> None:
    shop = screen(address="/account")
    shop.page.get_by_label("City").fill("São Paulo")
    shop.page.get_by_label("Postal code").fill("01310-100")
    shop.button("Save").click()
    expect(shop.live).to_have_text("Your account was changed.")
    shop.page.reload()
    expect(shop.page.get_by_label("City")).to_have_value("São Paulo")


def test_a_wrong_value_is_marked_at_its_field(screen: Open) -> None:
    shop = screen(address="/account")
    shop.page.get_by_label("E-mail").fill("ana@localhost")
    shop.button("Save").click()
    expect(shop.page.get_by_label("E-mail")).to_have_attribute("aria-invalid", "true")
    expect(shop.alert).to_contain_text("Something is not right")


def test_a_change_whose_answer_was_lost_is_no_conflict_with_itself(screen: Open) -> None:
    shop = screen(address="/account")
    shop.page.get_by_label("City").fill("Cusco")

    def lose(route: Any) -> None:
        if route.request.method != "PUT":
            route.fallback()
            return
        route.fetch()
        route.abort()

    shop.page.route("**/v1/account", lose)
    shop.button("Save").click()
    expect(shop.alert).to_contain_text("No answer")
    shop.page.unroute("**/v1/account")
    shop.button("Save").click()
    expect(shop.live).to_have_text("Your account was changed.")
    expect(shop.alert).to_have_count(0)
    expect(shop.page.get_by_label("City")).to_have_value("Cusco")


def test_what_somebody_else_has_made_the_same_meanwhile_is_no_conflict(screen: Open) -> None:
    shop = screen(address="/account")
    shop.page.get_by_label("City").fill("Lima")
    other = screen(shop.member, address="/account")
    for city in ("Quito", "La Paz", "Lima"):
        other.page.get_by_label("City").fill(city)
        with other.page.expect_response(lambda answer: answer.request.method == "PUT"):
            other.button("Save").click()
        expect(other.button("Save")).to_be_enabled()
    with shop.page.expect_response(lambda answer: answer.request.method == "PUT") as told:
        shop.button("Save").click()
    assert told.value.status == 412
    expect(shop.live).to_have_text("Your account was changed.")
    expect(shop.alert).to_have_count(0)


def test_an_account_that_was_changed_elsewhere_shows_both_and_lets_choose(world: World, screen: Open) -> None:
    shop = screen(address="/account")
    shop.page.get_by_label("City").fill("Lima")
    other = screen(shop.member, address="/account")
    other.page.get_by_label("City").fill("Quito")
    other.button("Save").click()
    expect(other.live).to_have_text("Your account was changed.")
    shop.button("Save").click()
    expect(shop.alert).to_contain_text("Changed elsewhere meanwhile")
    row = shop.alert.get_by_role("row").nth(1)
    expect(row).to_contain_text("Lima")
    expect(row).to_contain_text("Quito")
    assert _city(world, shop) == "Quito"
    shop.button("Keep mine").click()
    expect(shop.live).to_have_text("Your account was changed.")
    expect(shop.alert).to_have_count(0)
    assert _city(world, shop) == "Lima"


def test_a_new_address_waits_until_its_code_is_typed(world: World, screen: Open) -> None:
    shop = screen(address="/account")
    present = shop.page.get_by_label("E-mail").input_value()
    address = f"new-{shop.member.username}@example.com"
    shop.page.get_by_label("E-mail").fill(address)
    shop.button("Save").click()
    waits = shop.page.get_by_role("region", name="Confirm your new address")
    expect(waits).to_contain_text(f"A code is on its way to {address}")
    expect(waits).to_contain_text(f"e-mails go to {present}")
    shop.page.reload()
    expect(shop.page.get_by_label("E-mail")).to_have_value(address)

    waits.get_by_label("Code").fill("AAAA-AAAA")
    waits.get_by_role("button", name="Confirm").click()
    expect(waits.get_by_role("alert")).to_contain_text("That is not the code")
    shop.page.get_by_label("City").fill("Lima")
    shop.button("Save").click()
    expect(shop.live).to_have_text("Your account was changed.")

    waits.get_by_label("Code").fill(_code(world, address))
    waits.get_by_role("button", name="Confirm").click()
    expect(shop.live).to_have_text(f"{address} is your address now.")
    expect(waits).to_have_count(0)
    shop.page.reload()
    expect(shop.page.get_by_label("E-mail")).to_have_value(address)
    query = "select email from xpoints.customers where id = %s"
    assert world.shop.scalar(query, (shop.member.customer_id,)) == address


def _code(world: World, address: str) -> str:
    """Read the code in the e-mail to an address, when it has come."""

    def read() -> str:
        mails = [mail["BodyText"] for mail in world.home.emails() if mail["To"] == [address]]
        return "".join(re.findall(r"^  (\w{4}-\w{4})$", "\n".join(mails), re.MULTILINE))

    wait_for("the e-mail with the code", lambda: read() != "")
    return read()


def _city(world: World, shop: Screen) -> Any:
    return world.shop.scalar("select city from xpoints.customers where id = %s", (shop.member.customer_id,))


def test_points_are_given_once_and_stand_in_the_ledger(world: World, screen: Open) -> None:
    payee = world.member()
    shop = screen(address="/account")
    shop.page.get_by_label("Username of the member").fill(payee.username)
    shop.page.get_by_label("Points to give").fill("1200")
    shop.button("Give").click()
    dialog = shop.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Give 1,200 points to {payee.username}?")
    dialog.get_by_role("button", name="Give", exact=True).dblclick()
    expect(dialog).to_be_hidden()
    expect(shop.page.locator(".ledger tbody tr").first).to_contain_text("-1,200")
    expect(shop.page.locator(".ledger tbody tr").first).to_contain_text(f"{POINTS - 1_200:,}")
    assert (world.balance(shop.member), world.balance(payee)) == (POINTS - 1_200, POINTS + 1_200)


def test_a_payee_who_is_not_there_is_said_in_the_dialog(screen: Open) -> None:
    shop = screen(address="/account")
    shop.page.get_by_label("Username of the member").fill("nobody_here")
    shop.page.get_by_label("Points to give").fill("5")
    shop.button("Give").click()
    shop.page.get_by_role("dialog").get_by_role("button", name="Give", exact=True).click()
    expect(shop.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("No such member")


def test_erasing_asks_for_the_name_and_signs_out(world: World, screen: Open) -> None:
    shop = screen(address="/account")
    shop.button("Erase the account").click()
    dialog = shop.page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Erase it for ever")
    expect(go).to_be_disabled()
    dialog.get_by_role("textbox").fill(shop.member.username)
    go.click()
    shop.expect_heading("Sign in")
    expect(shop.live).to_contain_text("Your account is being erased")
    query = "select erased_at is not null from xpoints.customers where id = %s"
    assert world.shop.scalar(query, (shop.member.customer_id,))
