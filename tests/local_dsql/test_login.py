"""Who gets in: TLS that verifies, tokens, roles that are linked; and who does not, in DSQL's words."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from local_dsql.cluster import LocalDsql
from local_dsql.key_files import write_keys
from local_dsql.tokens import Key
from sql.token import Credentials, presign

KEY = Key("a-secret", "arn:aws:iam::000000000000:user/tests")
OTHER = Key("another-secret", "arn:aws:iam::000000000000:role/other")
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def guarded(server: LocalDsql, directory: Path) -> Iterator[LocalDsql]:
    keys = {"AKTESTS": KEY, "AKOTHER": OTHER}
    with LocalDsql(
        directory, postgres=server.postgres, keys=keys, region=REGION, requires_tls=True
    ) as running:
        yield running


def token(
    host: str,
    *,
    key: tuple[str, str] = ("AKTESTS", KEY.secret_access_key),
    action: str = "DbConnectAdmin",
    region: str = REGION,
    age: timedelta = timedelta(0),
) -> str:
    return presign(Credentials(*key, None), host, region, action, 900, now=datetime.now(UTC) - age)


def log_in(server: LocalDsql, password: str, role: str = "admin", **options: str) -> str:
    """Give the error of a login; empty for one that works."""
    try:
        with psycopg.connect(server.conninfo(role=role), password=password, **options) as connection:  # type: ignore[arg-type]
            assert connection.pgconn.ssl_in_use
            connection.execute("select 1")
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_a_token_opens_a_verified_connection(guarded: LocalDsql) -> None:
    assert "verify-full" in guarded.conninfo()
    assert log_in(guarded, token(guarded.host)) == ""


def test_another_authority_is_not_trusted(guarded: LocalDsql, tmp_path: Path) -> None:
    from local_dsql.tls import Authority

    other = Authority(tmp_path).ca_file
    assert "SSL error" in log_in(guarded, token(guarded.host), sslrootcert=str(other))


def test_nobody_gets_in_without_tls(guarded: LocalDsql) -> None:
    assert "SSL connection is required" in log_in(guarded, token(guarded.host), sslmode="disable")


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"action": "DbConnect"}, "Wrong user to action mapping. user: admin, action: DbConnect"),
        ({"key": ("AKTESTS", "wrong")}, "does not match the signature"),
        ({"key": ("AKNOBODY", "wrong")}, "security token included in the request is invalid"),
        ({"region": "us-east-1"}, "Credential should be scoped to a valid region"),
        ({"age": timedelta(minutes=16)}, "Signature expired"),
    ],
)
def test_a_wrong_token_is_refused_with_a_hint(
    guarded: LocalDsql, changes: dict[str, object], hint: str
) -> None:
    said = log_in(guarded, token(guarded.host, **changes))  # type: ignore[arg-type]
    assert "unable to accept connection, access denied" in said
    assert hint in said


def test_a_role_is_open_to_whom_it_is_linked_alone(guarded: LocalDsql) -> None:
    with psycopg.connect(guarded.conninfo(), password=token(guarded.host), autocommit=True) as admin:
        admin.execute("create role app with login")
        try:
            own = token(guarded.host, action="DbConnect")
            others = token(guarded.host, action="DbConnect", key=("AKOTHER", OTHER.secret_access_key))
            assert "not authorized" in log_in(guarded, own, "app")
            admin.execute(f"aws iam grant app to '{KEY.arn}'".encode())
            assert log_in(guarded, own, "app") == ""
            assert "not authorized" in log_in(guarded, others, "app")
            admin.execute(f"aws iam revoke app from '{KEY.arn}'".encode())
            assert "not authorized" in log_in(guarded, own, "app")
        finally:
            admin.execute("drop role app")


def test_each_region_has_an_endpoint_that_takes_its_own_tokens_alone(guarded: LocalDsql) -> None:
    ports = {REGION: guarded.port, "eu-west-2": guarded.endpoint("eu-west-2")}
    assert guarded.endpoint(REGION) == guarded.port != guarded.endpoint("eu-west-2") == ports["eu-west-2"]
    for endpoint, port in ports.items():
        for signed_for in ports:
            said = log_in(guarded, token(guarded.host, region=signed_for), port=str(port))
            assert (said == "") == (signed_for == endpoint), said
            assert said == "" or f"Credential should be scoped to a valid region: '{endpoint}'" in said


def test_keys_of_a_file_are_known_as_soon_as_they_are_written_and_no_longer_than_they_stand_there(
    guarded: LocalDsql, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    guarded.take_keys(file)

    def said(name: str) -> str:
        return log_in(guarded, token(guarded.host, key=(name, "later")))

    assert "is invalid" in said("AKLATER")
    write_keys(file, {"AKLATER": KEY._replace(secret_access_key="later")})
    assert said("AKLATER") == ""
    over = KEY._replace(secret_access_key="later", expires_at=datetime.now(UTC).timestamp())
    with file.open("a") as more:
        more.write(json.dumps({"AKMORE": {"secret_access_key": "later", "arn": KEY.arn}}))
        more.write(json.dumps({"AKOVER": {**over._asdict(), "actions": ["DbConnectAdmin"]}}))
        more.write(json.dumps({"AKNOTHING": {"secret_access_key": "later", "arn": KEY.arn, "actions": []}}))
    assert said("AKMORE") == said("AKLATER") == ""
    assert "security token included in the request is expired" in said("AKOVER")
    assert "not authorized to perform: dsql:DbConnectAdmin" in said("AKNOTHING")
    with file.open("a") as more:
        more.write('{"AKHALF": {"secret')
    assert said("AKMORE") == ""
    file.unlink()
    assert "is invalid" in said("AKMORE")


def test_one_database_is_served(guarded: LocalDsql) -> None:
    with pytest.raises(psycopg.OperationalError, match='database "elsewhere" does not exist'):
        psycopg.connect(guarded.conninfo("elsewhere"), password=token(guarded.host))


def test_the_server_ends_with_its_owner(directory: Path) -> None:
    """However that ends: here without a chance to stop anything."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom local_dsql.cluster import LocalDsql\n"
        "server = LocalDsql(Path(sys.argv[1]) / 'owned', tls=False, fsync=False).__enter__()\n"
        "print(server.conninfo(), flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout, done.stderr
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        try:
            psycopg.connect(done.stdout.strip(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return
        time.sleep(0.05)
    pytest.fail("somebody still answers")
