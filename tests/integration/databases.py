"""Migrated databases that go from one test to the next: a copy takes half a second, to empty one takes 10 ms.

A database goes on only while it is as the migrations left it, but for rows: one whose schema, rights or
settings a test has changed is dropped, and so is one that has grown.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg

from local_dsql.postgres import EmbeddedPostgres

#: What a table or an index may hold when a test has ended: the dead rows of a few hundred tests.
_MOST_BYTES = 1_000_000

_END_SESSIONS = """
select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""

# DDL, GRANT and REVOKE write rows here; `xmin` names the transaction that wrote a row.
_CATALOGUES = [
    *("pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_default_acl", "pg_index"),
    *("pg_namespace", "pg_proc", "pg_rewrite", "pg_sequence", "pg_trigger", "pg_type"),
]

# Doomed transactions make temporary tables, and a schema for them stays.
_IS_OURS = "oid >= 16384 and relnamespace not in (select oid from pg_namespace where nspname ~ '^pg_.*temp')"

_TABLES = f"select oid::regclass::text from pg_class where relkind = 'r' and {_IS_OURS}"

# ANALYZE changes what is estimated of a table, and with it the plans of later tests.
_ESTIMATES = f"select (oid, relpages, reltuples)::text from pg_class where {_IS_OURS} order by oid"

_SETTINGS = "select setrole, setconfig from pg_db_role_setting order by setrole"

_LARGEST = f"select max(pg_relation_size(oid)) from pg_class where {_IS_OURS}"


_numbers = count(1)


class MigratedDatabases:
    """Databases of one server: copies of `template`, handed out again when they have been emptied."""

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self._server = server
        self._template = template
        self._spare: list[str] = []
        self._as_migrated: dict[str, list[Any]] = {}
        with self._connect(template) as connection:
            tables = [table for (table,) in connection.execute(_TABLES)]
            filled = [table for table in tables if connection.execute(f"table {table} limit 1").fetchone()]
        self._empty = "; ".join(f"delete from {table}" for table in tables if table not in filled)
        self._state = [*(f"table {table} order by 1" for table in filled), _ESTIMATES, _SETTINGS]
        self._state += [
            f"select count(*), sum(xmin::text::bigint) from {catalogue} {_but_temporary(catalogue)}"
            for catalogue in _CATALOGUES
        ]

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Give the name of a database without a row of data, for the length of a `with` block.

        Then its sessions are ended, and it goes on to the next test if it is as it was.
        """
        name = self._spare.pop() if self._spare else self._copy()
        yield name
        with self._connect(name) as connection:
            connection.execute(_END_SESSIONS)
            (largest,) = connection.execute(_LARGEST).fetchone() or (0,)
            is_kept = largest <= _MOST_BYTES and self._look(connection) == self._as_migrated[name]
            if is_kept:
                connection.execute(self._empty)
        if is_kept:
            self._spare.append(name)
        else:
            self._server.drop_database(name)

    def _copy(self) -> str:
        name = f"test_{next(_numbers)}"
        self._server.create_database(name, template=self._template)
        with self._connect(name) as connection:
            self._as_migrated[name] = self._look(connection)
        return name

    def _look(self, connection: psycopg.Connection[Any]) -> list[Any]:
        return [connection.execute(query).fetchall() for query in self._state]

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.conninfo(name), autocommit=True)


def _but_temporary(catalogue: str) -> str:
    return "where nspname !~ '^pg_.*temp'" if catalogue == "pg_namespace" else ""
