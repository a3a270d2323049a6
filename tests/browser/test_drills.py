"""The drills in a browser while they run: the commands as a person types them, at a small size."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demos import regions, sale, stress
from demos.live import Live
from tests.browser.conftest import PATIENCE_MS
from tests.browser.test_for_everybody import faults, violations

expect = pytest.importorskip("playwright.sync_api").expect

ROOT = Path(__file__).parents[2]

SALE = ["demos.sale", "--live", "--buyers", "60", "--at-once", "60", "--units", "1"]
STRESS = ["demos.stress", "--live", "--transfers", "60", "--parallel", "12", "--connections", "6"]
STRESS += ["--accounts", "12"]

Open = Callable[..., Any]


@pytest.fixture
def look(browser: Any) -> Iterator[Open]:
    """Open a drill's page: nothing may be said on its console."""
    contexts, said = [], []

    def opened(url: str, **options: Any) -> Any:
        context = browser.new_context(locale="en-US", **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    # A stream that ends with the drill is no fault of the page's.
    assert [each for each in said if "net::ERR" not in each] == []


@pytest.fixture
def drill() -> Iterator[Callable[[list[str]], tuple[str, subprocess.Popen[str]]]]:
    """Start a drill; give its page's address, which it prints first."""
    started: list[subprocess.Popen[str]] = []

    def start(command: list[str]) -> tuple[str, subprocess.Popen[str]]:
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.devnull, "COLUMNS": "200"}
        running = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        started.append(running)
        assert running.stdout is not None
        first = running.stdout.readline()
        found = re.search(r"in a browser: (http://127\.0\.0\.1:\d+/)$", first.strip())
        assert found is not None, first
        return found[1], running

    yield start
    for running in started:
        running.kill()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()


def printed(running: subprocess.Popen[str]) -> tuple[list[list[str]], str]:
    """Wait for the end; give the rows of the tables that the command printed, and all of it."""
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    rows = [line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows], output


def shown(page: Any) -> list[list[str]]:
    """Give the rows of the page's tables."""
    script = (
        "[...document.querySelectorAll('tbody tr')]"
        ".map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return [list(row) for row in page.evaluate(script)]


def test_a_sale_shows_itself_and_ends_with_what_the_command_prints(look: Open, drill: Open) -> None:
    url, running = drill(SALE)
    page = look(url)
    expect(page.get_by_role("heading", level=1)).to_have_text("One sale, many buyers")
    expect(page.locator(".stage")).to_have_text("Done")
    rows, output = printed(running)
    assert shown(page)[:2] == rows[:2]
    # The terminal's log has the seconds' fractions as the page has them.
    assert shown(page)[2:] == rows[2:]
    assert page.locator("#sold").inner_text() in output
    assert page.locator(".seat.done").count() == 1
    assert page.locator(".seat.out-of-stock").count() == 59
    # What a screen reader says of a seat.
    assert str(page.locator(".seat .hidden").first.text_content()).startswith("Buyer 1: ")
    assert violations(page) == []


def test_a_stress_test_shows_itself_and_ends_with_the_table_that_the_command_prints(
    look: Open, drill: Open
) -> None:
    url, running = drill(STRESS)
    page = look(url, color_scheme="dark", reduced_motion="reduce", viewport={"width": 390, "height": 800})
    expect(page.get_by_role("heading", level=1)).to_have_text("Transfers under stress")
    expect(page.locator(".stage")).to_have_text("Done")
    rows, output = printed(running)
    assert shown(page) == rows
    assert page.locator("#sold").inner_text() in output
    expect(page.get_by_role("progressbar", name="transfers with retries")).to_have_attribute("value", "60")
    label = str(page.get_by_role("img").nth(1).get_attribute("aria-label"))
    assert label.startswith("Time of a call, calls by ms")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []


def test_who_comes_late_or_lost_the_connection_gets_the_whole_state(look: Open) -> None:
    figures: dict[str, Any] = {"units": 3, "buyers": 4, "regions": ["here"], "waiting": 2, "trying": 1}
    figures |= {"outcomes": {"done": 1}, "conflicts": 7, "median_ms": 1.0, "longest_ms": 2.0}
    figures |= {"seats": [{"region": "here", "state": "done"}], "sale": None}
    with Live("sale", lambda: dict(figures), port=0) as live:
        live.at("<img src=x onerror=alert(1)>", running=True)
        page = look(live.url)
        conflicts = page.locator(".tiles div", has_text="conflicts").locator("dd")
        expect(conflicts).to_have_text("7")
        # Text stays text, whatever it says.
        expect(page.locator(".says")).to_have_text("<img src=x onerror=alert(1)>")
        url = live.url
    expect(page.locator(".stage")).to_have_text("Done")

    with Live("sale", lambda: dict(figures), port=0) as live:
        page = look(live.url)
        expect(page.locator(".stage")).to_have_text("Starting")
        page.context.set_offline(True)
        figures["conflicts"] = 9
        page.context.set_offline(False)
        expect(page.locator(".tiles div", has_text="conflicts").locator("dd")).to_have_text("9")
    assert url != live.url


#: Each drill in the middle of things, as its snapshots say it.
MIDST: dict[str, tuple[Any, str]] = {
    "sale": (
        sale.Figures(
            1, 3, ("us-east-1", "us-east-2"), 0, 1, {"done": 1, "out-of-stock": 1}, 2, 3.5, 9.0, (), None
        ),
        "One sale, many buyers",
    ),
    "stress": (
        stress.Figures(
            6,
            6,
            (
                stress.Course(
                    "without retries", 60, 60, {"40001": 12}, (20, 40), (9,) * (len(stress.BUCKETS_MS) + 1)
                ),
                stress.Course("with retries", 60, 30, {}, (10, 20), (4,) * (len(stress.BUCKETS_MS) + 1)),
            ),
            stress.BUCKETS_MS,
            stress.table(None, None),
            12_000,
            12_000,
        ),
        "Transfers under stress",
    ),
    "regions": (
        regions.Figures(
            40,
            90,
            3,
            1,
            2,
            (
                regions.RegionFigures("us-east-1", "lost", (5, 9, 0), (0, 3, None), 0),
                regions.RegionFigures("us-east-2", "up", (4, 6, 14), (0, 1, 0), 16),
            ),
            (regions.Moment(1.5, "us-east-1 is lost"),),
            (regions.Told("heading", "A Region is lost"), regions.Told("check", "the other goes on")),
            (regions.Shown("from the order to an effect", ("events", "p99 ms"), (("all", "80"),)),),
        ),
        "Two Regions, one lost",
    ),
}


@pytest.mark.parametrize("drill_name", MIDST)
def test_axe_finds_nothing_on_a_drills_page(look: Open, drill_name: str) -> None:
    figures, title = MIDST[drill_name]
    with Live(drill_name, lambda: figures, port=0) as live:
        live.at("in the midst of it", running=True)
        page = look(live.url)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator(".tiles, progress").first).to_be_visible()
        assert faults(page, drill_name) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
