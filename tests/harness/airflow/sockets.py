"""Ports for servers that cannot choose one themselves and tell, and pipes that must not fill up."""

import socket
import threading
from typing import TextIO


def free_port() -> int:
    """A port that was free a moment ago; a server that finds it taken fails loudly at its start."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def drain(stream: TextIO) -> None:
    """Read a process's output to its end, so that it never waits for a reader."""

    def read() -> None:
        with stream:
            for _ in stream:
                pass

    threading.Thread(target=read, daemon=True).start()
