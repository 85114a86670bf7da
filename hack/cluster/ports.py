"""Reserves free ports on loopback, chosen by the kernel, until the programs bind them.

If the socket were closed after the kernel chose a port, another process could take it. etcd and the API server can
share a port with a socket of the same user, so ours stays bound, without listening, until theirs is bound.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

LINGER_SECONDS = 2.0


@contextlib.contextmanager
def reserved(count: int, wanted: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Reserve the given ports if all of them are free, new ones otherwise."""
    with contextlib.ExitStack() as stack:
        again = wanted if len(wanted) == count and all(_becomes_free(port) for port in wanted) else (0,) * count
        sockets = [stack.enter_context(_bound(port, shared=True)) for port in again]
        yield tuple(int(one.getsockname()[1]) for one in sockets)


def is_free(port: int) -> bool:
    """Return whether a port is free, checked without sharing: another cluster's shared port is not free."""
    try:
        _bound(port, shared=False).close()
    except OSError:
        return False
    return True


def _becomes_free(port: int) -> bool:
    """Wait for a port: the connections of a killed server keep it for a moment."""
    deadline = time.monotonic() + LINGER_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _bound(port: int, *, shared: bool) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
    except OSError:
        one.close()
        raise
    return one
