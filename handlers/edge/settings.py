"""A function's settings, validated when its module is imported: a wrong deployment fails its first start."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from sql.connection import Database


NonEmpty = Annotated[str, Field(min_length=1)]


class Environment(BaseModel):
    """What every function finds in its environment, where a variable has the field's name in capitals.

    Most of a process's variables are none of ours, and all are text: so, unlike other models, it lets unknown
    ones be and reads text as what is asked for. What an error says quotes no value: some are secrets.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=str.upper,
        allow_inf_nan=False,
        defer_build=True,
        hide_input_in_errors=True,
    )

    region: NonEmpty = Field(alias="AWS_REGION")

    @classmethod
    def read(cls, variables: Mapping[str, str] = os.environ) -> Self:
        """Read the process environment. Raises pydantic.ValidationError naming each wrong variable."""
        return cls.model_validate(variables)


class DatabaseEnvironment(Environment):
    """The environment of a function that uses the database."""

    database_host: NonEmpty
    database_role: Annotated[str, Field(pattern=r"^[a-z_]+$")]
    database_port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database_name: NonEmpty = "postgres"
    database_tls: Literal["verify-full", "disable"] = "verify-full"
    database_pipeline: Literal["on", "off"] = "on"
    database_attempt_s: Annotated[float, Field(gt=0, le=300)] = 5.0
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
