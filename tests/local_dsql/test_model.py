"""Random interleavings against the model of snapshot isolation: 300 of them; `make dsql-model` goes on."""

import pytest

from local_dsql.cluster import LocalDsql
from tests.local_dsql.conftest import fresh_database
from tests.local_dsql.model import run_seeds

SLICE = 50


@pytest.mark.parametrize("first", range(1, 301, SLICE))
def test_every_answer_is_the_models(server: LocalDsql, first: int) -> None:
    for database in fresh_database(server):
        answers = run_seeds(server, database, range(first, first + SLICE))
    assert answers > 10 * SLICE
