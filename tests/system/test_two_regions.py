"""The drill of `make regions` in a short form, with the session's Region as the one that survives."""

from collections.abc import Iterator

import pytest

from demos.regions import Drill, DrillLoad
from local.region import LocalRegion
from tests.system.conftest import TAKEOVER_S


@pytest.fixture
def doomed(region: LocalRegion) -> Iterator[LocalRegion]:
    """A second Region on the same database, which does not know that it will be lost."""
    parameters = {"RelayTakeoverS": f"{TAKEOVER_S:g}"}
    with LocalRegion("us-east-2", region.database, parameters=parameters) as started:
        yield started


def test_a_region_that_loses_its_peer_carries_on_takes_over_its_outbox_and_everything_adds_up(
    region: LocalRegion, doomed: LocalRegion
) -> None:
    Drill(doomed, region, DrillLoad(shoppers=2, load_s=2, takeover_s=TAKEOVER_S, scarce_units=8)).run()
