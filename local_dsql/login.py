"""From a client's first byte to a session: encryption, the token, the roles linked to its signer."""

import ssl
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from local_dsql import refusals, tokens, wire
from local_dsql.refusals import Refusal
from local_dsql.session.conversation import Session
from local_dsql.tokens import AccessDeniedError, Caller, Key
from local_dsql.wire import ConnectionLostError, Inbox, Link

if TYPE_CHECKING:
    from local_dsql.server import Server

_CLEARTEXT_PASSWORD = wire.message(b"R", (3).to_bytes(4, "big"))
_PASSWORD = b"p"[0]
_MOST_STARTUP_BYTES = 10_000
_SHOWN = {b"server_version": b"16.15", b"is_superuser": b"off"}
"""Parameters that are reported to clients otherwise than PostgreSQL does."""

_LINKS = "select pg_role_name, arn from sys.iam_pg_role_mappings"


class Verification(NamedTuple):
    """What tokens for an endpoint are verified against."""

    hosts: Collection[str]
    region: str
    keys: Mapping[str, Key]


class _LoginRefusedError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def open_session(server: "Server", client: Link, verification: Verification | None) -> Session | None:
    """Let a client in; None where it wanted no session, or was told why not. Raises OSError.

    Without a `verification` anybody may come in.
    """
    try:
        parameters = await _first_message(server, client)
        if parameters is None:
            return None
        return await _log_in(server, client, parameters, verification)
    except _LoginRefusedError as error:
        client.write(wire.error(*error.refusal, severity="FATAL"))
        return None


async def _first_message(server: "Server", client: Link) -> dict[bytes, bytes] | None:
    while True:
        length = int.from_bytes(await client.exactly(4), "big")
        if not 8 <= length <= _MOST_STARTUP_BYTES:
            raise ConnectionLostError
        body = await client.exactly(length - 4)
        code = int.from_bytes(body[:4], "big")
        if code == wire.SSL_REQUEST:
            await _answer_ssl_request(server, client)
        elif code == wire.GSS_REQUEST:
            client.write(b"N")
        elif code == wire.CANCEL_REQUEST:
            await server.cancel(body)
            return None
        elif code >> 16 == 3:
            if server.requires_tls and not client.encrypted:
                raise _LoginRefusedError(
                    Refusal("08006", "unable to accept connection, SSL connection is required")
                )
            return wire.startup_parameters(body)
        else:
            raise _LoginRefusedError(Refusal("0A000", "unsupported frontend protocol"))


async def _answer_ssl_request(server: "Server", client: Link) -> None:
    if server.tls is None:
        client.write(b"N")
        return
    client.write(b"S")
    try:
        await client.encrypt(server.tls)
    except (ssl.SSLError, OSError) as error:
        raise ConnectionLostError from error


async def _log_in(
    server: "Server", client: Link, parameters: dict[bytes, bytes], verification: Verification | None
) -> Session:
    user = parameters.get(b"user", b"").decode(errors="replace")
    inbox = Inbox(client)
    caller = await _verify(verification, client, inbox, user)
    asked_for = parameters.get(b"database", parameters.get(b"user", b"")).decode(errors="replace")
    if not server.has_database(asked_for):
        raise _LoginRefusedError(Refusal("3D000", f'database "{asked_for}" does not exist'))
    _check_parameters(parameters)
    link = await server.connect()
    try:
        link.write(wire.startup({**parameters, b"database": asked_for.encode()}))
        greeting = await _greeting(link)
        database = server.database(asked_for)
        session = Session(server, database, client, inbox, link)
        session.process_id = _process_id(greeting)
        await session.backend.start()
        if caller is not None:
            await _check_role(session, caller, user)
    except BaseException:
        link.close()
        raise
    client.write(greeting)
    return session


def _check_parameters(parameters: Mapping[bytes, bytes]) -> None:
    """Refuse what a session may not set, as the statement would be."""
    for name in parameters:
        text = name.decode(errors="replace")
        if text in ("user", "database", "options", "replication") or text.startswith("_pq_."):
            continue
        refusal = refusals.parameter(text)
        if refusal is not None:
            raise _LoginRefusedError(refusal)


async def _verify(verification: Verification | None, client: Link, inbox: Inbox, user: str) -> Caller | None:
    """Ask for the token and verify it; None where anybody may come in."""
    if verification is None:
        return None
    client.write(_CLEARTEXT_PASSWORD)
    answer = await inbox.next()
    if answer[0] != _PASSWORD:
        raise ConnectionLostError
    try:
        return tokens.verify(
            answer[5:-1].decode(errors="replace"),
            hosts=verification.hosts,
            region=verification.region,
            keys=verification.keys,
            user=user,
            now=datetime.now(UTC),
        )
    except AccessDeniedError as error:
        raise _LoginRefusedError(error.refusal) from error


async def _greeting(link: Link) -> bytes:
    """Give what PostgreSQL says up to its first ReadyForQuery, as DSQL says it."""
    shown: list[bytes] = []
    while True:
        for answer in await link.messages():
            if answer[:1] == b"E":
                fields = wire.error_fields(answer)
                raise _LoginRefusedError(Refusal(fields.get("C", "08006"), fields.get("M", "")))
            if answer[:1] == b"S":
                name, value, *_ = answer[5:].split(b"\0")
                answer = wire.message(b"S", wire.text(name) + wire.text(_SHOWN.get(name, value)))
            shown.append(answer)
            if answer[:1] == b"Z":
                return b"".join(shown)


def _process_id(greeting: bytes) -> int:
    at = greeting.index(b"K\0\0\0\x0c")
    return int.from_bytes(greeting[at + 5 : at + 9], "big")


async def _check_role(session: Session, caller: Caller, user: str) -> None:
    if user == tokens.ADMIN:
        return
    rows = await session.ask(_LINKS)
    links = [((row[0] or b"").decode(), (row[1] or b"").decode()) for row in rows]
    if not tokens.may_connect(caller, user, links):
        raise _LoginRefusedError(tokens.not_linked(caller).refusal)
