"""For everybody: keyboard, screen reader, narrow and wide, light and dark, other languages, little motion."""

import importlib.resources
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
WEB = Path(__file__).parents[2] / "web"

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

#: The whole of a layout's shifts, without those that follow a person's own act.
MOST_SHIFT = 0.02

ADDRESSES = ["/", "/cart", "/orders", "/account", "/no-such-page"]


def violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    # No animation half-way: a colour that is about to change has the wrong contrast.
    found = page.evaluate(
        "(rules) => axe.run(document, {runOnly: {type: 'tag', values: rules}})"
        ".then((result) => result.violations.map((one) => `${one.id}: ${one.help}: `"
        " + one.nodes.map((node) => node.html.slice(0, 160)).join(' | ')))",
        RULES,
    )
    return [str(each) for each in found]


def settle(shop: Screen) -> None:
    shop.page.wait_for_load_state("networkidle")
    expect(shop.page.locator("[aria-busy]")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_axe_finds_nothing_on_any_page(world: World, screen: Open, scheme: str, width: int) -> None:
    member = world.member()
    item = world.shop.item(100, "Accessible Armchair", stock=[3])
    gone = world.shop.item(100, "Accessible Absence", stock=[0])
    world.shop.fill_cart(member.customer_id, {item: 2, gone: 1})
    found = []
    entrance = screen(signed_in=False, color_scheme=scheme, reduced_motion="reduce")
    entrance.page.set_viewport_size({"width": width, "height": 800})
    entrance.expect_heading("Sign in")
    found += violations(entrance.page)
    shop = screen(member, color_scheme=scheme, reduced_motion="reduce")
    shop.page.set_viewport_size({"width": width, "height": 800})
    for address in [*ADDRESSES, f"/item/{item}"]:
        shop.go(address)
        if address == "/account":  # its module comes when it is first asked for
            shop.expect_heading("Account")
        settle(shop)
        found += [f"{address}: {each}" for each in violations(shop.page)]
    shop.go("/cart")
    shop.button("Remove Accessible Absence").click()
    shop.button("Order").click()
    found += [f"dialog: {each}" for each in violations(shop.page)]
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    settle(shop)
    found += [f"order: {each}" for each in violations(shop.page)]
    shop.go("/orders")
    expect(shop.page.locator(".order-row")).to_have_count(1)
    found += [f"orders: {each}" for each in violations(shop.page)]
    assert found == []


def _words_asked_for() -> list[list[str]]:
    """Give each word that a module takes: the module, the one that has the word, the name, the path."""
    asked = []
    for module in sorted(WEB.rglob("*.js")):
        text = re.sub(r"/\*.*?\*/", "", module.read_text(encoding="utf-8"), flags=re.DOTALL)
        if "vendor" in module.parts:
            continue
        imports = re.findall(
            r"^import \{ (\w+)(?: as (\w+))? \} from '([^']*words[^']*)';", text, re.MULTILINE
        )
        text = re.sub(r"^import .*$", "", text, flags=re.MULTILINE)
        for name, alias, source in imports:
            place = "/" + (module.parent / source).resolve().relative_to(WEB).as_posix()
            known = {alias or name: ""}
            known |= dict(re.findall(rf"^const (\w+) = {alias or name}((?:\.\w+)+);", text, re.MULTILINE))
            for local, before in known.items():
                for path in sorted(set(re.findall(rf"(?<![\w.'$]){local}((?:\.\w+)+)", text))):
                    asked.append([module.name, place, name, (before + path)[1:]])
    return asked


def test_every_module_of_a_page_loads(screen: Open) -> None:
    modules = [f"/{path.relative_to(WEB).as_posix()}" for path in WEB.rglob("*.js") if path.parent != WEB]
    failed = screen().page.evaluate(
        """(modules) => Promise.all(
            modules.map((one) => import(one).then(() => [], (error) => `${one}: ${error}`))
        ).then((told) => told.flat())""",
        modules,
    )
    assert failed == []


def test_every_word_that_a_page_takes_is_there(screen: Open) -> None:
    asked = _words_asked_for()
    assert len(asked) > 200
    missing = screen().page.evaluate(
        """async (asked) => {
            const missing = [];
            for (const [module, place, name, path] of asked) {
                let at = (await import(place))[name];
                for (const part of path.split('.')) {
                    if (typeof at === 'string' || typeof at === 'function' || Array.isArray(at)) break;
                    at = at?.[part];
                }
                if (at === undefined) missing.push(`${module}: ${path} of ${place}`);
            }
            return missing;
        }""",
        asked,
    )
    assert missing == []


def test_axe_would_find_a_fault(screen: Open) -> None:
    shop = screen()
    settle(shop)
    shop.page.evaluate("document.querySelector('.wallet').removeAttribute('aria-label')")
    shop.page.evaluate("document.querySelector('.wallet').textContent = ''")
    assert any(each.startswith("link-name") for each in violations(shop.page))


def test_nothing_scrolls_sideways_on_a_narrow_screen(world: World, screen: Open) -> None:
    member = world.member()
    item = world.shop.item(123_456, "A" * 50)
    world.shop.fill_cart(member.customer_id, {item: 99})
    shop = screen(member)
    shop.page.set_viewport_size({"width": 320, "height": 640})
    for address in [*ADDRESSES, f"/item/{item}"]:
        shop.go(address)
        if address == "/account":  # its module comes when it is first asked for
            shop.expect_heading("Account")
        settle(shop)
        assert shop.page.evaluate("document.documentElement.scrollWidth") <= 320, address


def press_until(shop: Screen, locator: Any, key: str = "Tab", most: int = 60) -> None:
    for _ in range(most):
        if locator.evaluate("(one) => one === document.activeElement"):
            return
        shop.page.keyboard.press(key)
        width = shop.page.evaluate(
            "parseFloat(getComputedStyle(document.activeElement).outlineWidth) || "
            "(document.activeElement.matches('body, main, h1, .skip, dialog') ? 9 : 0)"
        )
        assert width >= 2, "the focus cannot be seen on " + shop.page.evaluate(
            "document.activeElement.outerHTML"
        )
    raise AssertionError(f"{locator} is not reached by {key}")


def test_a_whole_order_by_keyboard_alone(world: World, screen: Open) -> None:
    world.shop.item(100, "Keyboard Kettle")
    shop = screen(signed_in=False)
    shop.expect_heading("Sign in")
    press_until(shop, shop.page.get_by_label("Username"))
    shop.page.keyboard.type(shop.member.username)
    shop.page.keyboard.press("Tab")
    shop.page.keyboard.type(world.password)
    shop.page.keyboard.press("Enter")
    expect(shop.page.locator("li.card").first).to_be_visible()
    press_until(shop, shop.page.get_by_role("searchbox"))
    shop.page.keyboard.type("Keyboard Kettle")
    shop.page.keyboard.press("Enter")
    add = shop.button("Add Keyboard Kettle to the cart")
    expect(add).to_be_visible()
    press_until(shop, add)
    shop.page.keyboard.press("Enter")
    expect(shop.cart_badge()).to_have_text("1")
    press_until(shop, shop.page.get_by_role("link", name="Cart"), "Shift+Tab")
    shop.page.keyboard.press("Enter")
    shop.expect_heading("Cart")
    expect(shop.page.get_by_role("heading", level=1)).to_be_focused()
    expect(shop.button("Order")).to_be_enabled()
    press_until(shop, shop.button("Order"))
    shop.page.keyboard.press("Enter")
    confirm = shop.page.get_by_role("button", name="Order for")
    press_until(shop, confirm)
    shop.page.keyboard.press("Enter")
    shop.expect_heading("Thank you, it is yours")
    assert world.orders(shop.member) == 1


def test_a_dialog_holds_the_focus_and_gives_it_back(world: World, screen: Open) -> None:
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(100, "Focused Fan"): 1})
    shop = screen(member, address="/cart")
    shop.button("Order").focus()
    shop.page.keyboard.press("Enter")
    dialog = shop.page.get_by_role("dialog")
    for _ in range(6):
        shop.page.keyboard.press("Tab")
        assert dialog.evaluate(
            "(one) => one.contains(document.activeElement) || document.activeElement === document.body"
        )
    shop.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(shop.button("Order")).to_be_focused()


def test_the_first_link_skips_to_the_content(screen: Open) -> None:
    shop = screen()
    shop.page.keyboard.press("Tab")
    skip = shop.page.get_by_role("link", name="Skip to the content")
    for _ in range(3):
        if skip.evaluate("(one) => one === document.activeElement"):
            break
        shop.page.keyboard.press("Shift+Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    shop.page.keyboard.press("Enter")
    expect(shop.page.locator("main")).to_be_focused()
    expect(shop.page.locator("li.card").first).to_be_visible()


def test_with_little_motion_nothing_moves(screen: Open) -> None:
    shop = screen(reduced_motion="reduce")
    settle(shop)
    shop.page.locator("li.card").first.hover()
    moving = shop.page.evaluate(
        "document.getAnimations().filter((one) => one.playState === 'running').length"
    )
    assert moving == 0
    still = screen()
    still.page.locator("li.card").first.hover()
    # The same page moves for whoever did not ask for less.
    assert (
        still.page.evaluate("getComputedStyle(document.querySelector('li.card')).transitionDuration") != "0s"
    )


@pytest.mark.parametrize(
    ("locale", "expected"), [("de-DE", "30.000"), ("en-IN", "30,000"), ("ar-EG", "٣٠٬٠٠٠")]
)
def test_numbers_are_said_in_the_browsers_language(screen: Open, locale: str, expected: str) -> None:
    shop = screen(locale=locale)
    expect(shop.page.locator(".wallet .amount")).to_have_text(expected)


def test_times_are_local_and_tell_utc(world: World, screen: Open) -> None:
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(10, "Timed Timer"): 1})
    shop = screen(member, address="/cart", timezone_id="Asia/Tokyo")
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    placed = shop.page.locator(".history time").first
    assert str(placed.get_attribute("title")).endswith(" UTC")
    hour = shop.page.evaluate("new Date(document.querySelector('.history time').dateTime).getHours()")
    assert f"{hour % 12 or 12}:" in str(placed.text_content())


def test_nobody_looks_and_nothing_is_asked(world: World, screen: Open) -> None:
    """A new order is polled until its confirmation was sent, but not by a page that nobody sees."""
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(10, "Hidden Hat"): 1})
    shop = screen(member, address="/cart")
    hide = (
        "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    asked: list[str] = []

    def still_under_way(route: Any) -> None:
        asked.append(route.request.url)
        answer = route.fetch()
        document = {**answer.json(), "confirmation": "PENDING", "cart_cleaned_at": None}
        route.fulfill(response=answer, json=document)

    shop.page.route("**/v1/orders/*", still_under_way)
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    expect(shop.page.get_by_text("under way").first).to_be_visible()
    shop.page.wait_for_timeout(2500)
    assert len(asked) > 1
    shop.page.evaluate(hide, True)
    shop.page.wait_for_timeout(500)
    before = len(asked)
    shop.page.wait_for_timeout(3000)
    assert len(asked) == before
    shop.page.evaluate(hide, False)
    shop.page.wait_for_timeout(1000)
    assert len(asked) > before


def test_the_page_keeps_still_while_it_loads(screen: Open) -> None:
    shop = screen()
    settle(shop)
    shifted = shop.page.evaluate(
        "() => new Promise((done) => { let sum = 0; new PerformanceObserver((list) => list.getEntries()"
        ".forEach((one) => { if (!one.hadRecentInput) sum += one.value; }))"
        ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(sum), 300); })"
    )
    assert shifted <= MOST_SHIFT
