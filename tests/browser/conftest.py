"""Two Regions on one database, a shop in them, one real browser; a member and a page for each test.

`screen()` opens a page that is signed in, without the password: tests of their own are about that. Whatever a
page says on its console, an error or a report of what its policy forbids, fails the test.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

import pytest

from local.region import LocalRegion
from local.sample_data import generate, load
from local.sample_data.pictures import upload_pictures
from sql.connection import Connection
from tests.integration.shop import Shop
from tools.browser import find

try:
    from playwright import sync_api as playwright
except ImportError:  # in .local/dev; the tests skip themselves
    playwright = None

#: Points of every member, and how many members there are to be used up: each test takes new ones.
POINTS = 30_000
MEMBERS = 120

#: The first call of a function starts a process, on a busy machine for seconds.
PATIENCE_MS = 60_000

#: A page that asks for nothing of its own: where a test begins that is about no page, or about another one.
#: The shelf with its pictures costs the browser and the emulator half a second of processor time more.
NOWHERE = "/no-such-page"

if playwright is not None:
    playwright.expect.set_options(timeout=PATIENCE_MS)

#: What Chromium itself says of every answer that is not 2xx, and of every request without one.
_OF_ANSWERS = re.compile(r"Failed to load resource: (the server responded with a status of|net::ERR_)")


@dataclass
class Member:
    """Somebody who can sign in."""

    username: str
    customer_id: UUID


@dataclass
class World:
    """What all tests share."""

    home: LocalRegion
    away: LocalRegion
    database: Connection
    browser: Any
    password: str
    staff: Member
    _members: Iterator[Member] = field(repr=False)
    _everywhere: set[str] = field(repr=False)

    @cached_property
    def shop(self) -> Shop:
        """The database as tests may change it: directly."""
        return Shop(self.database)

    def member(self, points: int = POINTS) -> Member:
        """Give a member whom no other test has, with an empty cart and this many points."""
        member = next(self._members)
        taken = POINTS - points
        if taken:
            self.database.execute(
                "insert into xpoints.transactions (customer_id, tx_type, points, balance_after) "
                "values (%s, 'CORRECTION', %s, %s)",
                (member.customer_id, -taken, points),
            )
            self.database.execute(
                "update xpoints.points_balances set points_balance = %s where customer_id = %s",
                (points, member.customer_id),
            )
        return member

    def have_everywhere(self, member: Member) -> None:
        """Have a member be able to sign in in the second Region, too: few tests need that."""
        if member.username not in self._everywhere:
            enrol(self.away, [member])
            self._everywhere.add(member.username)

    def balance(self, member: Member) -> int:
        """Give a member's points."""
        return self.shop.balance(member.customer_id)

    def orders(self, member: Member) -> int:
        """Count a member's orders."""
        query = "select count(*) from xpoints.orders where customer_id = %s"
        return int(self.shop.scalar(query, (member.customer_id,)))


@dataclass
class Screen:
    """A page with what the tests ask of it."""

    page: Any
    world: World
    member: Member
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not _OF_ANSWERS.match(text):
            self.said.append(f"{kind}: {text}")

    def go(self, address: str) -> None:
        """Go to an address of the page's own: "/cart"."""
        self.page.evaluate(
            "(address) => new Promise((done) => { if (location.hash === address) return done();"
            " addEventListener('hashchange', () => setTimeout(done), {once: true});"
            " location.hash = address; })",
            f"#{address}",
        )

    def pass_time(self, seconds: int) -> None:
        """Have the page's timers come due that would within these seconds; what they ask for has been sent.

        The page needs `page.clock.install()` before it sets them.
        """
        self.page.clock.fast_forward(seconds * 1000)
        self.page.evaluate("fetch('config.json').then((answer) => answer.text())")

    def look_away(self, hidden: bool = True) -> None:
        """Tell the page that nobody sees it any more, or that somebody does again."""
        self.page.evaluate(
            "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            hidden,
        )

    def beside(self, address: str, width: int) -> "Screen":
        """Open another page of the same person's, and do not wait for it: several load at once."""
        page = self.page.context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        kept = self.page.evaluate("({...sessionStorage})")
        page.add_init_script(f"Object.assign(sessionStorage, {json.dumps(kept)});")
        screen = Screen(page, self.world, self.member, self.said)
        page.goto(self.page.url.partition("#")[0] + f"#{address}", wait_until="commit")
        return screen

    def button(self, name: str, **options: Any) -> Any:
        """Give the button of a name."""
        return self.page.get_by_role("button", name=name, **{"exact": True, **options})

    def expect_heading(self, text: str) -> None:
        """Wait until the page has this first heading."""
        heading = self.page.get_by_role("heading", level=1)
        playwright.expect(heading).to_have_text(text)

    @property
    def live(self) -> Any:
        """What is read out to people who do not see the page."""
        return self.page.locator("#live")

    @property
    def alert(self) -> Any:
        """What stands there as wrong."""
        return self.page.get_by_role("alert")

    def cart_badge(self) -> Any:
        """The number beside the cart's sign."""
        return self.page.locator(".badge")


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    path = find()
    if path is None:
        pytest.skip("there is no browser: make test looks for one, or fetches it")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=str(path), args=browser_options())
        yield started
        started.close()


def browser_options() -> list[str]:
    """Say how the browser is started: its own sandbox is not to be had by root."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


def open_regions(
    stack: ExitStack,
    say: Callable[[str], None] = lambda _: None,
    meanwhile: Callable[[LocalRegion, Connection], None] = lambda home, database: None,
    **of_home: str,
) -> tuple[LocalRegion, LocalRegion, Connection]:
    """Start two Regions on one database with the sample in them; `of_home` are parameters of the first.

    `meanwhile` is done in the first, after it has the sample, while the second is started.
    """
    home = stack.enter_context(LocalRegion("us-east-1", parameters=of_home, say=say))
    database = stack.enter_context(Connection.connect(home.postgres.conninfo(), autocommit=True))
    data = generate(10)

    def fill() -> None:
        load(database, data)
        upload_pictures(home.client("s3"), home.outputs["PicturesBucketName"], data)
        meanwhile(home, database)

    with ThreadPoolExecutor(1) as pool:
        filled = pool.submit(fill)
        other = {"OtherRegion": home.outputs["PagesRegion"]}
        away = stack.enter_context(LocalRegion("us-east-2", home.database, parameters=other, say=say))
        filled.result()
    upload_pictures(away.client("s3"), away.outputs["PicturesBucketName"], data)
    return home, away, database


def enrol(region: LocalRegion, members: Sequence[Member], *, staff: bool = False) -> None:
    """Have members be able to sign in in a Region."""
    region.enrol(
        [
            {
                "username": one.username,
                "email": f"{one.username}@example.com",
                "customer_id": str(one.customer_id),
                "staff": staff,
            }
            for one in members
        ]
    )


@pytest.fixture(scope="package")
def world(browser: Any) -> Iterator[World]:
    members: list[Member] = []

    def invite(home: LocalRegion, database: Connection) -> None:
        shop = Shop(database)
        names = [f"browser_{number}" for number in range(MEMBERS)] + ["browser_staff"]
        members.extend(Member(name, shop.customer(POINTS, name)) for name in names)
        enrol(home, members[:-1])
        enrol(home, members[-1:], staff=True)

    with ExitStack() as stack:
        home, away, database = open_regions(stack, meanwhile=invite, DemoUsernames="browser_0")
        *others, staff = members
        enrol(away, [staff], staff=True)
        password = home.outputs["DemoPassword"]
        yield World(home, away, database, browser, password, staff, iter(others), {staff.username})


_SESSION = "sessionStorage.setItem('rewards.refresh.' + {region}, {token});"


def keep_signed_in(page: Any, regions: Sequence[LocalRegion], username: str, password: str) -> None:
    """Have a page find what it would have kept of a sign-in, before it is loaded."""
    # Once: a page that is loaded again keeps its own, or has none because somebody signed out.
    script = "if (!sessionStorage.getItem('test')) { sessionStorage.setItem('test', '1'); " + "".join(
        _SESSION.format(
            region=json.dumps(each.region_name), token=json.dumps(refresh_token(each, username, password))
        )
        for each in regions
    )
    page.add_init_script(script + " }")


@pytest.fixture
def screen(world: World) -> Iterator[Callable[..., Screen]]:
    """Open pages: `screen()` for a new member, `screen(member, signed_in=False, locale=...)` and so on."""
    opened: list[Screen] = []
    contexts = []

    def open_screen(
        member: Member | None = None,
        *,
        at: LocalRegion | None = None,
        address: str = "",
        signed_in: bool = True,
        **options: Any,
    ) -> Screen:
        member = member or world.member()
        at = at or world.home
        context = world.browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        if signed_in:
            regions = (world.home, world.away) if at is world.away else (world.home,)
            if at is world.away:
                world.have_everywhere(member)
            keep_signed_in(page, regions, member.username, world.password)
        screen = Screen(page, world, member)
        opened.append(screen)
        page.goto(at.pages_url + (f"#{address}" if address else ""))
        if signed_in:
            page.locator(".wallet .amount").wait_for()
        return screen

    yield open_screen
    for context in contexts:
        for page in context.pages:
            # A page that polls may be in the midst of a route; what it raises would fail the next test.
            page.unroute_all(behavior="ignoreErrors")
        context.close()
    assert [said for each in opened for said in each.said] == []


def refresh_token(region: LocalRegion, username: str, password: str) -> str:
    """Sign in beside the page, and give what it would have kept of that."""
    answer = region.client("cognito-idp").initiate_auth(
        ClientId=region.outputs["UserPoolClientId"],
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": password},
    )
    return str(answer["AuthenticationResult"]["RefreshToken"])
