"""The guided tour of docs/api.md goes as the page says: each step checks the status of its answer."""

from demos import tour
from local.region import LocalRegion


def test_the_tour_can_be_taken(region: LocalRegion) -> None:
    page = tour.take(region)

    assert "## Ana orders" in page
    written = tour.PAGE.read_text(encoding="utf-8")
    # Ids and moments differ from run to run; the steps must not.
    steps = [line for line in page.splitlines() if line.startswith(("#", "- **", "An ", "A "))]
    assert [line for line in steps if line not in written] == [], "run: python -m demos.tour"
