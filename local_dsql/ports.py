"""Ports of this machine alone, for servers that are to listen on one."""

import socket
from contextlib import suppress

HOST = "127.0.0.1"


def free_port() -> int:
    """Give a port that nobody listens on now; a moment later somebody may."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port."""
    with socket.socket() as probe:
        # As a server would bind it: connections that ended a moment ago do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind((HOST, port))
            return True
    return False
