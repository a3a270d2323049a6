from collections.abc import Callable
from sql.connection import Connection, Database
from sql.migrate import migrate
def test_a_second_run_has_nothing_to_do(database: Callable[..., Database]) -> None:
    assert migrate(database("admin")) == 0
