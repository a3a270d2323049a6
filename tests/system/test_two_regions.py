"""The drill of `make regions` in a short form, with the session's Region as the one that survives.

It shows itself to a browser where there is one, whose page has to end with the figures of the drill.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from demos.live import Live
from demos.regions import Board, Drill, DrillLoad, Figures, View
from local.region import LocalRegion
from tests.system.conftest import TAKEOVER_S
from tools.browser import find

try:
    from playwright import sync_api as playwright
except ImportError:  # in .local/dev
    playwright = None


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """Give a page in a browser, or None."""
    path = find()
    if playwright is None or path is None:
        yield None
        return
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=str(path), args=options)
        yield browser.new_page(locale="en-US")
        browser.close()


@pytest.fixture(scope="module")
def drilled(region: LocalRegion, page: Any) -> Figures:
    """Lose a second Region on the same database and have it back; give the drill's last figures."""
    board = Board()
    parameters = {"RelayTakeoverS": f"{TAKEOVER_S:g}"}
    plan = DrillLoad(shoppers=2, load_s=2, takeover_s=TAKEOVER_S, scarce_units=8)
    with ExitStack() as stack:
        live = stack.enter_context(Live("regions", board.figures, View(), port=0))
        if page is not None:
            page.goto(live.url)
        doomed = stack.enter_context(
            LocalRegion("us-east-2", region.database, durable=True, parameters=parameters)
        )
        Drill(doomed, region, plan, board, lambda says: live.at(says, running=True)).run()
    return board.figures()


def test_a_region_is_lost_its_peer_carries_on_it_comes_back_and_everything_adds_up(drilled: Figures) -> None:
    checks = [line.text for line in drilled.story if line.kind == "check"]
    # The drill raises where something is not so: what has to be told is that it got there.
    for said in (
        "messages were stranded in its outbox",
        "are placed in us-east-2 again",
        "its own relay publishes them",
        "that its queues had kept have had their effect",
        "no orders without exactly one debit",
        "no messages in the outbox",
        "the queues and dead-letter queues of us-east-2 are empty",
        "with one effect in each of the two consumers",
        "can sign in nowhere any more",
    ):
        assert any(said in each for each in checks), said
    assert [moment.what.split(" ", 1)[1] for moment in drilled.moments] == [
        "is lost",
        "has published what us-east-2 left in its outbox",
        "is back",
    ]
    lost = next(each for each in drilled.regions if each.name == "us-east-2")
    assert lost.state == "up"
    assert 0 in lost.answered
    assert max(each for each in lost.backlog if each is not None) > 0


def test_its_page_ends_with_the_drills_figures(drilled: Figures, page: Any) -> None:
    if page is None:
        pytest.skip("there is no browser: make test looks for one, or fetches it")
    playwright.expect(page.locator(".stage")).to_have_text("Done")
    tiles = dict(
        page.evaluate(
            "[...document.querySelectorAll('main > .tiles div')]"
            ".map((one) => [one.querySelector('dt').textContent, one.querySelector('dd').textContent])"
        )
    )
    assert tiles == {
        "orders": f"{drilled.orders:,}",
        "requests": f"{drilled.requests:,}",
        "sent again": f"{drilled.sent_again:,}",
        "found done": f"{drilled.found_done:,}",
        "conflicts": f"{drilled.conflicts:,}",
    }
    rows = page.evaluate(
        "[...document.querySelectorAll('tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [tuple(row) for row in rows] == [row for shown in drilled.tables for row in shown.rows]
    story = page.locator(".story li > span:last-child").all_text_contents()
    assert story == [line.text for line in drilled.story]
    assert page.locator(".moments li").count() == len(drilled.moments)
