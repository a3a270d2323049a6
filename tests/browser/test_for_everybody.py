"""For everybody: keyboard, screen reader, narrow and wide, light and dark, other languages, little motion."""

import importlib.resources
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import NOWHERE, Screen, World

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
WEB = Path(__file__).parents[2] / "web"

RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
#: What can be wrong in the dark alone: a unit test holds that nothing but colours differs there.
OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}

#: The whole of a layout's shifts, without those that follow a person's own act.
MOST_SHIFT = 0.02

ADDRESSES = ["/", "/cart", "/orders", "/account", NOWHERE]


def violations(page: Any, rules: dict[str, Any] = RULES) -> list[str]:
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE)
    # No animation half-way: a colour that is about to change has the wrong contrast.
    # What a list or a table repeats is looked at some times, not for each of twenty-four items.
    found = page.evaluate(
        "(rules) => axe.run({exclude: ['li.card:nth-child(n+5)', 'tbody tr:nth-child(n+9)']},"
        " {runOnly: rules, resultTypes: ['violations']})"
        ".then((result) => result.violations.map((one) => `${one.id}: ${one.help}: `"
        " + one.nodes.map((node) => node.html.slice(0, 160)).join(' | ')))",
        rules,
    )
    return [str(each) for each in found]


def faults(page: Any, where: str) -> list[str]:
    """Give what axe finds in a page as it stands, narrow and wide, light and dark; `where` is in each."""
    found = []
    for width in (1200, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for scheme, rules in (("light", RULES), ("dark", OF_COLOURS)):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [f"{where}, {scheme}, {width} px: {each}" for each in violations(page, rules)]
    return found


def placed(world: World, screen: Open, name: str, **options: Any) -> Screen:
    """Open the page of a new order of one line."""
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(10, name): 1})
    shop = screen(member, address="/cart", **options)
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    return shop


def settle(shop: Screen) -> None:
    shop.page.wait_for_load_state("networkidle")
    expect(shop.page.locator("[aria-busy]")).to_have_count(0)


def test_axe_finds_nothing_where_somebody_signs_in(world: World, screen: Open) -> None:
    entrance = screen(signed_in=False)
    entrance.expect_heading("Sign in")
    found = faults(entrance.page, "sign in")
    entrance.page.route(
        "**/*", lambda route: route.abort() if route.request.method == "POST" else route.fallback()
    )
    entrance.page.get_by_label("Username").fill("somebody")
    entrance.page.get_by_label("Password").fill("Some-Password-1")
    entrance.button("Sign in").click()
    expect(entrance.alert).to_contain_text("does not answer")
    found += faults(entrance.page, "refused")
    assert found == []


def test_axe_finds_nothing_on_any_page(world: World, screen: Open) -> None:
    member = world.member()
    item = world.shop.item(100, "Accessible Armchair", stock=[3])
    gone = world.shop.item(100, "Accessible Absence", stock=[0])
    world.shop.fill_cart(member.customer_id, {item: 2, gone: 1})
    shop = screen(member)
    found = []
    for address in [*ADDRESSES, "/?q=Accessible", f"/item/{item}"]:
        shop.go(address)
        if address == "/account":  # its module comes when it is first asked for
            shop.expect_heading("Account")
        if "?" in address:  # one that is sold out and one that nearly is
            expect(shop.page.locator("li.card")).to_have_count(2)
        settle(shop)
        found += faults(shop.page, address)
    shop.go("/cart")
    shop.button("Remove Accessible Absence").click()
    shop.button("Order").click()
    found += faults(shop.page, "dialog")
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    settle(shop)
    found += faults(shop.page, "order")
    shop.go("/orders")
    expect(shop.page.locator(".order-row")).to_have_count(1)
    found += faults(shop.page, "orders")
    shop.page.context.set_offline(True)
    expect(shop.page.locator(".banner")).to_be_visible()
    shop.go(f"/item/{gone}")
    expect(shop.alert).to_contain_text("You are offline")
    found += faults(shop.page, "offline")
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
    failed = screen(address=NOWHERE).page.evaluate(
        """(modules) => Promise.all(
            modules.map((one) => import(one).then(() => [], (error) => `${one}: ${error}`))
        ).then((told) => told.flat())""",
        modules,
    )
    assert failed == []


def test_every_word_that_a_page_takes_is_there(screen: Open) -> None:
    asked = _words_asked_for()
    assert len(asked) > 200
    missing = screen(address=NOWHERE).page.evaluate(
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


def test_the_policy_is_in_force_and_a_page_that_offends_it_fails_its_test(screen: Open) -> None:
    shop = screen(address=NOWHERE)
    settle(shop)
    stopped = shop.page.evaluate(
        """() => new Promise((done) => {
            const stopped = new Set();
            addEventListener('securitypolicyviolation', (event) => stopped.add(event.effectiveDirective));
            document.body.setAttribute('style', 'color: red');
            try { document.createElement('p').innerHTML = '<b>text</b>'; } catch { /* that is the policy */ }
            document.body.append(Object.assign(new Image(), { src: 'https://elsewhere.example/a.png' }));
            fetch('https://elsewhere.example/').catch(() => {});
            let looks = 200;
            const look = () => {
                if (stopped.size < 4 && looks--) setTimeout(look, 50);
                else done([...stopped].sort());
            };
            look();
        })"""
    )
    assert stopped == ["connect-src", "img-src", "require-trusted-types-for", "style-src-attr"]
    assert len(shop.said) >= len(stopped)
    shop.said.clear()


def test_axe_would_find_a_fault(screen: Open) -> None:
    shop = screen(address=NOWHERE)
    settle(shop)
    shop.page.evaluate("document.querySelector('.wallet').removeAttribute('aria-label')")
    shop.page.evaluate("document.querySelector('.wallet').textContent = ''")
    assert any(each.startswith("link-name") for each in violations(shop.page))
    # A colour that cannot be read in the dark alone.
    shop.page.evaluate(
        "(rule) => { const sheet = new CSSStyleSheet(); sheet.replaceSync(rule);"
        " document.adoptedStyleSheets = [sheet]; }",
        "h1 { color: light-dark(#000, #222) !important }",
    )
    of_colours = [each for each in faults(shop.page, "page") if "color-contrast" in each]
    assert [each.partition(" px")[0] for each in of_colours] == ["page, dark, 1200", "page, dark, 390"]


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
    ("locale", "expected", "price"),
    [("de-DE", "30.000", "1.500"), ("en-IN", "30,000", "1,500"), ("ar-EG", "٣٠٬٠٠٠", "١٬٥٠٠")],
)
def test_numbers_are_said_in_the_browsers_language(
    world: World, screen: Open, locale: str, expected: str, price: str
) -> None:
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(1_500, "Counted Chair"): 1})
    shop = screen(member, locale=locale, address="/cart")
    expect(shop.page.locator(".wallet .amount")).to_have_text(expected)
    expect(shop.page.locator(".line .amount").first).to_have_text(price)
    # What is counted has the word for one, whatever the digits.
    expect(shop.page.get_by_role("link", name=re.compile("Cart.* unit in the cart"))).to_be_visible()
    expect(shop.page.locator(".summary dt .meta")).to_have_text(re.compile(r"^\S+ unit$"))


def test_times_are_local_and_tell_utc(world: World, screen: Open) -> None:
    shop = placed(world, screen, "Timed Timer", timezone_id="Asia/Tokyo")
    moment = shop.page.locator(".history time").first
    assert str(moment.get_attribute("title")).endswith(" UTC")
    hour = shop.page.evaluate("new Date(document.querySelector('.history time').dateTime).getHours()")
    assert f"{hour % 12 or 12}:" in str(moment.text_content())


def test_nobody_looks_and_nothing_is_asked(world: World, screen: Open) -> None:
    """A new order is polled until its confirmation was sent, but not by a page that nobody sees."""
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(10, "Hidden Hat"): 1})
    shop = screen(member, address="/cart")
    shop.page.clock.install()
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
    with shop.page.expect_response("**/v1/orders/*"):
        shop.pass_time(2)  # the poll goes on while somebody looks
    shop.look_away()
    shop.pass_time(0)  # what was asked before has been counted
    before = len(asked)
    shop.pass_time(60)
    assert len(asked) == before
    with shop.page.expect_response("**/v1/orders/*"):
        shop.look_away(False)


def load_anew(shop: Screen, address: str) -> None:
    """Load the page at an address of its own as if it were the first: nothing is read yet."""
    shop.page.evaluate("(hash) => history.replaceState(null, '', hash)", f"#{address}")
    shop.page.reload()


def shifts(shop: Screen) -> list[tuple[float, str]]:
    """Give the layout's shifts since the page was loaded, and what moved."""
    # What was changed just now counts from the next picture on, which a slow machine draws late.
    found = shop.page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {"
        " const found = []; new PerformanceObserver((list) => list.getEntries()"
        ".filter((one) => !one.hadRecentInput).forEach((one) => found.push([one.value, one.sources.map("
        "({ node }) => node?.className || node?.localName || node?.data || '?').join(', ')])))"
        ".observe({type: 'layout-shift', buffered: true}); setTimeout(() => done(found), 300); })))"
    )
    return [(float(value), str(what)) for value, what in found]


def shifted(shop: Screen) -> float:
    return sum(value for value, _ in shifts(shop))


def moved(shop: Screen, addresses: list[str], width: int = 1200) -> list[str]:
    """Load each address in a page of its own, all at once; name those whose page moved while it loaded."""
    found = []
    pages = {address: shop.beside(address, width) for address in addresses}
    for address, one in pages.items():
        one.page.locator("main:not([aria-busy]) h1").wait_for()
        settle(one)
        seen = shifts(one)
        if sum(value for value, _ in seen) > MOST_SHIFT:
            found.append(f"{address}: {seen}")
        one.page.close()
    return found


def test_a_page_keeps_still_while_it_loads(world: World, screen: Open) -> None:
    shop = placed(world, screen, "Still Stool")
    item = world.shop.item(10, "Still Shelf")
    world.shop.fill_cart(shop.member.customer_id, {item: 1})
    order = shop.page.url.rpartition("/")[2]
    pages = ["/", f"/item/{item}", "/cart", "/orders", f"/orders/{order}", "/account"]
    assert moved(shop, pages) == []
    assert moved(shop, pages, width=390) == []


def test_a_page_that_moves_would_be_noticed(screen: Open) -> None:
    first = screen(address=NOWHERE)
    shop, _ = first.beside("/", 1200), first.beside("/", 1200)
    shop.page.locator("li.card").first.wait_for()
    settle(shop)
    shop.page.evaluate("document.querySelector('main').prepend(document.createElement('textarea'))")
    assert shifted(shop) > MOST_SHIFT


#: What a page asks for, and what shows that it came.
PARTS = [
    ("/", "**/v1/catalog?*", "li.card"),
    ("/item/{item}", "**/v1/catalog/*-*", ".detail .price"),
    ("/cart", "**/v1/cart", "li.line"),
    ("/orders", "**/v1/orders?*", ".empty"),
    ("/account", "**/v1/account", "form.two [name=city]"),
    ("/account", "**/v1/points/ledger?*", ".ledger"),
]


def says_what_happens(shop: Screen, address: str, asked: str, content: str) -> None:
    """Assert that a page says that it loads, then what went wrong, and tries again."""
    held: list[Any] = []
    shop.page.route(asked, lambda route: held.append(route))
    with shop.page.expect_request(asked):
        load_anew(shop, address)
    expect(shop.page.locator("main [aria-busy] .hidden").first).to_have_text("Loading")
    expect(shop.page.locator(content)).to_have_count(0)
    problem = {
        "type": "urn:rewards:problem:internal-error",
        "title": "t",
        "status": 500,
        "instance": "urn:it",
    }
    headers = {"content-type": "application/problem+json", "access-control-allow-origin": "*"}
    while held:
        held.pop().fulfill(status=500, body=json.dumps(problem), headers=headers)
    shop.page.unroute(asked)
    expect(shop.alert.first).to_contain_text("The shop has a problem")
    expect(shop.alert.first).to_contain_text("urn:it")
    shop.button("Try again").first.click()
    expect(shop.page.locator(content).first).to_be_visible()
    expect(shop.alert).to_have_count(0)


def test_a_page_says_that_it_loads_what_went_wrong_and_tries_again(world: World, screen: Open) -> None:
    member = world.member()
    item = world.shop.item(10, "Awaited Apron")
    world.shop.fill_cart(member.customer_id, {item: 1})
    shop = screen(member, address=NOWHERE)
    for address, asked, content in PARTS:
        says_what_happens(shop, address.format(item=item), asked, content)


#: A module that is there may still wait for those that it imports: to import it again waits for them, too.
_WITH_WHAT_THEY_IMPORT = """(files) => Promise.all(performance.getEntriesByType('resource')
    .map((one) => one.name).filter((name) => files.includes(name.split('/').at(-1)))
    .map((name) => import(name))).then(() => {})"""


def wait_until_loaded(shop: Screen, *files: str) -> None:
    """Wait for files that come in a quiet moment."""
    loaded = "() => performance.getEntriesByType('resource').map((one) => one.name.split('/').at(-1))"
    for _ in range(120):
        if set(files) <= set(shop.page.evaluate(loaded)):
            return
        shop.page.wait_for_timeout(500)
    raise AssertionError(f"not loaded: {set(files) - set(shop.page.evaluate(loaded))}")


def test_the_shop_comes_while_somebody_types(world: World, screen: Open) -> None:
    entrance = screen(signed_in=False)
    entrance.expect_heading("Sign in")
    wait_until_loaded(entrance, "shop.js", "api.js")
    asked: list[str] = []
    entrance.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    entrance.page.get_by_label("Username").fill(entrance.member.username)
    entrance.page.get_by_label("Password").fill(world.password)
    entrance.button("Sign in").click()
    expect(entrance.page.locator("li.card").first).to_be_visible()
    assert "shop.js" not in asked


def test_a_connection_that_is_lost_takes_no_page_away(screen: Open) -> None:
    """Pages that were never shown are loaded in a quiet moment."""
    shop = screen()
    pages = ["cart.js", "orders.js", "order.js", "account.js", "item.js", "more.css"]
    wait_until_loaded(shop, *pages, "problems.js", "signin.js")
    shop.page.evaluate(_WITH_WHAT_THEY_IMPORT, [page for page in pages if page.endswith(".js")])
    shop.page.context.set_offline(True)
    for address, heading in (("/cart", "Cart"), ("/orders", "Orders"), ("/account", "Account")):
        shop.go(address)
        shop.expect_heading(heading)
    expect(shop.page.locator(".banner")).to_contain_text("You are offline")
    shop.page.context.set_offline(False)


def test_names_that_are_html_are_text_on_every_page(world: World, screen: Open) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    member = world.member()
    world.database.execute(
        "update xpoints.customers set first_name = %s, city = %s where id = %s",
        (hostile, hostile, member.customer_id),
    )
    world.shop.fill_cart(member.customer_id, {world.shop.item(10, hostile): 1})
    shop = screen(member)
    dialogs: list[Any] = []
    shop.page.on("dialog", lambda dialog: dialogs.append(dialog))
    shop.expect_heading(f"Hello, {hostile}")
    shop.go("/account")
    expect(shop.page.get_by_label("City")).to_have_value(hostile)
    shop.go("/cart")
    shop.button("Order").click()
    expect(shop.page.get_by_role("dialog")).to_contain_text(hostile)
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    expect(shop.page.locator(".line h3")).to_have_text(hostile)
    shop.button(f"Give back {hostile}").click()
    expect(shop.page.get_by_role("dialog")).to_contain_text(hostile)
    assert shop.page.locator("img[src=x]").count() == 0
    assert dialogs == []
