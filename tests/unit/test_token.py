"""The database token, compared with the one that the AWS SDK makes."""

import string
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from sql.connection import DatabaseSettings, mint_token
from sql.token import Credentials, presign

HOST = "abcdefghijklmnop.dsql.us-east-1.on.aws"


def parts(token: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(f"https://{token}").query)


@pytest.mark.parametrize(
    ("role", "method"),
    [
        ("checkout", "generate_db_connect_auth_token"),
        ("admin", "generate_db_connect_admin_auth_token"),
    ],
)
def test_our_token_is_the_sdks_in_every_part_but_its_moment(role: str, method: str) -> None:
    ours = mint_token(DatabaseSettings(host=HOST, role=role, region="us-east-1"), expires_s=900)
    client = boto3.client("dsql", region_name="us-east-1")
    theirs = getattr(client, method)(Hostname=HOST, Region="us-east-1", ExpiresIn=900)
    assert urlsplit(f"https://{ours}").netloc == urlsplit(f"https://{theirs}").netloc == HOST
    assert urlsplit(f"https://{ours}").path == urlsplit(f"https://{theirs}").path
    moments = ("X-Amz-Date", "X-Amz-Signature")
    our_parts, their_parts = parts(ours), parts(theirs)
    assert our_parts.keys() == their_parts.keys()
    for name in our_parts.keys() - moments:
        assert our_parts[name] == their_parts[name], name
    if our_parts["X-Amz-Date"] == their_parts["X-Amz-Date"]:
        assert our_parts["X-Amz-Signature"] == their_parts["X-Amz-Signature"]


_KEYS = st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=40)


@given(
    access_key_id=st.text(string.ascii_uppercase + string.digits, min_size=1),
    secret=_KEYS,
    session_token=st.none() | _KEYS,
    region=st.sampled_from(["us-east-1", "eu-west-3", "ap-northeast-1"]),
    expires_s=st.integers(1, 604_800),
)
def test_a_signature_is_that_of_botocores_signer(
    access_key_id: str, secret: str, session_token: str | None, region: str, expires_s: int
) -> None:
    request = AWSRequest(method="GET", url=f"https://{HOST}/", params={"Action": "DbConnect"})
    credentials = BotocoreCredentials(access_key_id, secret, session_token)
    SigV4QueryAuth(credentials, "dsql", region, expires=expires_s).add_auth(request)
    theirs = parts(request.prepare().url.removeprefix("https://"))
    moment = datetime.strptime(theirs["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    ours = presign(
        Credentials(access_key_id, secret, session_token), HOST, region, "DbConnect", expires_s, moment
    )

    assert parts(ours) == theirs


def test_a_profiles_credentials_are_used_where_the_environment_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    token = mint_token(DatabaseSettings(host=HOST, role="checkout", region="us-east-1"))

    assert parts(token)["X-Amz-Credential"][0].startswith("AKIDPROFILE/")


def test_without_credentials_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object) -> BotocoreCredentials | None:
        return None

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr("botocore.session.Session.get_credentials", nothing)
    with pytest.raises(RuntimeError, match="log in"):
        mint_token(DatabaseSettings(host=HOST, role="checkout", region="us-east-1"))
