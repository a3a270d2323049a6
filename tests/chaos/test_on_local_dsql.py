"""Some seeds on a local DSQL, where what only DSQL does goes wrong; and a token's and a connection's end."""

from collections.abc import Iterator

import pytest

from tests.chaos.on_local_dsql import DsqlLinks, open_cluster, run_seeds
from tests.chaos.runner import Result, quieten

SEEDS = range(1, 9)


@pytest.fixture(scope="module")
def ran() -> Iterator[tuple[list[Result], DsqlLinks]]:
    quieten()
    with open_cluster() as cluster:
        links = DsqlLinks(cluster)
        results = list(run_seeds(SEEDS, links))
        yield results, links
        links.close()


def test_whatever_fails_everything_that_must_hold_holds(ran: tuple[list[Result], DsqlLinks]) -> None:
    results, _ = ran
    assert [(result.seed, problem) for result in results for problem in result.problems] == []
    assert sum(result.counts["told: done"] for result in results) > len(SEEDS)


def test_conflicts_changes_of_the_schema_failures_and_ends_of_connections_were_met(
    ran: tuple[list[Result], DsqlLinks],
) -> None:
    _, links = ran
    assert {code for code in ("OC000", "OC001", "XX000", "lost") if not links.met[code]} == set()


def test_every_kind_of_transaction_has_met_a_conflict_at_commit(ran: tuple[list[Result], DsqlLinks]) -> None:
    _, links = ran
    assert len(links.committed) > 30
    assert [sorted(kind) for kind in links.committed - links.conflicted] == []
