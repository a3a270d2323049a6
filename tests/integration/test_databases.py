"""A test finds its database as the migrations left it, whatever the test before has done."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from local_dsql.postgres import EmbeddedPostgres
from tests.integration.databases import MigratedDatabases


@pytest.fixture(scope="module")
def databases(postgres: EmbeddedPostgres, template_database: str) -> Iterator[MigratedDatabases]:
    """Databases that no other test has had."""
    with closing(MigratedDatabases(postgres, template_database)) as databases:
        yield databases


A_ROW = "insert into xpoints.images (id, filename) values (gen_random_uuid(), 'mug.png')"


def after(databases: MigratedDatabases, postgres: EmbeddedPostgres, *statements: str) -> bool:
    """Tell whether the database goes on to the next test after one with these statements."""
    with databases.lend() as name, psycopg.connect(postgres.conninfo(name), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
    with databases.lend() as following, psycopg.connect(postgres.conninfo(following)) as connection:
        assert connection.execute("select count(*) from xpoints.images").fetchone() == (0,)
        assert connection.execute("select count(*) from xpoints.schema_migrations").fetchone() != (0,)
    return following == name


def test_rows_go_and_the_database_stays(databases: MigratedDatabases, postgres: EmbeddedPostgres) -> None:
    assert after(databases, postgres, A_ROW)
    assert after(databases, postgres, "create temporary table t (a int)", "insert into t values (1)")


def test_a_session_that_a_test_leaves_ends_with_it(
    databases: MigratedDatabases, postgres: EmbeddedPostgres
) -> None:
    with databases.lend() as name:
        left = psycopg.connect(postgres.conninfo(name), autocommit=True)
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        left.execute(A_ROW)
    left.close()


@pytest.mark.parametrize(
    "statement",
    [
        "create table xpoints.more (id int)",
        "alter table xpoints.images add more int",
        "alter table xpoints.images drop column filename",
        "drop index xpoints.catalog_images_item",
        "create schema more",
        "grant insert on xpoints.images to checkout",
        "revoke select on xpoints.images from checkout",
        "create function more() returns int language sql return 1",
        "alter table xpoints.images alter id drop default",
        "delete from xpoints.schema_migrations where ctid = '(0,1)'",
        "analyze xpoints.images",
        "do $$ begin execute format('alter database %I set work_mem = 64', current_database()); end $$",
        "insert into xpoints.images select gen_random_uuid(), 'x' from generate_series(1, 30000)",
    ],
)
def test_a_database_that_is_otherwise_than_migrated_is_no_other_tests(
    databases: MigratedDatabases, postgres: EmbeddedPostgres, statement: str
) -> None:
    assert not after(databases, postgres, A_ROW, statement)
