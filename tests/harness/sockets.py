"""Ports for servers that cannot choose and report one themselves."""

import socket

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port that was free a moment ago; a server fails at its start if the port is in use by then."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def address_towards(host: str) -> str:
    """The address that this machine has for another: nothing is sent to find it."""
    with socket.socket(type=socket.SOCK_DGRAM) as one:
        one.connect((host, 1))
        return str(one.getsockname()[0])
