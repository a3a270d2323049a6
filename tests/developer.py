"""Somebody with an AWS account, signed in in every way that its libraries know, and with a database server.

Nothing that runs locally may see any of it, or call what it leads to.
"""

import json
from collections.abc import Mapping
from pathlib import Path

#: In every key, token and name of theirs.
PLANTED = "PLANTED"

#: Their Region, which no test runs in.
REGION = "eu-north-1"

_SERVICES = ("SQS", "S3", "STS", "LAMBDA", "SESV2", "EVENTS", "CLOUDFORMATION", "LOGS", "SSO", "SSO_OIDC")


def developer(home: Path, account_url: str) -> dict[str, str]:
    """Write their home folder and give what stands in their environment, but PATH.

    `account_url` stands for everything that the credentials lead to, and gives some away. A command that
    would do so makes the file `asked` in the home folder.
    """
    aws, elsewhere = home / ".aws", home / f"elsewhere-{PLANTED}"
    (aws / "sso" / "cache").mkdir(parents=True)
    elsewhere.mkdir()
    (aws / "sso" / "cache" / "0123.json").write_text(json.dumps({"accessToken": PLANTED}))
    token = home / "token"
    token.write_text(PLANTED)
    process = f"sh -c 'touch {home}/asked; exit 1'"
    keys = f"aws_access_key_id = {PLANTED}\naws_secret_access_key = {PLANTED}\n"
    common = f"credential_process = {process}\nregion = {REGION}\nendpoint_url = {account_url}\n"
    sso = f"sso_session = {PLANTED}\nsso_account_id = 123456789012\nsso_role_name = {PLANTED}\n"
    session = f"[sso-session {PLANTED}]\nsso_region = {REGION}\nsso_start_url = {account_url}/start\n"
    for folder in (aws, elsewhere):
        (folder / "credentials").write_text(f"[default]\n{keys}[{PLANTED}-keys]\n{keys}")
        (folder / "config").write_text(
            f"[default]\n{common}[profile {PLANTED}-keys]\n{common}"
            f"[profile {PLANTED}]\n{common}{sso}{session}"
        )
    (home / ".boto").write_text(f"[Credentials]\n{keys}")
    (home / ".pg_service.conf").write_text(f"[{PLANTED}]\nhost={PLANTED}\n")
    return {
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": PLANTED,
        "AWS_SECRET_ACCESS_KEY": PLANTED,
        "AWS_SESSION_TOKEN": PLANTED,
        "AWS_SECURITY_TOKEN": PLANTED,
        "AWS_PROFILE": PLANTED,
        "AWS_DEFAULT_PROFILE": PLANTED,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(elsewhere / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(elsewhere / "credentials"),
        "AWS_ROLE_ARN": f"arn:aws:iam::123456789012:role/{PLANTED}",
        "AWS_ROLE_SESSION_NAME": PLANTED,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{home}/elsewhere-{PLANTED}/../token",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{account_url}/{PLANTED}",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": f"/{PLANTED}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": PLANTED,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{account_url}/{PLANTED}",
        "AWS_CREDENTIAL_FILE": f"{elsewhere}/credentials",
        "AWS_ENDPOINT_URL": f"{account_url}/{PLANTED}",
        **{f"AWS_ENDPOINT_URL_{service}": f"{account_url}/{PLANTED}" for service in _SERVICES},
        "BOTO_CONFIG": f"{elsewhere}/../.boto",
        "PGSERVICE": PLANTED,
        "PGHOST": PLANTED,
        "PGUSER": PLANTED,
        "PGSSLMODE": "require",
        "PGOPTIONS": f"-c application_name={PLANTED}",
        "PGCLIENTENCODING": "LATIN1",
    }


def planted(environment: Mapping[str, str]) -> set[str]:
    """Give the names of an environment's variables that come from the developer, but for the home folder."""
    return {
        name
        for name, value in environment.items()
        if PLANTED in value or value == REGION or name in ("PGSSLMODE", "PGCLIENTENCODING")
    }
