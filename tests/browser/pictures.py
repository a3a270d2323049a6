"""Take the pictures of the documents anew, from Regions that run: `make pictures`, or ARGS="shop operations".

Two Regions on one database are started, shoppers order in both for some minutes, and the browser that the
tests use looks at the pages; for `drill` the drill itself runs. Nothing on a picture is made up. Take them on
a machine that has nothing else to do.
"""

import argparse
import io
import random
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from demos.shoppers import NotSoError, Shopper, api_client, console
from local.metrics import metrics_reader
from local.region import LocalRegion, stopwatch
from local_dsql.arguments import whole_number
from local_dsql.console import run_command
from tests.browser.conftest import PATIENCE_MS, browser_options, keep_signed_in, open_regions
from tests.integration.shop import Shop
from tools.browser import find

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"

SIZE = {"width": 1280, "height": 860}
#: Shoppers of each Region, how many of all have next to nothing, and how long one looks between two orders.
SHOPPERS, POOR, PAUSE_S = 4, 1, (1.0, 4.0)
#: A minute's figures are told after it, and nothing is before the first order.
FIRST_FIGURE_MS = 240_000
STAFF, HOSTESS = "ana_staff", "ana"

Take = Callable[["Stage"], None]


class Stage:
    """Two Regions with a shop in them, and a browser."""

    def __init__(self, home: LocalRegion, away: LocalRegion, shop: Shop, browser: Any, load_s: int) -> None:
        self.home, self.away, self.shop, self.load_s = home, away, shop, load_s
        self._browser = browser

    @contextmanager
    def page(self, username: str, address: str, **size: int) -> Iterator[Page]:
        """Open a page of a user who is signed in, in light colours."""
        context = self._browser.new_context(
            viewport={**SIZE, **size}, color_scheme="light", locale="en-US", reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        keep_signed_in(page, (self.home, self.away), username, self.home.outputs["DemoPassword"])
        page.goto(f"{self.away.pages_url}#{address}")
        page.locator(".wallet .amount").wait_for()
        yield page
        context.close()


def keep(page: Page, name: str) -> None:
    """Write what the page shows, in as few colours as it can do with."""
    page.mouse.move(0, 0)
    image = Image.open(io.BytesIO(page.screenshot()))
    few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)
    console.print(f"docs/images/{name}.png: {(IMAGES / f'{name}.png').stat().st_size:,} bytes")


# --- What is on them --------------------------------------------------------------------------------------


def shop(stage: Stage) -> None:
    """Take the shelf, and an order that was placed from it."""
    with stage.page(HOSTESS, "/?sort=-rating") as page:
        for place in (0, 1):
            page.get_by_role("button", name=re.compile("^Add .* to the cart")).nth(place).click()
            expect(page.locator(".badge")).to_have_text(str(place + 1))
        expect(page.locator(".toast")).to_be_empty(timeout=PATIENCE_MS)
        keep(page, "shop")
        page.evaluate("location.hash = '/cart'")
        page.get_by_role("button", name="Order", exact=True).click()
        page.get_by_role("button", name="Order for").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Thank you, it is yours")
        expect(page.locator(".steps > li.done")).to_have_count(3)
        page.get_by_text("Behind the counter").click()
        page.evaluate("scrollTo(0, 0)")
        keep(page, "order")


def operations(stage: Stage) -> None:
    """Take the operations page while shoppers order, refusals and conflicts among it."""
    stop = threading.Event()
    poor = [f"shopper_{at}" for at in range(POOR)]
    items = [str(stage.shop.item(price, f"Traded {price}")) for price in (10, 20, 30)]
    rare = str(stage.shop.item(40, "Traded and rare", stock=[100_000]))

    def trade(region: LocalRegion, http: httpx.Client, username: str) -> None:
        shopper, draw = Shopper(region, http, username), random.Random(username + region.region_name)
        while not stop.wait(draw.uniform(*PAUSE_S)):
            item = draw.choice([*items, rare, rare])
            units = 99 if username in poor else 1
            try:
                shopper.send("PUT", f"/cart/items/{item}", json={"quantity": units})
                total = shopper.get("/cart")["total_points"]
                shopper.order(total, str(uuid4()))
            except (NotSoError, httpx.TransportError):
                continue  # the picture shows it

    with ExitStack() as stack:
        threads = []
        for place, region in enumerate((stage.home, stage.away)):
            stack.enter_context(metrics_reader(region))
            http = stack.enter_context(api_client(region))
            names = [f"shopper_{SHOPPERS * place + at}" for at in range(SHOPPERS)]
            threads += [threading.Thread(target=trade, args=(region, http, name)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            stack.callback(thread.join)
        stack.callback(stop.set)
        with stage.page(STAFF, "/staff/operations", height=1180) as page:
            # One a minute: the last stands, and there is one however this ends.
            expect(page.locator(".plot path.curve.k0[d^=M]").first).to_be_attached(timeout=FIRST_FIGURE_MS)
            for left_s in range(stage.load_s, 0, -60):
                page.wait_for_timeout(min(left_s, 60) * 1000)
                keep(page, "operations")


def drill(browser: Any) -> None:
    """Take the end of the drill in which a Region is lost, as `make regions ARGS=--live` shows it."""
    command = [sys.executable, "-m", "demos.regions", "--live"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", running.stdout.readline())
        assert found is not None
        context = browser.new_context(viewport={"width": 1180, "height": 880}, color_scheme="light")
        page = context.new_page()
        page.goto(found[0])
        threading.Thread(target=running.stdout.read, daemon=True).start()
        expect(page.locator(".stage")).to_have_text("Done", timeout=600_000)
        keep(page, "drill")
        context.close()


PICTURES: dict[str, Take] = {"shop": shop, "operations": operations}
ALL = [*PICTURES, "drill"]


# --- The stage --------------------------------------------------------------------------------------------


@contextmanager
def staged(browser: Any, load_s: int) -> Iterator[Stage]:
    say = stopwatch()
    with ExitStack() as stack:
        home, away, database = open_regions(stack, say)
        people = Shop(database)
        _admit(people, (home, away))
        yield Stage(home, away, people, browser, load_s)


def _admit(people: Shop, regions: Sequence[LocalRegion]) -> None:
    points = {HOSTESS: 30_000, STAFF: 30_000}
    for at in range(2 * SHOPPERS):
        points[f"shopper_{at}"] = 50 if at < POOR else 9_000_000
    users = {name: people.customer(balance, name) for name, balance in points.items()}
    for region in regions:
        region.enrol(
            [
                {
                    "username": name,
                    "email": f"{name}@example.com",
                    "customer_id": str(customer_id),
                    "staff": name == STAFF,
                }
                for name, customer_id in users.items()
            ]
        )


def _picture(text: str) -> str:
    if text not in ALL:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ALL)}")
    return text


def main() -> None:
    """Take what was asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.pictures", description=__doc__)
    parser.add_argument(
        "pictures", nargs="*", type=_picture, metavar="PICTURE", help=f"{', '.join(ALL)} (default: all)"
    )
    parser.add_argument(
        "--load-s",
        type=whole_number(1, 3600),
        default=420,
        help="seconds that shoppers order before the operations page is taken (%(default)s)",
    )
    options = parser.parse_args()
    wanted = options.pictures or ALL
    path = find()
    if path is None:
        sys.exit("there is no browser: make test looks for one, or fetches it")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(path), args=browser_options())
        if "drill" in wanted:
            drill(browser)
        others = [take for name, take in PICTURES.items() if name in wanted]
        if others:
            with staged(browser, options.load_s) as stage:
                for take in others:
                    take(stage)
        browser.close()


if __name__ == "__main__":
    run_command(main)
