"""The staff's pages: operations, one order's story, items, customers; and that they are nobody else's."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from handlers.edge.monitoring import FIGURES
from tests.browser.conftest import NOWHERE, POINTS, Screen, World
from tests.browser.test_for_everybody import faults, moved, press_until, says_what_happens, settle

expect = pytest.importorskip("playwright.sync_api").expect

Open = Callable[..., Screen]

#: Addresses without a number in them.
OF_STAFF = ["/staff/operations", "/staff/orders", "/staff/items", "/staff/items/new", "/staff/customers"]


def as_staff(world: World, screen: Open, address: str, **options: Any) -> Screen:
    return screen(world.staff, address=address, **options)


def ordered(world: World, screen: Open) -> tuple[Screen, str]:
    """Place an order; give its page and its number."""
    member = world.member()
    world.shop.fill_cart(member.customer_id, {world.shop.item(100, "Storied Stool"): 2})
    shop = screen(member, address="/cart")
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    return shop, shop.page.url.rpartition("/")[2]


def card(staff: Screen, region: str) -> Any:
    return staff.page.get_by_role("region", name=region, exact=True)


@contextmanager
def no_relay_at_work(world: World) -> Iterator[None]:
    """Stop the relays, of both Regions: one takes over what the other leaves."""
    regions = (world.home, world.away)
    for region in regions:
        region.client("lambda").put_function_concurrency(
            FunctionName=region.resources["RelayFunction"], ReservedConcurrentExecutions=0
        )
        for process in region.function_processes("RelayFunction"):
            process.kill()
    # What they held runs out by the database's clock: as if that time had passed.
    for held in ("relays", "relay_leases"):
        world.database.execute(f"update xpoints.{held} set expires_at = now() where expires_at > now()")
    try:
        yield
    finally:
        for region in regions:
            region.client("lambda").delete_function_concurrency(
                FunctionName=region.resources["RelayFunction"]
            )
            region.run_scheduled("RelayFunction")


# --- Nobody else's ----------------------------------------------------------------------------------------


def test_a_customer_reads_that_staff_pages_are_not_for_them_and_loads_nothing(
    world: World, screen: Open
) -> None:
    asked: list[str] = []
    shop = screen(address=NOWHERE)
    shop.page.on("request", lambda request: asked.append(request.url))
    for address in OF_STAFF:
        shop.go(address)
        shop.expect_heading("Not for you")
    expect(shop.page.get_by_role("link", name="Staff")).to_have_count(0)
    assert [url for url in asked if "staff" in url] == []


def test_whoever_is_none_of_the_staff_any_more_reads_so(world: World, screen: Open) -> None:
    """Their token still says that they are; the database does not."""
    staff = as_staff(world, screen, NOWHERE)
    where = (world.staff.customer_id,)
    world.database.execute("delete from xpoints.staff_members where customer_id = %s", where)
    try:
        staff.go("/staff/operations")
        expect(staff.alert).to_contain_text("Not for you")
    finally:
        world.database.execute("insert into xpoints.staff_members (customer_id) values (%s)", where)


# --- Operations -------------------------------------------------------------------------------------------


def test_operations_tell_how_the_region_is_and_a_backlog_with_its_age(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, "/staff/operations")
    staff.expect_heading("Operations")
    home = card(staff, world.home.region_name)
    expect(home).to_contain_text("Answers")
    expect(home).to_contain_text(re.compile(r"Relay workers\s*1 of 1 at work"))
    tops = "cards => new Set(cards.map(card => card.getBoundingClientRect().top)).size"
    expect(staff.page.locator(".tile").nth(3)).to_be_visible()
    assert staff.page.eval_on_selector_all(".tile", tops) == 1, "four cards stand in one row"
    # A message that no relay takes: of a Region that is not there.
    event_id = uuid4()
    world.database.execute(
        "insert into xpoints.outbox (region, shard, id, event_type, detail, created_at, retry_at) values "
        "('eu-west-1', 0, %s, 'OrderPlaced.v1', '{}', now() - interval '2 hours', now() + interval '1 hour')",
        (event_id,),
    )
    world.database.execute("insert into xpoints.regions (region) values ('eu-west-1') on conflict do nothing")
    try:
        problem = staff.page.locator(".todo li", has_text="eu-west-1")
        expect(problem).to_contain_text("No relay is at work in eu-west-1. Messages that wait there: 1.")
        expect(problem.locator("code").first).to_contain_text("./rewards outbox status")
        expect(problem).to_contain_text("docs/runbook.md#stoppedalarm")
    finally:
        world.database.execute("delete from xpoints.outbox where id = %s", (event_id,))
        world.database.execute("delete from xpoints.regions where region = 'eu-west-1'")
    expect(problem).to_have_count(0)


def test_a_relay_that_stops_leaves_a_backlog_that_ages_and_one_that_starts_takes_it(
    world: World, screen: Open
) -> None:
    staff = as_staff(world, screen, "/staff/operations")
    home = card(staff, world.home.region_name)
    expect(home).to_contain_text(re.compile(r"Waiting in its outbox\s*0"))
    with no_relay_at_work(world):
        expect(home).to_contain_text(re.compile(r"Relay workers\s*none at work"))
        _, order_id = ordered(world, screen)
        expect(home).to_contain_text(re.compile(r"Waiting in its outbox\s*[1-9]"))
        expect(home).to_contain_text(re.compile(r"Oldest\s*[1-9]"))
        problem = staff.page.locator(".todo li", has_text=f"No relay is at work in {world.home.region_name}")
        expect(problem.locator("code").first).to_contain_text("./rewards outbox status --region us-east-1")
        story = as_staff(world, screen, f"/staff/orders/{order_id}")
        outbox = story.page.locator(".steps > li.failed", has_text="Outbox")
        expect(outbox).to_contain_text("It waits for a relay: none is at work in its Region")
        for later in ("Bus", "Cart cleaned", "E-mail written"):
            expect(story.page.locator(".steps > li.waiting", has_text=later)).to_be_visible()
    expect(home).to_contain_text(re.compile(r"Relay workers\s*1 of 1 at work"))
    expect(home).to_contain_text(re.compile(r"Waiting in its outbox\s*0"))
    expect(problem).to_have_count(0)
    expect(story.page.get_by_text("All that was to follow has followed.")).to_be_visible()


def test_a_dead_letter_shows_and_goes_by_itself(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, "/staff/operations")
    sqs, queue = world.home.client("sqs"), world.home.resources["RetireItemDeadLetterQueue"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    row = staff.page.get_by_role("row", name=re.compile("^retire-item"))
    expect(row.locator("td").last).to_have_text("1")
    problem = staff.page.locator(".todo li", has_text="Dead letters of retire-item")
    expect(problem).to_contain_text("./rewards queues inspect retire-item --region us-east-1")
    sqs.purge_queue(QueueUrl=queue)
    expect(row.locator("td").last).to_have_text("0")
    expect(problem).to_have_count(0)


def test_a_problems_command_is_copied(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, "/staff/operations", permissions=["clipboard-read", "clipboard-write"])
    sqs, queue = world.home.client("sqs"), world.home.resources["UndeliveredEventsQueue"]
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    command = "./rewards queues inspect undelivered --region us-east-1"
    staff.page.get_by_role("button", name=f"Copy {command}").click()
    expect(staff.live).to_have_text("Copied.")
    assert staff.page.evaluate("navigator.clipboard.readText()") == command
    sqs.purge_queue(QueueUrl=queue)


def test_both_regions_stand_side_by_side_and_one_that_does_not_answer_is_shown_so(
    world: World, screen: Open
) -> None:
    staff = as_staff(world, screen, "/staff/operations", at=world.away)
    for region in (world.home, world.away):
        expect(card(staff, region.region_name)).to_contain_text("Answers")
    staff.page.clock.install()
    staff.page.route(f"{world.home.endpoint_url}/**/staff/operations", lambda route: route.abort())
    lost = card(staff, world.home.region_name)
    expect(lost).to_contain_text("No answer since")
    expect(lost).to_contain_text("This is how it was at")
    expect(lost).to_contain_text(f"told by {world.away.region_name}")
    expect(staff.page.locator(".todo")).to_contain_text(f"{world.home.region_name} does not answer this page")
    expect(card(staff, world.away.region_name)).to_contain_text("As of")
    staff.page.unroute_all(behavior="ignoreErrors")
    staff.pass_time(60)  # it asks more rarely while nobody answers
    expect(lost).to_contain_text("Answers")


def test_charts_draw_the_objective_and_leave_gaps_and_say_so_in_words(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, NOWHERE)

    def with_figures(route: Any) -> None:
        answer = route.fetch()
        known = {"lag_p99": [None] * 57 + [4000, None, 6200]}
        series = [
            {
                "name": figure.name,
                "unit": figure.unit,
                "objective": figure.objective,
                "is_measured": bool(figure.functions),
                "values": known.get(figure.name, [None] * 60),
            }
            for figure in FIGURES
        ]
        told = answer.json()
        told["minutes"] = {"since": told["at"], "newest": told["at"], "series": series}
        route.fulfill(response=answer, json=told)

    staff.page.route("**/v1/staff/operations", with_figures)
    staff.go("/staff/operations")
    chart = staff.page.get_by_role("img", name=re.compile("^Order to effect"))
    expect(chart).to_have_attribute(
        "aria-label",
        re.compile(r"p99: 6,200 in the newest minute, at most 6,200 in the hour.*objective 5,000"),
    )
    expect(chart.locator("path.objective")).to_have_count(1)
    # Two minutes with a gap between them are two strokes.
    curve = str(chart.locator("path.curve.k0").get_attribute("d"))
    assert curve.count("M") == 2
    # Minutes before the first figure are not drawn, but for the last ten.
    assert [int(float(each) / 300 * 10) for each in re.findall(r"M([\d.]+)", curve)] == [7, 9]
    expect(staff.page.get_by_text("Not measured here").first).to_be_visible()


def test_what_cloudwatch_does_not_say_is_said_to_be_unknown(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, NOWHERE)

    def without(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, json={**answer.json(), "minutes": None, "alarms": None, "queues": None}
        )

    staff.page.route("**/v1/staff/operations", without)
    staff.go("/staff/operations")
    expect(staff.page.get_by_text("CloudWatch did not answer.")).to_be_visible()
    expect(card(staff, world.home.region_name)).to_contain_text(re.compile(r"Alarms\s*not known"))


def test_operations_are_not_asked_while_nobody_looks(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, NOWHERE)
    asked: list[str] = []
    staff.page.on(
        "request",
        lambda request: asked.append(request.url) if request.url.endswith("/staff/operations") else None,
    )
    staff.page.clock.install()
    with staff.page.expect_response("**/staff/operations"):
        staff.go("/staff/operations")
    expect(card(staff, world.home.region_name)).to_contain_text("Answers")
    with staff.page.expect_request("**/staff/operations"):
        staff.pass_time(3)  # the poll goes on while somebody looks
    staff.look_away()
    staff.pass_time(0)  # what was asked before has been counted
    before = len(asked)
    staff.pass_time(60)
    assert len(asked) == before
    with staff.page.expect_response("**/staff/operations"):
        staff.look_away(False)


# --- One order's story ------------------------------------------------------------------------------------


def test_a_fresh_orders_story_goes_on_to_its_e_mail(world: World, screen: Open) -> None:
    _, order_id = ordered(world, screen)
    staff = as_staff(world, screen, "/staff/orders")
    staff.page.get_by_label("Order number").fill("not a number")
    staff.button("Tell it").click()
    expect(staff.alert).to_contain_text("36 characters")
    staff.page.get_by_label("Order number").fill(order_id.upper())
    staff.button("Tell it").click()
    staff.expect_heading(f"Story of order {order_id[:8]}")
    expect(staff.page.get_by_text("All that was to follow has followed.")).to_be_visible()
    steps = staff.page.locator(".steps > li")
    expect(steps).to_have_text(
        [
            re.compile("Request"),
            re.compile("Transaction.*2 round trips", re.DOTALL),
            re.compile("Outbox"),
            re.compile("Bus.*EventBridge took it", re.DOTALL),
            re.compile("Cart cleaned|E-mail written"),
            re.compile("Cart cleaned|E-mail written"),
            re.compile("E-mail: Confirmation.*Handed to the mail service", re.DOTALL),
        ]
    )
    expect(staff.page.locator(".steps > li:not(.done)")).to_have_count(0)


def test_a_story_says_where_an_order_waits_whose_consumer_is_down(world: World, screen: Open) -> None:
    events, rule = world.home.client("events"), world.home.resources["NotifyRule"].rpartition("|")[2]
    bus = world.home.outputs["EventBusName"]
    events.disable_rule(Name=rule, EventBusName=bus)
    try:
        _, order_id = ordered(world, screen)
        staff = as_staff(world, screen, f"/staff/orders/{order_id}")
        expect(staff.page.locator(".steps > li.done", has_text="Cart cleaned")).to_be_visible()
        waits = staff.page.locator(".steps > li", has_text="E-mail written")
        expect(waits).to_contain_text("It waits for notify")
        expect(staff.page.get_by_text("Under way; asked again every two seconds.")).to_be_visible()
    finally:
        events.enable_rule(Name=rule, EventBusName=bus)


def test_an_unknown_orders_story_is_said_to_be_none(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, f"/staff/orders/{uuid4()}")
    expect(staff.alert).to_contain_text("No such order")


# --- Items ------------------------------------------------------------------------------------------------


def test_an_item_is_added_found_changed_and_retired(world: World, screen: Open) -> None:
    name = f"Shelved {uuid4().hex[:8]}"
    staff = as_staff(world, screen, "/staff/items")
    staff.page.get_by_role("link", name="Add an item").click()
    staff.expect_heading("New item")
    staff.page.get_by_label("Name", exact=True).fill(name)
    staff.page.get_by_label("Price in points").fill("450")
    staff.page.get_by_label("Price in dollars").fill("34.90")
    staff.button("Add").click()
    staff.expect_heading(name)
    expect(staff.page.get_by_text("Unlimited.")).to_be_visible()
    staff.page.get_by_label("Price in points").fill("400")
    staff.button("Save").click()
    expect(staff.live).to_have_text("The item was changed.")
    expect(staff.page.get_by_text("Version 2")).to_be_visible()
    staff.go("/staff/items")
    staff.page.get_by_label("Find by name").fill(name)
    staff.button("Find").click()
    expect(staff.page.get_by_role("row", name=re.compile(name))).to_contain_text("400")
    staff.page.get_by_role("link", name=name).click()
    staff.button("Retire the item").click()
    staff.page.get_by_role("dialog").get_by_role("button", name="Retire the item").click()
    expect(staff.page.get_by_text("It is in nobody's catalogue any more.")).to_be_visible()
    expect(staff.button("Save")).to_have_count(0)


def test_an_item_that_somebody_else_changed_shows_both_and_lets_choose(world: World, screen: Open) -> None:
    item = world.shop.item(100, f"Contested {uuid4().hex[:8]}")
    first = as_staff(world, screen, f"/staff/items/{item}")
    first.page.get_by_label("Price in points").fill("111")
    second = as_staff(world, screen, f"/staff/items/{item}")
    second.page.get_by_label("Price in points").fill("222")
    second.button("Save").click()
    expect(second.live).to_have_text("The item was changed.")
    first.button("Save").click()
    expect(first.alert).to_contain_text("Changed elsewhere meanwhile")
    expect(first.alert.get_by_role("row", name=re.compile("Price in points"))).to_have_text(
        re.compile("111.*222", re.DOTALL)
    )
    first.button("Keep mine").click()
    expect(first.live).to_have_text("The item was changed.")
    price = "select points_price from xpoints.catalog_items where id = %s"
    assert world.shop.scalar(price, (item,)) == 111


def test_what_is_wrong_in_an_item_is_said_at_its_field(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, "/staff/items/new")
    staff.page.get_by_label("Name", exact=True).fill("Priced Wrong")
    staff.page.get_by_label("Price in points").fill("10")
    staff.page.get_by_label("Price in dollars").fill("cheap")
    staff.button("Add").click()
    expect(staff.page.get_by_label("Price in dollars")).to_have_attribute("aria-invalid", "true")


def test_stock_is_set_and_booked_once_though_the_answer_was_lost(world: World, screen: Open) -> None:
    item = world.shop.item(100, f"Counted {uuid4().hex[:8]}")
    staff = as_staff(world, screen, f"/staff/items/{item}")
    staff.page.get_by_label("Units, empty for unlimited").fill("10")
    staff.page.get_by_label("Slots").fill("2")
    staff.button("Set").click()
    expect(staff.page.get_by_text("10 units in 2 slots.")).to_be_visible()
    keys: list[str] = []

    def lose(route: Any) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()  # the server has acted; nobody hears of it
            route.abort()
        else:
            route.continue_()

    staff.page.route("**/stock/adjustments", lose)
    staff.page.get_by_label("Units that came in").fill("-3")
    staff.button("Book").click()
    expect(staff.alert).to_contain_text("Press again: it is the same request")
    staff.button("Book").click()
    expect(staff.page.get_by_text("7 units in 2 slots.")).to_be_visible()
    assert len(keys) == 2
    assert len(set(keys)) == 1
    staff.page.get_by_label("Units that came in").fill("-8")
    staff.button("Book").click()
    expect(staff.alert).to_contain_text("Not that many are there")


# --- Customers --------------------------------------------------------------------------------------------


def test_a_customer_is_found_credited_and_their_orders_lead_to_stories(world: World, screen: Open) -> None:
    shop, order_id = ordered(world, screen)
    staff = as_staff(world, screen, "/staff/customers")
    staff.page.get_by_label("Username").fill(shop.member.username)
    staff.button("Find").click()
    staff.page.get_by_role("link", name=re.compile(shop.member.username)).click()
    staff.expect_heading(f"Customer {shop.member.username}")
    before = world.balance(shop.member)
    credit = staff.page.get_by_role("region", name="Credit points")
    credit.get_by_label("Points").fill("250")
    credit.get_by_label("Kind").select_option("GIFT")
    credit.get_by_label("What for").fill("Sorry for the wait")
    credit.get_by_role("button", name="Credit").click()
    expect(staff.live).to_contain_text("250 points credited")
    assert world.balance(shop.member) == before + 250
    staff.button(f"Lines of order {order_id[:8]}").click()
    expect(staff.page.locator(".lines-of")).to_have_text("2 × Storied Stool")
    staff.page.get_by_role("link", name=f"Story of order {order_id[:8]}").click()
    staff.expect_heading(f"Story of order {order_id[:8]}")


def test_nobody_credits_themselves(world: World, screen: Open) -> None:
    staff = as_staff(world, screen, f"/staff/customers/{world.staff.customer_id}")
    credit = staff.page.get_by_role("region", name="Credit points")
    credit.get_by_label("Points").fill("1000")
    credit.get_by_role("button", name="Credit").click()
    expect(staff.alert).to_contain_text("Not for yourself")
    assert world.balance(world.staff) == POINTS


def test_names_with_markup_are_text_on_every_page_of_the_staffs(world: World, screen: Open) -> None:
    hostile = f"<img src=x onerror=alert(1)> {uuid4().hex[:6]}"
    item = world.shop.item(100, hostile)
    member = world.member()
    world.shop.fill_cart(member.customer_id, {item: 2})
    shop = screen(member, address="/cart")
    shop.button("Order").click()
    shop.page.get_by_role("button", name="Order for").click()
    shop.expect_heading("Thank you, it is yours")
    order = shop.page.url.rpartition("/")[2]
    staff = as_staff(world, screen, "/staff/items")
    dialogs: list[Any] = []
    staff.page.on("dialog", lambda dialog: dialogs.append(dialog))
    staff.page.get_by_label("Find by name").fill(hostile)
    staff.button("Find").click()
    staff.page.get_by_role("link", name=hostile).click()
    staff.expect_heading(hostile)
    staff.button("Retire the item").click()
    expect(staff.page.get_by_role("dialog")).to_contain_text(hostile)
    staff.page.keyboard.press("Escape")
    staff.go(f"/staff/customers/{member.customer_id}")
    staff.button(f"Lines of order {order[:8]}").click()
    expect(staff.page.locator(".lines-of")).to_have_text(f"2 × {hostile}")

    def hostile_everywhere(route: Any) -> None:
        """Put markup where the operations page shows what AWS or the database names."""
        told = route.fetch()
        document = told.json()
        document["queues"][0] |= {"name": hostile, "dead": 3}
        document["outboxes"][0] |= {"rejected": 1, "last_error": hostile}
        document["alarms"] = {"on": [{"name": hostile, "description": hostile}], "quiet": 0, "unknown": 0}
        route.fulfill(response=told, json=document)

    staff.page.route("**/v1/staff/operations", hostile_everywhere)
    staff.go("/staff/operations")
    expect(staff.page.locator(".todo li", has_text=hostile)).to_have_count(3)
    assert staff.page.locator("img[src=x]").count() == 0
    assert dialogs == []


# --- For everybody ----------------------------------------------------------------------------------------


def test_axe_finds_nothing_on_the_staffs_pages(world: World, screen: Open) -> None:
    addresses = of_every_kind(world, screen)
    queue = world.home.resources["RetireItemDeadLetterQueue"]
    world.home.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps({}))
    staff = as_staff(world, screen, NOWHERE)
    found = []
    for address in dict.fromkeys([*OF_STAFF, *addresses.values()]):
        staff.go(address)
        expect(staff.page.locator("main:not([aria-busy]) h1")).to_be_visible()
        if address == addresses["operations"]:  # it is asked for again and again
            expect(staff.page.locator(".todo li").first).to_be_visible()
        else:
            settle(staff)
        found += faults(staff.page, address)
        staff.page.set_viewport_size({"width": 320, "height": 640})
        if staff.page.evaluate("document.documentElement.scrollWidth") > 320:
            found.append(f"{address} scrolls sideways on a narrow screen")
    world.home.client("sqs").purge_queue(QueueUrl=queue)
    assert found == []


def test_a_story_is_reached_by_keyboard_alone(world: World, screen: Open) -> None:
    _, order_id = ordered(world, screen)
    staff = as_staff(world, screen, "/")
    press_until(staff, staff.page.get_by_role("link", name="Staff", exact=True))
    staff.page.keyboard.press("Enter")
    staff.expect_heading("Operations")
    expect(staff.page.get_by_role("heading", level=1)).to_be_focused()
    press_until(staff, staff.page.get_by_role("link", name="Order stories"))
    staff.page.keyboard.press("Enter")
    staff.expect_heading("Order stories")
    press_until(staff, staff.page.get_by_label("Order number"))
    staff.page.keyboard.type(order_id)
    staff.page.keyboard.press("Enter")
    staff.expect_heading(f"Story of order {order_id[:8]}")


def of_every_kind(world: World, screen: Open) -> dict[str, str]:
    """Give an address of each kind of page of the staff's, with an order, an item and a customer."""
    shop, order_id = ordered(world, screen)
    item = world.shop.item(100, "Steady Stool", stock=[3])
    return {
        "operations": "/staff/operations",
        "story": f"/staff/orders/{order_id}",
        "items": "/staff/items",
        "item": f"/staff/items/{item}",
        "customer": f"/staff/customers/{shop.member.customer_id}",
    }


def test_staffs_pages_keep_still_while_they_load(world: World, screen: Open) -> None:
    addresses = of_every_kind(world, screen)
    staff = as_staff(world, screen, NOWHERE)
    assert moved(staff, [*addresses.values(), "/staff/orders", "/staff/items/new", "/staff/customers"]) == []


#: What each asks for, and what shows that it came.
PARTS = {
    "operations": ("**/v1/staff/operations", ".region-card .PLACED"),
    "story": ("**/v1/staff/orders/*/story", ".steps"),
    "items": ("**/v1/catalog?*", "tbody tr"),
    "item": ("**/v1/staff/items/*", "form [name=sku]"),
    "customer": ("**/v1/staff/customers/*/orders?*", ".order-list"),
}


def test_staffs_pages_say_that_they_load_what_went_wrong_and_try_again(world: World, screen: Open) -> None:
    addresses = of_every_kind(world, screen)
    staff = as_staff(world, screen, "/staff/customers")
    for page, (asked, content) in PARTS.items():
        if page != "operations":  # it asks again by itself; what it shows meanwhile has tests of its own
            says_what_happens(staff, addresses[page], asked, content)
