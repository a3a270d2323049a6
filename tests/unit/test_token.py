"""The database token, compared with the one that the AWS SDK makes."""

from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.credentials import Credentials

from sql.connection import DatabaseSettings, mint_token

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


def test_without_credentials_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(_: object) -> Credentials | None:
        return None

    monkeypatch.setattr("botocore.credentials.EnvProvider.load", nothing)
    monkeypatch.setattr("botocore.session.Session.get_credentials", nothing)
    with pytest.raises(RuntimeError, match="log in"):
        mint_token(DatabaseSettings(host=HOST, role="checkout", region="us-east-1"))
