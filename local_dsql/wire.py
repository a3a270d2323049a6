"""PostgreSQL's wire protocol, version 3: messages made and taken apart, and a connection that carries them.

A message is a letter, a length of four bytes that counts itself, and a body. Names end with a zero byte.
https://www.postgresql.org/docs/16/protocol-message-formats.html
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import cast

from local_dsql.limits import MESSAGE_BYTES

# What a client sends. `Execute` and an error share a letter, as `Describe` and a row do.
BIND, CLOSE, DESCRIBE, EXECUTE, FLUSH, PARSE, QUERY, SYNC, TERMINATE = b"BCDEHPQSX"
COPY_DATA, COPY_DONE, COPY_FAIL = b"dcf"

FLUSH_MESSAGE = b"H\0\0\0\4"
SYNC_MESSAGE = b"S\0\0\0\4"
NO_DATA = b"n\0\0\0\4"
EMPTY_QUERY = b"I\0\0\0\4"
COPY_DONE_MESSAGE = b"c\0\0\0\4"
PORTAL_SUSPENDED = b"s\0\0\0\4"
PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE = b"1\0\0\0\4", b"2\0\0\0\4", b"3\0\0\0\4"
#: ReadyForQuery by the state that it tells: idle, in a transaction, in a failed transaction.
READY = {state: b"Z\0\0\0\5" + state for state in (b"I", b"T", b"E")}

PROTOCOL_3 = 196608
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102

_HEADER = Struct("!BI")
header_at = _HEADER.unpack_from
"""The letter and the length of the message at an offset."""
length_at = Struct("!I").unpack_from
"""The length of the message whose letter stands before an offset."""
bind_at = Struct("!BIB").unpack_from
"""The same of a Bind, and its portal's first byte: 0 for the portal without a name."""

_TEXT_OID = 25
_WAKE_ABOVE_BYTES = 1 << 20
_READ_BYTES = 64 * 1024


class ConnectionLostError(ConnectionError):
    """The other side is gone."""


class MessageTooLongError(ConnectionError):
    """The other side announced a message that is longer than DSQL takes; there is no way to go on."""


def message(letter: bytes, body: bytes = b"") -> bytes:
    """Give a message."""
    return letter + (len(body) + 4).to_bytes(4, "big") + body


def text(value: str | bytes) -> bytes:
    """Give a name or text as it stands in a message."""
    return (value if isinstance(value, bytes) else value.encode()) + b"\0"


def parse(name: bytes, statement: str | bytes, oids: bytes = b"\0\0") -> bytes:
    """Prepare a statement; `oids` is the message's own list of parameter types."""
    return message(b"P", text(name) + text(statement) + oids)


def bind(portal: bytes, name: bytes, values: bytes = b"\0\0\0\0\0\0") -> bytes:
    """Bind a prepared statement; `values` is the message's body after the two names."""
    return message(b"B", portal + b"\0" + name + b"\0" + values)


def text_values(values: Sequence[bytes | None]) -> bytes:
    """Give the body of a Bind with values as text and results as text."""
    parts = [b"\0\0", len(values).to_bytes(2, "big")]
    for value in values:
        parts.append(b"\xff\xff\xff\xff" if value is None else len(value).to_bytes(4, "big") + value)
    return b"".join((*parts, b"\0\0"))


def text_array(elements: Sequence[str]) -> bytes:
    """Give a value of type text[], as text."""
    quoted = ('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in elements)
    return ("{" + ",".join(quoted) + "}").encode(errors="surrogateescape")


def results_as_text(values: bytes) -> bytes:
    """Give the body of a Bind with the same values and all results as text."""
    count = int.from_bytes(values[:2], "big")
    position = 2 + 2 * count
    count = int.from_bytes(values[position : position + 2], "big")
    position += 2
    for _ in range(count):
        length = int.from_bytes(values[position : position + 4], "big", signed=True)
        position += 4 + max(length, 0)
    return values[:position] + b"\0\0"


def execute(portal: bytes = b"") -> bytes:
    """Run a portal to its end."""
    return message(b"E", portal + b"\0\0\0\0\0")


def describe_statement(name: bytes) -> bytes:
    """Ask for a prepared statement's parameters and columns."""
    return message(b"D", b"S" + name + b"\0")


def describe_portal(name: bytes = b"") -> bytes:
    """Ask for a portal's columns."""
    return message(b"D", b"P" + name + b"\0")


def close_statement(name: bytes) -> bytes:
    """Forget a prepared statement."""
    return message(b"C", b"S" + name + b"\0")


def text_columns(*names: str) -> bytes:
    """Describe a row of text columns."""
    fields = b"".join(
        text(name) + b"\0\0\0\0" + b"\0\0" + _TEXT_OID.to_bytes(4, "big") + b"\xff\xff" * 3 + b"\0\0"
        for name in names
    )
    return message(b"T", len(names).to_bytes(2, "big") + fields)


def text_row(*values: str) -> bytes:
    """Give a row of text values."""
    encoded = [value.encode() for value in values]
    fields = b"".join(len(value).to_bytes(4, "big") + value for value in encoded)
    return message(b"D", len(values).to_bytes(2, "big") + fields)


def row_values(row: bytes) -> list[bytes | None]:
    """Take a row's values apart."""
    values: list[bytes | None] = []
    position = 7
    for _ in range(int.from_bytes(row[5:7], "big")):
        length = int.from_bytes(row[position : position + 4], "big", signed=True)
        position += 4
        values.append(None if length < 0 else row[position : position + length])
        position += max(length, 0)
    return values


def parameter_oids(description: bytes) -> bytes:
    """Turn a ParameterDescription into the list of types that a Parse takes: the two look the same."""
    return description[5:]


def error(sqlstate: str, words: str, detail: str = "", hint: str = "", *, severity: str = "ERROR") -> bytes:
    """Give an error; `severity` FATAL announces the connection's end."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": words, "D": detail, "H": hint}
    return message(b"E", b"".join(k.encode() + text(v) for k, v in fields.items() if v) + b"\0")


def error_fields(answer: bytes) -> dict[str, str]:
    """Take an error or notice apart by its letters: C is the SQLSTATE, M the message."""
    return {
        field[:1].decode(): field[1:].decode(errors="replace") for field in answer[5:].split(b"\0") if field
    }


def startup(parameters: Mapping[bytes, bytes]) -> bytes:
    """Give the first message of a session."""
    pairs = b"".join(text(name) + text(value) for name, value in parameters.items())
    body = PROTOCOL_3.to_bytes(4, "big") + pairs + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


def startup_parameters(body: bytes) -> dict[bytes, bytes]:
    """Take the first message of a session apart."""
    parts = body[4:].split(b"\0")
    return {name: value for name, value in zip(parts[0::2], parts[1::2], strict=False) if name}


class Layout:
    """Where something stands in bytes that differ between these places alone: messages with other values.

    Held against other bytes in one go, however many places there are.
    """

    __slots__ = ("_fixed", "_size", "_unpack")

    def __init__(self, data: bytes, starts: Sequence[int], ends: Sequence[int]) -> None:
        gaps = [start - end for start, end in zip((*starts, len(data)), (0, *ends), strict=True)]
        sizes = [end - start for start, end in zip(starts, ends, strict=True)]
        form = "".join(f"{gap}x{size}s" for gap, size in zip(gaps, sizes, strict=False)) + f"{gaps[-1]}x"
        self._unpack = Struct(form).unpack
        self._size = len(data)
        self._fixed = self._unpack(data)

    def fits(self, data: bytes) -> bool:
        """Tell whether other bytes are of the same size, and the same in these places."""
        return len(data) == self._size and self._unpack(data) == self._fixed


class Link(asyncio.Protocol):
    """A connection of messages: what has come is in `data`, until it is taken.

    One task at a time may wait for more.
    """

    def __init__(self, connected: Callable[["Link"], object] | None = None) -> None:
        self.data = b""
        self.lost = False
        self.offer: Callable[[], bool] | None = None
        """Called when something has come or nothing more will; it tells whether nobody is to be woken."""
        self.source: Link | None = None
        """Not read from while the other side of this connection reads too slowly."""
        self._connected = connected
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._until: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start whatever serves this connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses
        if hasattr(transport, "max_size"):
            # asyncio's own makes a buffer of 256 KiB for each reading, which takes longer than to read.
            transport.max_size = _READ_BYTES
        connected, self._connected = self._connected, None
        if connected is not None:
            connected(self)

    def data_received(self, data: bytes) -> None:
        """Keep what came; wake who waits for it."""
        self.data = data if not self.data else self.data + data
        if self.offer is not None and self.offer():
            return
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            until = self._until
            # Half an answer is not worth a wake-up; much of a large one is, to pass it on.
            if not until or self.data[-6:-1] == until or len(self.data) > _WAKE_ABOVE_BYTES:
                waiter.set_result(None)

    def eof_received(self) -> None:
        """Let the transport close itself."""

    def connection_lost(self, _: Exception | None) -> None:
        """Wake who waits in vain."""
        self.lost = True
        self._transport = None  # uvloop takes whatever is asked of a lost one for a mistake
        self.resume_writing()
        if self.offer is not None:
            self.offer()
        self.wake()

    def wake(self) -> None:
        """Wake who waits for more."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def pause_writing(self) -> None:
        """Stop what is to be sent at its source: the other side reads too slowly."""
        if self.source is not None and self.source._transport is not None:
            self.source._transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the source go on."""
        if self.source is not None and self.source._transport is not None:
            self.source._transport.resume_reading()

    async def more(self, until: bytes = b"") -> None:
        """Wait until more has come: as far as a message that begins with `until`, if given.

        Raises ConnectionLostError.
        """
        if self.lost:
            raise ConnectionLostError
        self._until = until
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        self._check()

    def _check(self) -> None:
        if self.lost and not self.data:
            raise ConnectionLostError

    async def exactly(self, count: int) -> bytes:
        """Take as many bytes. Raises ConnectionLostError."""
        while len(self.data) < count:
            await self.more()
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def take(self) -> list[bytes]:
        """Take the whole messages that have come. Raises MessageTooLongError."""
        data = self.data
        position, end = 0, len(data)
        messages = []
        while end - position >= 5:
            following = position + 1 + header_at(data, position)[1]
            if following > end:
                if following - position > MESSAGE_BYTES:
                    raise MessageTooLongError
                break
            messages.append(data[position:following])
            position = following
        self.data = data[position:]
        return messages

    async def messages(self) -> list[bytes]:
        """Take at least one message. Raises ConnectionLostError."""
        while not (messages := self.take()):
            await self.more()
        return messages

    def write(self, data: bytes) -> None:
        """Send without waiting, if the other side is still there."""
        if self._transport is not None:
            self._transport.write(data)

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, as the server. Raises ssl.SSLError and OSError."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._transport = await loop.start_tls(self._transport, self, context, server_side=True)

    @property
    def encrypted(self) -> bool:
        """Whether the connection is in TLS."""
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    def close(self) -> None:
        """Close the connection once all is sent."""
        if self._transport is not None:
            self._transport.close()


class Inbox:
    """A client's messages, one by one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._messages: deque[bytes] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been taken off the connection that was not taken from here."""
        return not self._messages

    async def next(self) -> bytes:
        """Take the next message. Raises ConnectionLostError and MessageTooLongError."""
        while not self._messages:
            self._messages.extend(await self._link.messages())
        return self._messages.popleft()


async def connect(host: str, port: int, socket: str = "") -> Link:
    """Open a connection, through a Unix socket where one is given. Raises OSError."""
    link, loop = Link(), asyncio.get_running_loop()
    if socket:
        await loop.create_unix_connection(lambda: link, socket)
    else:
        await loop.create_connection(lambda: link, host, port)
    return link
