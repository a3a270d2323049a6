"""Signing in and out, and a session that ends in the middle of something."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.authenticator import code
from tests.browser.conftest import NOWHERE, Member, Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]


def fill_in(screen: Screen, password: str) -> None:
    screen.page.get_by_label("Username").fill(screen.member.username)
    screen.page.get_by_label("Password").fill(password)
    screen.button("Sign in").click()


def test_the_password_signs_in_and_never_leaves_the_page(world: World, screen: Open) -> None:
    shop = screen(signed_in=False)
    sent: list[str] = []
    shop.page.on("request", lambda request: sent.append(f"{request.url} {request.post_data or ''}"))
    shop.expect_heading("Sign in")
    fill_in(shop, world.password)
    expect(shop.page.locator("li.card").first).to_be_visible()
    assert any("USER_SRP_AUTH" in each for each in sent)
    assert not any(world.password in each for each in sent)
    kept = shop.page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})")
    assert world.password not in kept


def test_a_wrong_password_is_said_and_announced_and_no_more_is_told(screen: Open) -> None:
    shop = screen(signed_in=False)
    fill_in(shop, "Wrong-Password-1")
    expect(shop.alert).to_contain_text("do not fit")
    shop.page.get_by_label("Username").fill("nobody_of_that_name")
    shop.button("Sign in").click()
    expect(shop.alert).to_contain_text("do not fit")


def test_the_sample_users_are_offered_where_the_deployment_names_them(world: World, screen: Open) -> None:
    shop = screen(signed_in=False)
    shop.button("browser_0").click()
    expect(shop.page.locator("li.card").first).to_be_visible()
    other = screen(at=world.away, signed_in=False)
    other.expect_heading("Sign in")
    expect(other.button("browser_0")).to_have_count(0)


def test_who_was_invited_chooses_a_password_and_a_second_step(world: World, screen: Open) -> None:
    name = f"invited_{uuid4().hex[:8]}"
    invited = Member(name, world.shop.customer(10, name))
    world.home.client("cognito-idp").admin_create_user(
        UserPoolId=world.home.outputs["UserPoolId"],
        Username=name,
        TemporaryPassword="First-Password-1",
        MessageAction="SUPPRESS",
        UserAttributes=[{"Name": "custom:customer_id", "Value": str(invited.customer_id)}],
    )
    shop = screen(invited, signed_in=False)
    fill_in(shop, "First-Password-1")
    own = shop.page.get_by_label("A password of your own")
    own.fill("no-capitals-in-here-1")
    refusals: list[str] = []

    def refuse_once(route: Any) -> None:
        # As Cognito does; the emulator takes any password here.
        if "NEW_PASSWORD" not in (route.request.post_data or "") or refusals:
            route.fallback()
            return
        refusals.append("InvalidPasswordException")
        body = json.dumps({"__type": refusals[0], "message": "Password did not conform with policy"})
        route.fulfill(status=400, body=body, headers={"access-control-allow-origin": "*"})

    shop.page.route("**/*", refuse_once)
    shop.button("Sign in").click()
    expect(shop.alert).to_contain_text("will not do")
    own = shop.page.get_by_label("A password of your own")
    own.fill("My-Own-Password-1")
    shop.button("Sign in").click()
    expect(shop.page.locator("li.card").first).to_be_visible()

    shop.go("/account")
    shop.button("Set up an authenticator app").click()
    secret = shop.page.locator(".secret").inner_text().replace(" ", "")
    shop.page.get_by_label("Six digits").fill("000000" if code(secret) != "000000" else "111111")
    shop.button("Ask me for it from now on").click()
    expect(shop.alert).to_contain_text("not the code")
    shop.page.get_by_label("Six digits").fill(code(secret))
    shop.button("Ask me for it from now on").click()
    expect(shop.live).to_contain_text("asked for a code")

    shop.button("Sign out").click()
    shop.expect_heading("Sign in")
    shop.page.get_by_label("Username").fill(f" {name.upper()} ")
    shop.page.get_by_label("Password").fill("My-Own-Password-1")
    shop.button("Sign in").click()
    shop.page.get_by_label("Code").fill(code(secret))
    shop.button("Sign in").click()
    expect(shop.page.locator("li.card").first).to_be_visible()


def test_signing_out_revokes_and_forgets(world: World, screen: Open) -> None:
    shop = screen(address=NOWHERE)
    shop.page.evaluate("0")
    token = shop.page.evaluate("sessionStorage.getItem('rewards.refresh.us-east-1')")
    shop.button("Sign out").click()
    shop.expect_heading("Sign in")
    assert "rewards.refresh" not in shop.page.evaluate("JSON.stringify({...sessionStorage})")
    cognito = world.home.client("cognito-idp")
    try:
        cognito.initiate_auth(
            ClientId=world.home.outputs["UserPoolClientId"],
            AuthFlow="REFRESH_TOKEN_AUTH",
            AuthParameters={"REFRESH_TOKEN": token},
        )
    except cognito.exceptions.NotAuthorizedException:
        return
    raise AssertionError("the refresh token still works")


def expire(route: Any) -> None:
    """Answer as the gateway does for a token whose hour is over."""
    problem = {"type": "urn:rewards:problem:unauthenticated", "title": "Not signed in", "status": 401}
    route.fulfill(
        status=401,
        body=json.dumps(problem),
        headers={"content-type": "application/problem+json", "access-control-allow-origin": "*"},
    )


def test_an_expired_token_is_renewed_without_a_word(screen: Open) -> None:
    shop = screen(address=NOWHERE)
    refused: list[str] = []

    def first_only(route: Any) -> None:
        refused.append(route.request.url)
        expire(route) if len(refused) == 1 else route.continue_()

    shop.page.route("**/v1/orders?*", first_only)
    shop.go("/orders")
    expect(shop.page.get_by_text("No orders yet")).to_be_visible()
    assert len(refused) == 2


def test_a_session_that_cannot_be_renewed_asks_for_the_password_and_goes_on(
    world: World, screen: Open
) -> None:
    shop = screen(address=NOWHERE)
    item = world.shop.item(100, "Kept Teapot")
    shop.go(f"/item/{item}")
    shop.expect_heading("Kept Teapot")
    # Nothing that was kept is good any more: neither the token in memory nor the one that renews it.
    shop.page.evaluate("sessionStorage.setItem('rewards.refresh.us-east-1', 'dead')")
    dead = {"on": True}
    shop.page.route("**/v1/cart/items/*", lambda route: expire(route) if dead["on"] else route.continue_())
    shop.button("Add to the cart").click()
    dialog = shop.page.get_by_role("dialog", name="Sign in again")
    expect(dialog).to_be_visible()
    dead["on"] = False
    expect(dialog.get_by_label("Username")).to_have_value(shop.member.username)
    dialog.get_by_label("Password").fill(world.password)
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(shop.cart_badge()).to_have_text("1")
    shop.expect_heading("Kept Teapot")


def test_a_region_that_does_not_answer_is_said_and_the_other_is_offered(world: World, screen: Open) -> None:
    shop = screen(at=world.away, signed_in=False)
    shop.expect_heading("Sign in")
    shop.page.route(f"{world.away.endpoint_url}/", lambda route: route.abort())
    fill_in(shop, world.password)
    expect(shop.alert).to_contain_text("us-east-2 does not answer")
    shop.button("Try us-east-1").click()
    fill_in(shop, world.password)
    expect(shop.page.locator("li.card").first).to_be_visible()


@pytest.mark.parametrize("status", [404, 0])
def test_a_shop_that_is_not_set_up_or_out_of_reach_says_so_and_can_be_tried_again(
    screen: Open, status: int
) -> None:
    shop = screen(signed_in=False)
    shop.expect_heading("Sign in")
    shop.page.route("**/config.json", lambda route: route.fulfill(status=status) if status else route.abort())
    shop.page.reload()
    expect(shop.alert).to_contain_text("The shop is not set up" if status else "You are offline")
    expect(shop.page.get_by_label("Username")).to_have_count(0)
    shop.page.unroute("**/config.json")
    shop.button("Try again").click()
    expect(shop.page.get_by_label("Username")).to_be_visible()
