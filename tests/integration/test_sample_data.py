"""The sample data in a real database: whole, in transactions that DSQL accepts, loaded once."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from demos.invariants import QUERIES
from local.sample_data import Loaded, OtherDataError, SampleData, generate, load, write_csv
from local.sample_data.__main__ import main
from local.sample_data.rows import TABLES
from local_dsql.postgres import EmbeddedPostgres
from sql.connection import Connection, Database
from sql.queries import load as load_queries
from tests.integration.conftest import Connect

TOTAL = "select count(*) from xpoints."
INVARIANTS = load_queries(str(QUERIES / "invariants"))


@pytest.fixture(scope="module")
def small() -> SampleData:
    return generate(300)


@pytest.fixture
def admin(database: Callable[..., Database]) -> Connection:
    """The project's own connection: what runs over it is checked against DSQL's rules."""
    return database("admin").connection()


def _counts(connection: Connection) -> dict[str, int]:
    return {table.name: _one(connection, f"{TOTAL}{table.name}") for table in TABLES}


def _one(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _expected(data: SampleData) -> dict[str, int]:
    return {table.name: len(data.rows(table.name)) for table in TABLES}


def test_all_rows_arrive_and_no_transaction_changed_more_than_3000(admin: Connection) -> None:
    data = generate()
    told: list[tuple[str, int, int]] = []
    loaded = load(admin, data, lambda *step: told.append(step))
    assert _counts(admin) == _expected(data)
    total = sum(_expected(data).values())
    assert loaded.rows == total
    assert told[-1] == ("Loading rows", total, total)
    # xmin is the transaction that wrote a row: the server's own word on how many rows each one changed.
    writers = " union all ".join(f"select xmin::text as writer from xpoints.{table.name}" for table in TABLES)
    changed = admin.execute(f"select count(*) from ({writers}) w group by writer").fetchall()
    assert max(row[0] for row in changed) <= 3000
    assert len(changed) == loaded.transactions


def test_what_was_loaded_is_what_was_generated(admin: Connection, small: SampleData) -> None:
    load(admin, small)
    for table in TABLES:
        rows = admin.execute(f"select {', '.join(table.columns)} from xpoints.{table.name}").fetchall()
        expected = small.rows(table.name)
        if table.name == "catalog_items":
            # real has six digits
            rows = [tuple(round(v, 2) if isinstance(v, float) else v for v in row) for row in rows]
        assert set(rows) == set(map(tuple, expected)), table.name


def test_carts_arrive_fresh(admin: Connection, small: SampleData) -> None:
    load(admin, small)
    stale = "select count(*) from xpoints.shopping_cart_items where updated_at < now() - interval '1 hour'"
    assert _one(admin, stale) == 0


def test_the_loaded_shop_breaks_no_invariant(admin: Connection, small: SampleData) -> None:
    load(admin, small)
    checks = {name: query for name, query in INVARIANTS.items() if not name.startswith("count_")}
    assert {name: admin.execute(query.text).fetchall() for name, query in checks.items()} == {
        name: [] for name in checks
    }


def test_a_second_loading_leaves_what_customers_did_meanwhile(admin: Connection, small: SampleData) -> None:
    load(admin, small)
    admin.execute("delete from xpoints.shopping_cart_items where customer_id = %s", [small.customers[0].id])
    admin.execute("update xpoints.customers set city = 'Oaxaca' where id = %s", [small.customers[0].id])
    before = _counts(admin)
    assert load(admin, small) == Loaded(0, 0)
    assert _counts(admin) == before


def test_an_interrupted_loading_goes_on_where_it_stopped(admin: Connection, small: SampleData) -> None:
    class StopHereError(Exception):
        pass

    def interrupt(_what: str, done: int, _total: int) -> None:
        if done > 1500:
            raise StopHereError

    with pytest.raises(StopHereError):
        load(admin, small, interrupt)
    before = sum(_counts(admin).values())
    assert 1500 < before < sum(_expected(small).values())
    assert load(admin, small).rows == sum(_expected(small).values()) - before
    assert _counts(admin) == _expected(small)


@pytest.mark.parametrize("numbers", [(301, 200, 1), (300, 100, 1), (300, 200, 2)])
def test_another_sample_is_refused_before_anything_is_written(
    admin: Connection, small: SampleData, numbers: tuple[int, int, int]
) -> None:
    load(admin, small)
    before = _counts(admin)
    with pytest.raises(OtherDataError, match="empty database"):
        load(admin, generate(*numbers))
    assert _counts(admin) == before


def test_a_table_with_rows_of_others_is_refused(admin: Connection, small: SampleData) -> None:
    admin.execute("insert into xpoints.catalog_items (name) values ('Somebody else''s item')")
    with pytest.raises(OtherDataError, match="empty database"):
        load(admin, small)


def test_a_connection_inside_a_transaction_is_refused(connect: Connect, small: SampleData) -> None:
    connection = connect(autocommit=False)
    connection.execute("select 1")
    with pytest.raises(ValueError, match="commit or roll back"):
        load(connection, small)


def test_a_connection_without_autocommit_loads_in_the_same_transactions(
    connect: Connect, small: SampleData
) -> None:
    load(connect(autocommit=False), small)
    assert _counts(connect()) == _expected(small)


def test_the_command_loads_and_then_says_that_it_is_there(
    postgres: EmbeddedPostgres, database_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["load", "--dsn", postgres.conninfo(database_name), "--customers", "20", "--items", "20"]
    assert main(command) == 0
    assert "Loaded" in capsys.readouterr().out
    assert main(command) == 0
    assert "there already" in capsys.readouterr().out
    assert main([*command[:-1], "21"]) == 2
    assert "empty database" in capsys.readouterr().err


def test_psql_copies_the_csv_files(
    postgres: EmbeddedPostgres, database_name: str, connect: Connect, small: SampleData, tmp_path: Path
) -> None:
    write_csv(small, tmp_path)
    psql = postgres.bin_directory / "psql"
    command = [str(psql), "-X", "-q", "-d", postgres.conninfo(database_name), "-f", "load.sql"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = {table.name for table in TABLES if not table.workshop_columns}
    expected = {name: count for name, count in _expected(small).items() if name not in ours}
    counts = _counts(connect())
    assert {name: counts[name] for name in expected} == expected
    maiden = "select count(*) from xpoints.customers where maiden_name is null"
    assert _one(connect(), maiden) == sum(customer.maiden_name is None for customer in small.customers)
