"""Migrated databases that go from one test to the next: a copy takes half a second, to empty one takes 10 ms.

A database goes on only while it is as the migrations left it, but for rows: one whose schema, rights or
settings a test has changed is dropped, and so is one that has grown. What looks at it is one statement, on a
connection that goes on with it: a new one reads the catalogue first, which takes longer than all the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

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
_ESTIMATES = f"select oid, relpages, reltuples from pg_class where {_IS_OURS}"

_SETTINGS = "select setrole, setconfig from pg_db_role_setting"

_LARGEST = f"select max(pg_relation_size(oid)) from pg_class where {_IS_OURS}"


_numbers = count(1)

_Connection = psycopg.Connection[Any]


class _Database(NamedTuple):
    """One of them, with the connection that looks at it, and what that saw at first."""

    name: str
    connection: _Connection
    as_migrated: str


class MigratedDatabases:
    """Databases of one server: copies of `template`, handed out again when they have been emptied."""

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self._server = server
        self._template = template
        self._spare: list[_Database] = []
        with self._connect(template) as connection:
            tables = [table for (table,) in connection.execute(_TABLES)]
            filled = [table for table in tables if connection.execute(f"table {table} limit 1").fetchone()]
        self._empty = "; ".join(f"delete from {table}" for table in tables if table not in filled)
        states = [*(f"table {table}" for table in filled), _ESTIMATES, _SETTINGS]
        states += [
            f"select xmin, count(*) from {catalogue} {_but_temporary(catalogue)} group by xmin"
            for catalogue in _CATALOGUES
        ]
        rows = (f"(select string_agg(s::text, ',' order by s::text) from ({state}) s)" for state in states)
        self._look_at = f"select ({_LARGEST}), md5(array[{', '.join(rows)}]::text)"

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Give the name of a database without a row of data, for the length of a `with` block.

        Then its sessions are ended, and it goes on to the next test if it is as it was.
        """
        lent = self._spare.pop() if self._spare else self._copy()
        try:
            yield lent.name
        except BaseException:
            lent.connection.close()
            raise
        lent.connection.execute(_END_SESSIONS)
        largest, state = self._look(lent.connection)
        if largest <= _MOST_BYTES and state == lent.as_migrated:
            lent.connection.execute(self._empty)
            self._spare.append(lent)
        else:
            lent.connection.close()
            self._server.drop_database(lent.name)

    def close(self) -> None:
        """Close the connections to those that nobody has."""
        for spare in self._spare:
            spare.connection.close()

    def _copy(self) -> _Database:
        name = f"test_{next(_numbers)}"
        self._server.create_database(name, template=self._template)
        connection = self._connect(name)
        return _Database(name, connection, self._look(connection)[1])

    def _look(self, connection: _Connection) -> tuple[int, str]:
        """Give the bytes of the largest table or index, and what tells its state from others."""
        ((largest, state),) = connection.execute(self._look_at, prepare=True).fetchall()
        return largest or 0, state

    def _connect(self, name: str) -> _Connection:
        return psycopg.connect(self._server.conninfo(name), autocommit=True)


def _but_temporary(catalogue: str) -> str:
    return "where nspname !~ '^pg_.*temp'" if catalogue == "pg_namespace" else ""
