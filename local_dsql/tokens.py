"""Verify DSQL authentication tokens: SigV4 presigned requests to connect, as the password of a login.

Whoever signs is known by a mapping of access keys; nothing of AWS is asked. What a real cluster would hear
from IAM, whether the caller's policy allows to connect, stands in the mapping too.
"""

import hmac
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

from local_dsql.limits import TOKEN_AGE_S
from local_dsql.refusals import Refusal

ADMIN = "admin"
"""The role that DbConnectAdmin is for; every other role connects by DbConnect."""

ACTIONS = frozenset({"DbConnect", "DbConnectAdmin"})

_ALGORITHM = "AWS4-HMAC-SHA256"
_CLOCK_SKEW = timedelta(minutes=5)
_PARAMETERS = frozenset(
    {
        "Action",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
    }
)
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)
_INVALID = "The security token included in the request is invalid."
_ENDED = "The security token included in the request is expired"


class Key(NamedTuple):
    """What is known of an access key: its secret, whose it is, and what their policy allows them."""

    secret_access_key: str
    arn: str
    """Of the IAM user or role: what `AWS IAM GRANT role TO` names, not that of a role's session."""
    session_token: str | None = None
    """That of temporary credentials, which a token carries along."""
    actions: frozenset[str] = ACTIONS
    expires_at: float | None = None
    """When temporary credentials end, in seconds of Unix time; tokens signed with them end then, too."""


class Caller(NamedTuple):
    """Who has signed a token that was verified."""

    access_key_id: str
    arn: str


class AccessDeniedError(Exception):
    """A login is refused, as DSQL refuses it: FATAL, with the reason as HINT. `refusal` has the fields."""

    def __init__(self, hint: str) -> None:
        self.refusal = Refusal("08006", "unable to accept connection, access denied", hint=hint)
        super().__init__(hint)


def verify(
    token: str, *, hosts: Collection[str], region: str, keys: Mapping[str, Key], user: str, now: datetime
) -> Caller:
    """Give who signed a token to connect to an endpoint of `region` as `user`. Raises AccessDeniedError.

    `hosts` are the endpoint's names, in small letters. `now` is an aware time. That the caller is linked to
    the role is another question: `may_connect`.
    """
    host, query = _query(token, hosts)
    access_key_id, scope = _scope(query["X-Amz-Credential"], region)
    wanted = "DbConnectAdmin" if user == ADMIN else "DbConnect"
    if query["Action"] != wanted:
        raise AccessDeniedError(f"Wrong user to action mapping. user: {user}, action: {query['Action']}")
    key = keys.get(access_key_id)
    if key is None or query.get("X-Amz-Security-Token") != key.session_token:
        raise AccessDeniedError(_INVALID)
    if not hmac.compare_digest(_signature(query, key, scope, host), query["X-Amz-Signature"].encode()):
        raise AccessDeniedError(_MISMATCH)
    if key.expires_at is not None and now.timestamp() >= key.expires_at:
        raise AccessDeniedError(_ENDED)
    _check_time(query, now)
    if wanted not in key.actions:
        raise AccessDeniedError(
            f"User: {key.arn} is not authorized to perform: dsql:{wanted} on this cluster because no "
            f"identity-based policy allows the dsql:{wanted} action"
        )
    return Caller(access_key_id, key.arn)


def may_connect(caller: Caller, user: str, links: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a caller may log in as a role: as `admin`, or as one that is linked to the caller's ARN.

    `links` are pg_role_name and arn of sys.iam_pg_role_mappings.
    """
    return user == ADMIN or (user, caller.arn) in set(links)


def not_linked(caller: Caller) -> AccessDeniedError:
    """Give the error for a caller whom `may_connect` does not let in."""
    return AccessDeniedError(f"User: {caller.arn} is not authorized to access this resource")


def _query(token: str, hosts: Collection[str]) -> tuple[str, dict[str, str]]:
    """Read a token; give the host that it is for and its parameters."""
    place, _, text = token.removeprefix("https://").partition("/?")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        pairs = []
    if not pairs:
        raise AccessDeniedError("The password is not an authentication token.")
    query = dict(pairs)
    if missing := sorted(_PARAMETERS - query.keys()):
        raise AccessDeniedError(f"The authentication token lacks {', '.join(missing)}.")
    # One that signs another host would not match; one that says another host is told so at once.
    is_signed_as_asked = query["X-Amz-Algorithm"] == _ALGORITHM and query["X-Amz-SignedHeaders"] == "host"
    host = place.lower()
    if host not in hosts or len(pairs) != len(query) or not is_signed_as_asked:
        raise AccessDeniedError(_MISMATCH)
    return host, query


def _scope(credential: str, region: str) -> tuple[str, str]:
    """Read X-Amz-Credential; give the access key's id and the scope."""
    access_key_id, _, scope = credential.partition("/")
    parts = scope.split("/")
    if len(parts) != 4 or parts[3] != "aws4_request":
        raise AccessDeniedError(
            "Credential must have exactly 5 slash-delimited elements, the last aws4_request."
        )
    if parts[1] != region:
        raise AccessDeniedError(f"Credential should be scoped to a valid region: '{region}'.")
    if parts[2] != "dsql":
        raise AccessDeniedError("Credential should be scoped to correct service: 'dsql'.")
    return access_key_id, scope


def _signature(query: Mapping[str, str], key: Key, scope: str, host: str) -> bytes:
    canonical = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(query.items())
        if name != "X-Amz-Signature"
    )
    request = f"GET\n/\n{canonical}\nhost:{host}\n\nhost\n{sha256(b'').hexdigest()}"
    digest = sha256(request.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    derived = f"AWS4{key.secret_access_key}".encode()
    for part in (*scope.split("/"), to_sign):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return derived.hex().encode()


def _check_time(query: Mapping[str, str], now: datetime) -> None:
    try:
        signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        valid = timedelta(seconds=int(query["X-Amz-Expires"]))
    except ValueError:
        raise AccessDeniedError("X-Amz-Date or X-Amz-Expires of the token cannot be read.") from None
    if not timedelta(0) < valid <= timedelta(seconds=TOKEN_AGE_S):
        raise AccessDeniedError(f"X-Amz-Expires must be between 1 and {TOKEN_AGE_S} seconds.")
    at, earliest, latest = (_compact(each) for each in (now, now - valid, now + _CLOCK_SKEW))
    if now - valid > signed_at:
        minutes = f"{valid.total_seconds() / 60:g} min."
        raise AccessDeniedError(
            f"Signature expired: {_compact(signed_at)} is now earlier than {earliest} ({at} - {minutes})"
        )
    if signed_at > now + _CLOCK_SKEW:
        raise AccessDeniedError(
            f"Signature not yet current: {_compact(signed_at)} is still later than {latest} ({at} + 5 min.)"
        )


def _compact(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
