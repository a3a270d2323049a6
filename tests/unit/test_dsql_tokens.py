"""Tokens as passwords: those of the AWS SDK and of sql/token.py are taken, every other is refused."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlencode

import boto3
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from local_dsql.tokens import ADMIN, AccessDeniedError, Caller, Key, may_connect, not_linked, verify
from sql.token import Credentials, presign

HOST = "abcdefghijklmnop.dsql.us-east-1.on.aws"
REGION = "us-east-1"
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ARN = "arn:aws:iam::111122223333:role/checkout"
KEYS = {
    "AKIDLONG": Key("a/secret+key", "arn:aws:iam::111122223333:user/operator"),
    "ASIAROLE": Key(
        "role's secret", ARN, session_token="a/session+token==", actions=frozenset({"DbConnect"})
    ),
}


def token(
    action: str = "DbConnect",
    access_key_id: str = "AKIDLONG",
    at: datetime = NOW,
    host: str = HOST,
    region: str = REGION,
    expires_s: int = 900,
    secret: str | None = None,
    session_token: str | None = None,
) -> str:
    key = KEYS.get(access_key_id, Key("unknown", ""))
    credentials = Credentials(
        access_key_id, secret or key.secret_access_key, session_token or key.session_token
    )
    return presign(credentials, host, region, action, expires_s, at)


def check(password: str, user: str = "checkout", now: datetime = NOW) -> Caller:
    return verify(password, hosts=[HOST], region=REGION, keys=KEYS, user=user, now=now)


def changed(password: str, **parameters: str) -> str:
    """Give the token with parameters (dashes written as underscores) set to other values."""
    place, _, query = password.partition("?")
    others = {name.replace("_", "-"): value for name, value in parameters.items()}
    return f"{place}?{urlencode(dict(parse_qsl(query)) | others, quote_via=quote)}"


@pytest.mark.parametrize("access_key_id", KEYS)
def test_a_token_of_the_projects_signer_is_taken(access_key_id: str) -> None:
    assert check(token(access_key_id=access_key_id)) == Caller(access_key_id, KEYS[access_key_id].arn)


@pytest.mark.parametrize(
    ("user", "method"),
    [
        ("checkout", "generate_db_connect_auth_token"),
        (ADMIN, "generate_db_connect_admin_auth_token"),
    ],
)
@pytest.mark.parametrize("session_token", [None, "of/a+role=="])
def test_a_token_of_the_aws_sdk_is_taken(user: str, method: str, session_token: str | None) -> None:
    session = boto3.Session("AKIDSDK", "of/the+sdk", session_token, region_name=REGION)
    password = getattr(session.client("dsql"), method)(Hostname=HOST, Region=REGION)
    keys = {"AKIDSDK": Key("of/the+sdk", ARN, session_token)}
    found = verify(password, hosts=[HOST], region=REGION, keys=keys, user=user, now=datetime.now(UTC))
    assert found == Caller("AKIDSDK", ARN)


@pytest.mark.parametrize(
    ("password", "user", "hint"),
    [
        (token(), ADMIN, "Wrong user to action mapping. user: admin, action: DbConnect"),
        (
            token("DbConnectAdmin"),
            "checkout",
            "Wrong user to action mapping. user: checkout, action: DbConnectAdmin",
        ),
        (token("GetCluster"), "checkout", "Wrong user to action mapping. user: checkout, action: GetCluster"),
        (token(secret="another"), "checkout", "The request signature we calculated does not match"),
        (
            token(access_key_id="AKIDOTHER"),
            "checkout",
            "The security token included in the request is invalid",
        ),
        (token(host=f"x{HOST}"), "checkout", "The request signature we calculated does not match"),
        (
            token(host=f"x{HOST}").replace(f"x{HOST}", HOST),
            "checkout",
            "The request signature we calculated does not match",
        ),
        (token().replace(HOST, f"x{HOST}"), "checkout", "The request signature we calculated does not match"),
        (token(region="eu-west-3"), "checkout", "Credential should be scoped to a valid region: 'us-east-1'"),
        (
            token("DbConnectAdmin", "ASIAROLE"),
            ADMIN,
            f"User: {ARN} is not authorized to perform: dsql:DbConnectAdmin",
        ),
        (
            token(access_key_id="ASIAROLE", session_token="of another session"),
            "checkout",
            "The security token included in the request is invalid",
        ),
        (
            token(session_token="that a lasting key has none"),
            "checkout",
            "The security token included in the request is invalid",
        ),
        (token(expires_s=0), "checkout", "X-Amz-Expires must be between 1 and 604800 seconds"),
        (token(expires_s=604_801), "checkout", "X-Amz-Expires must be between 1 and 604800 seconds"),
        (
            changed(token(), X_Amz_Expires="901"),
            "checkout",
            "The request signature we calculated does not match",
        ),
        (changed(token(), more="1"), "checkout", "The request signature we calculated does not match"),
        (token() + "&Action=DbConnect", "checkout", "The request signature we calculated does not match"),
        (
            changed(token(), X_Amz_Algorithm="none"),
            "checkout",
            "The request signature we calculated does not",
        ),
        (
            changed(token(), X_Amz_SignedHeaders=""),
            "checkout",
            "The request signature we calculated does not",
        ),
        (token().replace("aws4_request", "aws4"), "checkout", "Credential must have exactly 5"),
        (token().replace("%2Fdsql%2F", "%2Frds%2F"), "checkout", "scoped to correct service: 'dsql'"),
        (token().partition("&X-Amz-Signature")[0], "checkout", "token lacks X-Amz-Signature"),
        (f"{HOST}/?Action=DbConnect", "checkout", "token lacks X-Amz-Algorithm, X-Amz-Credential"),
        ("secret", "checkout", "The password is not an authentication token"),
        ("", "checkout", "The password is not an authentication token"),
        ("%FF/?%FF=%FF&", "checkout", "The password is not an authentication token"),
    ],
)
def test_every_other_password_is_refused_as_dsql_refuses_it(password: str, user: str, hint: str) -> None:
    with pytest.raises(AccessDeniedError) as caught:
        check(password, user)
    refusal = caught.value.refusal
    assert (refusal.sqlstate, refusal.message) == ("08006", "unable to accept connection, access denied")
    assert hint in refusal.hint


def test_a_token_is_good_until_it_expires() -> None:
    assert check(token(), now=NOW + timedelta(seconds=900))
    with pytest.raises(AccessDeniedError) as caught:
        check(token(), now=NOW + timedelta(seconds=901))
    assert caught.value.refusal.hint == (
        "Signature expired: 20261126T120000Z is now earlier than 20261126T120001Z "
        "(20261126T121501Z - 15 min.)"
    )


def test_a_token_from_the_future_is_good_within_five_minutes() -> None:
    assert check(token(), now=NOW - timedelta(minutes=5))
    with pytest.raises(AccessDeniedError, match="Signature not yet current"):
        check(token(), now=NOW - timedelta(minutes=5, seconds=1))


def test_a_host_is_compared_without_regard_to_case() -> None:
    password = token().replace(HOST, HOST.upper(), 1)
    assert check(password) == Caller("AKIDLONG", KEYS["AKIDLONG"].arn)


def test_a_token_with_a_scheme_is_what_a_signer_of_requests_gives() -> None:
    request = AWSRequest(method="GET", url=f"https://{HOST}/", params={"Action": "DbConnect"})
    credentials = BotocoreCredentials("AKIDLONG", KEYS["AKIDLONG"].secret_access_key)
    SigV4QueryAuth(credentials, "dsql", REGION, expires=900).add_auth(request)
    assert check(str(request.prepare().url), now=datetime.now(UTC))


def test_a_role_is_for_those_who_are_linked_to_it() -> None:
    caller = Caller("ASIAROLE", ARN)
    assert may_connect(caller, "checkout", [("relay", "arn:x"), ("checkout", ARN)])
    assert may_connect(caller, ADMIN, [])
    assert not may_connect(caller, "checkout", [("checkout", f"{ARN}x"), ("relay", ARN)])
    assert not may_connect(caller, "checkout", [])
    assert not_linked(caller).refusal.hint == f"User: {ARN} is not authorized to access this resource"
