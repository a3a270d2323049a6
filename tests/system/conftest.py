"""One local Region for all system tests of a session: started once, some 10 s, and stopped at its end."""

from collections.abc import Iterator

import pytest

from local.region import LocalRegion, stopwatch

#: Messages of a Region that was lost are taken over sooner than in production: tests wait for it.
TAKEOVER_S = 5.0


@pytest.fixture(scope="session")
def region(request: pytest.FixtureRequest) -> Iterator[LocalRegion]:
    """A deployed Region without data."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    print_step = stopwatch()

    def say(step: str) -> None:
        with capture.global_and_fixture_disabled():
            print_step(step)

    parameters = {"RelayTakeoverS": f"{TAKEOVER_S:g}"}
    with LocalRegion(parameters=parameters, say=say) as started:
        yield started
