"""Ports of this machine alone, for servers that are to listen on one."""

import socket

from local_dsql.guard import StartError

HOST = "127.0.0.1"


def free_port() -> int:
    """Give a port that nobody listens on now; a moment later somebody may."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_port(port: int | None) -> None:
    """Raise StartError when a chosen port cannot be listened at; None is none chosen."""
    if not port:
        return
    with socket.socket() as probe:
        # As a server would bind it: connections that ended a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError:
            raise StartError(
                f"port {port} may not be listened at: choose one above 1023, or none to get a free one"
            ) from None
        except OSError:
            raise StartError(f"port {port} is taken: choose another, or none to get a free one") from None
