"""A function's settings, validated when its module is imported: a wrong deployment fails its first start."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from msgspec import Meta, Struct, convert, field

if TYPE_CHECKING:
    from sql.connection import Database


NonEmpty = Annotated[str, Meta(min_length=1)]


class Environment(Struct, frozen=True):
    """What every function finds in its environment."""

    region: NonEmpty = field(name="AWS_REGION")

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Read the process environment. Raises msgspec.ValidationError naming a wrong variable."""
        return convert(variables, cls, strict=False)


class DatabaseEnvironment(Environment, frozen=True):
    """The environment of a function that uses the database."""

    database_host: NonEmpty = field(name="DATABASE_HOST")
    database_role: Annotated[str, Meta(pattern=r"^[a-z_]+\Z")] = field(name="DATABASE_ROLE")
    database_port: Annotated[int, Meta(ge=1, le=65535)] = field(name="DATABASE_PORT", default=5432)
    database_name: NonEmpty = field(name="DATABASE_NAME", default="postgres")
    database_tls: Literal["verify-full", "disable"] = field(name="DATABASE_TLS", default="verify-full")
    database_pipeline: Literal["on", "off"] = field(name="DATABASE_PIPELINE", default="on")
    database_attempt_s: Annotated[float, Meta(gt=0, le=300)] = field(name="DATABASE_ATTEMPT_S", default=5.0)
    function_name: str = field(name="AWS_LAMBDA_FUNCTION_NAME", default="local")

    def database(self) -> "Database":
        """Give the way to the database; nothing is connected yet."""
        from sql.connection import Database, DatabaseSettings  # a function without one starts without psycopg

        return Database(
            DatabaseSettings(
                host=self.database_host,
                port=self.database_port,
                name=self.database_name,
                role=self.database_role,
                region=self.region,
                tls=self.database_tls,
                pipelined=self.database_pipeline == "on",
                attempt_s=self.database_attempt_s,
                # PostgreSQL cuts names at 63 bytes; the prefix is what tells our sessions from a person's.
                application_name=f"rewards-{self.function_name}"[:63],
            )
        )
