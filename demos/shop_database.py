"""The shop's database on a local DSQL of its own, for demonstrations, with tokens and linked roles."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from local_dsql.cluster import LocalDsql
from local_dsql.places import own_directory
from local_dsql.tokens import ADMIN, Key
from sql.connection import Connection, Database, DatabaseSettings
from sql.migrate import migrate
from sql.token import Credentials, presign

REGIONS = ("us-east-1", "us-west-2")
"""The two Regions of the workshop. Here one server stands for the endpoints of both."""

ROLES = ("checkout", "reports", "operations")
"""The database roles that demonstrations connect as, besides `admin`."""

_ACCOUNT = "111122223333"
_TOKEN_S = 900
#: What a demonstration waits for in vain: a job that builds an index takes this long.
_INDEX_BUILD_S = 0.05


def arn(role: str) -> str:
    """Give the ARN of the IAM role that stands for a database role."""
    return f"arn:aws:iam::{_ACCOUNT}:role/{role}"


class ShopDatabase:
    """A local DSQL, and access keys to it that are good nowhere else."""

    def __init__(self, cluster: LocalDsql, keys: Mapping[str, Key]) -> None:
        self.cluster = cluster
        self._keys = keys

    def token(self, role: str) -> str:
        """Sign a token for a role, with the key of the IAM role that stands for it."""
        access_key_id, key = next(each for each in self._keys.items() if each[1].arn == arn(role))
        return presign(
            Credentials(access_key_id, key.secret_access_key),
            self.cluster.host,
            self.cluster.region,
            "DbConnectAdmin" if role == ADMIN else "DbConnect",
            _TOKEN_S,
            datetime.now(UTC),
        )

    def database(self, role: str, region: str = REGIONS[0], **more: Any) -> Database:
        """Give the way to the database that a function of a Region has, with more settings."""
        cluster = self.cluster
        settings = DatabaseSettings(cluster.host, role, region, port=cluster.port, tls="disable", **more)
        settings = settings._replace(application_name="demo")
        return Database(settings, mint=lambda asked: self.token(asked.role))

    def session(self, role: str = ADMIN) -> Connection:
        """Open a session in which every statement is a transaction unless one is begun."""
        return Connection.connect(
            self.cluster.conninfo(role=role), password=self.token(role), autocommit=True
        )

    def migrate(self, report: Callable[[str], None] = lambda _line: None) -> None:
        """Make the shop's schema and roles, and link each role to the IAM role that stands for it."""
        database = self.database(ADMIN)
        migrate(database, {role: [arn(role)] for role in ROLES}, report=report)
        database.discard()


@contextmanager
def open_database(connections: int = 100, limits: Mapping[str, Any] | None = None) -> Iterator[ShopDatabase]:
    """Start a local DSQL for `connections` sessions at once; raises StartError.

    It is without TLS and fsync: nothing leaves this machine, and nothing is kept. `limits` are those of
    `local_dsql.server.Limits` that are to differ from DSQL's.
    """
    keys = {
        f"AKID{number:016}": Key(secrets.token_urlsafe(30), arn(role))
        for number, role in enumerate((ADMIN, *ROLES))
    }
    given = {"index_build_s": _INDEX_BUILD_S, **(limits or {})}
    with (
        own_directory("rewards-demo", passable=True) as directory,
        LocalDsql(
            directory, tls=False, fsync=False, keys=keys, limits=given, connections=connections
        ) as cluster,
    ):
        yield ShopDatabase(cluster, keys)
