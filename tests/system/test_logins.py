"""The Region's database asks everybody for a token: who signed it, for where, and may they be that role?"""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg import sql

from local.emulator import NO_CERTIFICATES
from local.region import LocalRegion
from sql.connection import Connection
from sql.token import Credentials, presign
from tests.integration.shop import Shop
from tests.system.test_rights import role_of
from tests.system.waiting import until
from tools.template import functions, resources, variables

#: The database role of each function that has one.
CONNECTS = {
    name: str(variables(name)["DATABASE_ROLE"]) for name in functions() if "DATABASE_ROLE" in variables(name)
}
ROLES = sorted(resources("Custom::Migration")["Migration"]["Properties"]["RoleArns"])

#: A function that gives away what its environment has: whose role's it is has been lost.
_LEAK = """
import os

def handler(event, context):
    return [os.environ["AWS_" + name] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
"""

Sign = Callable[..., str]


@pytest.fixture(scope="module")
def credentials(region: LocalRegion) -> Iterator[dict[str, Credentials]]:
    """The credentials that each function finds in its environment."""
    client, code = region.client("lambda"), io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("leak.py", _LEAK)

    def leak(function: str) -> Credentials:
        name = f"leak-{uuid4().hex[:8]}"
        client.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="leak.handler",
            Role=role_of(region, function),
            Code={"ZipFile": code.getvalue()},
            Timeout=30,
        )
        answer = client.invoke(FunctionName=name)["Payload"].read()
        client.delete_function(FunctionName=name)
        return Credentials(*json.loads(answer))

    with ThreadPoolExecutor(2) as pool:
        yield dict(zip(CONNECTS, pool.map(leak, CONNECTS), strict=True))


def sign(
    region: LocalRegion,
    credentials: Credentials,
    *,
    action: str = "DbConnect",
    host: str = "",
    region_name: str = "",
    age: timedelta = timedelta(0),
) -> str:
    """Sign a token for the Region's database, or one that is different in something."""
    signed_at = datetime.now(UTC) - age
    place = host or region.database.host
    return presign(credentials, place, region_name or region.region_name, action, 900, signed_at)


def log_in(region: LocalRegion, role: str, password: str) -> str:
    """Give what is said of a login; empty where it works."""
    try:
        psycopg.connect(region.conninfo(role), password=password).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_each_functions_role_opens_its_own_database_role_and_no_other(
    region: LocalRegion, credentials: dict[str, Credentials]
) -> None:
    said = {
        (function, role): log_in(region, role, sign(region, credentials[function], action=action))
        for function in CONNECTS
        for role, action in [*((role, "DbConnect") for role in ROLES), ("admin", "DbConnectAdmin")]
    }
    let_in = {
        function: {role for role in [*ROLES, "admin"] if not said[function, role]} for function in CONNECTS
    }
    assert let_in == {function: {role} for function, role in CONNECTS.items()}
    for (function, role), text in said.items():
        if text:
            assert "unable to accept connection, access denied" in text
            # The migration's role is let through by no policy but as `admin`, the others as that by none.
            refused_by_policy = "admin" in (role, CONNECTS[function])
            reason = "is not authorized to perform: dsql:" if refused_by_policy else "to access this resource"
            assert f"User: {role_of(region, function)} is not authorized" in text
            assert reason in text


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"age": timedelta(minutes=16)}, "Signature expired"),
        ({"region_name": "us-east-2"}, "Credential should be scoped to a valid region: 'us-east-1'"),
        ({"host": "abc.dsql.us-east-1.on.aws"}, "does not match the signature"),
        ({"action": "DbConnectAdmin"}, "Wrong user to action mapping. user: checkout"),
    ],
)
def test_a_token_for_something_else_is_refused(
    region: LocalRegion, credentials: dict[str, Credentials], changes: dict[str, Any], hint: str
) -> None:
    token = sign(region, credentials["CheckoutFunction"], **changes)
    said = log_in(region, "checkout", token)
    assert "unable to accept connection, access denied" in said
    assert hint in said


def test_credentials_that_aws_did_not_give_sign_nothing(
    region: LocalRegion, credentials: dict[str, Credentials]
) -> None:
    known = credentials["CheckoutFunction"]
    for forged, hint in (
        (known._replace(secret_access_key="guessed"), "does not match the signature"),
        (known._replace(session_token=None), "security token included in the request is invalid"),
        (known._replace(access_key_id="ASIANOBODY"), "security token included in the request is invalid"),
    ):
        assert hint in log_in(region, "checkout", sign(region, forged))
    assert "not an authentication token" in log_in(region, "checkout", "a password")


def test_a_role_that_loses_the_right_to_connect_gets_no_login(
    region: LocalRegion, credentials: dict[str, Credentials]
) -> None:
    iam, token = region.client("iam"), sign(region, credentials["ExpireFunction"])
    policy = {
        "RoleName": role_of(region, "ExpireFunction").rpartition("/")[2],
        "PolicyArn": region.resources["ConnectToDatabasePolicy"],
    }
    assert log_in(region, "jobs", token) == ""
    iam.detach_role_policy(**policy)
    try:
        assert "is not authorized to perform: dsql:DbConnect on" in log_in(region, "jobs", token)
    finally:
        iam.attach_role_policy(**policy)
    assert log_in(region, "jobs", token) == ""


@contextmanager
def unlinked(region: LocalRegion, function: str) -> Iterator[None]:
    """Take the link of a function's IAM role away, with the connections that it has, and give it back."""

    def link(statement: str) -> None:
        with psycopg.connect(region.conninfo(), autocommit=True) as admin:
            role, arn = sql.Identifier(CONNECTS[function]), sql.Literal(role_of(region, function))
            admin.execute(sql.SQL(statement).format(role, arn).as_bytes(None))
        for process in region.function_processes(function):
            process.kill()

    link("AWS IAM REVOKE {} FROM {}")
    try:
        yield
    finally:
        link("AWS IAM GRANT {} TO {}")


def test_a_function_whose_role_is_not_linked_gets_no_login_and_nothing_else_is_lost(
    region: LocalRegion, credentials: dict[str, Credentials]
) -> None:
    username = f"linked_{uuid4().hex[:8]}"
    with Connection.connect(region.conninfo(), autocommit=True) as connection:
        customer_id = Shop(connection).customer(100, username)
    region.enrol([{"username": username, "email": "a@example.com", "customer_id": str(customer_id)}])
    headers = {"Authorization": region.sign_in(username)}

    with httpx.Client(
        base_url=region.api_url, headers=headers, timeout=30, trust_env=False, verify=NO_CERTIFICATES
    ) as http:

        def status(path: str) -> int:
            return http.get(path).status_code

        def refusals() -> int:
            return sum("LoginRefusedError" in line for line in region.logs())

        assert (status("/catalog"), refusals()) == (200, 0)
        with unlinked(region, "StorefrontFunction"):
            until(lambda: status("/catalog") == 503, "the refused login")
            assert refusals() > 0
            assert (status("/catalog"), status("/account")) == (503, 200)
            token = sign(region, credentials["StorefrontFunction"])
            assert "is not authorized to access this resource" in log_in(region, "storefront", token)
        until(lambda: status("/catalog") == 200, "the login that is possible again")
