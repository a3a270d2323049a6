"""A function's settings, validated when its module is imported: a wrong deployment fails its first start."""

import os
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from sql.connection import Database


class Environment(BaseModel):
    """What every function finds in its environment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    region: str = Field(alias="AWS_REGION", min_length=1)

    @classmethod
    def read(cls) -> Self:
        """Read the process environment. Raises pydantic.ValidationError naming each wrong variable."""
        return cls.model_validate(os.environ)


class DatabaseEnvironment(Environment):
    """The environment of a function that uses the database."""

    database_host: str = Field(alias="DATABASE_HOST", min_length=1)
    database_port: int = Field(5432, alias="DATABASE_PORT", ge=1, le=65535)
    database_name: str = Field("postgres", alias="DATABASE_NAME", min_length=1)
    database_role: str = Field(alias="DATABASE_ROLE", pattern=r"^[a-z_]+$")
    database_tls: Literal["verify-full", "disable"] = Field("verify-full", alias="DATABASE_TLS")
    database_pipeline: Literal["on", "off"] = Field("on", alias="DATABASE_PIPELINE")
    database_attempt_s: float = Field(5.0, alias="DATABASE_ATTEMPT_S", gt=0, le=300)
    function_name: str = Field("local", alias="AWS_LAMBDA_FUNCTION_NAME")

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
