"""A DSQL authentication token: a SigV4 presigned request without its scheme, made with the standard library.

botocore's signer makes the same (a test compares them), but importing it takes longer than everything that a
function of ours imports of its own, in the first request of every new environment.
"""

import hmac
import os
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "dsql"
_NO_BODY = sha256(b"").hexdigest()


class Credentials(NamedTuple):
    """AWS credentials; `session_token` is what temporary ones, such as a role's, have."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


def presign(
    credentials: Credentials, host: str, region: str, action: str, expires_s: int, now: datetime
) -> str:
    """Sign the request to connect to `host`; good for `expires_s` from `now`, an aware time."""
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    day = moment[:8]
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    parameters = {
        "Action": action,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in sorted(parameters.items()))
    request = f"GET\n/\n{query}\nhost:{host}\n\nhost\n{_NO_BODY}"
    to_sign = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in (day, region, _SERVICE, "aws4_request", to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{host}/?{query}&X-Amz-Signature={key.hex()}"


def find_credentials() -> Credentials:
    """Give the process's AWS credentials. Raises RuntimeError without any."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:  # a function always has its role's in the environment
        return Credentials(key, secret, os.environ.get("AWS_SESSION_TOKEN"))
    # A person may use a profile, and their tool may wait for botocore.
    from botocore.session import Session

    found = Session().get_credentials()
    profile = found.get_frozen_credentials() if found is not None else None
    if profile is None or not profile.access_key or not profile.secret_key:
        raise RuntimeError("No AWS credentials to sign a database token with. Set AWS_PROFILE or log in.")
    return Credentials(profile.access_key, profile.secret_key, profile.token)
