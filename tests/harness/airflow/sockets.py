"""Ports for servers that cannot choose one themselves and tell."""

import socket


def free_port() -> int:
    """A port that was free a moment ago; a server that finds it taken fails loudly at its start."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
