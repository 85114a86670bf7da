"""The wire between the controller's Pods and the API server, led through a relay that can cut it.

TLS goes through untouched: the relay sees bytes, not requests, so what it cuts is every connection, watches and
requests under way alike. A rule in the cluster's own network namespace leads there; it goes with the cluster.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from types import TracebackType

from cluster import Cluster, commands, namespaces
from cluster.spec import KUBERNETES_SERVICE
from tests.harness import HANG_SECONDS


class Wire:
    """A context manager. Connections that were there before it go on beside it."""

    def __init__(self, cluster: Cluster) -> None:
        self._placement = cluster.record.placement
        self._namespace = namespaces.handle(cluster.name)
        self._open: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._up = threading.Event()
        self.connections = 0
        """How many there have been."""
        self.cut_connections = 0

    def __enter__(self) -> "Wire":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._up.wait(HANG_SECONDS)
        for rule in self._rules():
            self._iptables("-I", *rule)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rule in self._rules():
            self._iptables("-D", *rule)
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    @contextlib.contextmanager
    def cut_every(self, seconds: float) -> Iterator[None]:
        """Cut every connection again and again."""
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(seconds):
                self._loop.call_soon_threadsafe(self._cut)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join(10)

    def _rules(self) -> list[list[str]]:
        where = self._placement
        pods = ["-s", where.pod_cidr, "-p", "tcp"]
        to_service = ["-d", KUBERNETES_SERVICE, "--dport", "443", "-j", "DNAT"]
        return [
            ["PREROUTING", *pods, *to_service, "--to-destination", f"{where.host_address}:{self._port}"],
            # The host knows no way back to a Pod.
            ["POSTROUTING", *pods, "-d", where.host_address, "-j", "MASQUERADE"],
        ]

    def _iptables(self, action: str, *rule: str) -> None:
        commands.run(["nsenter", f"--net={self._namespace}", "iptables", "-w", "-t", "nat", action, *rule])

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._relay, self._placement.host_address, 0)
        self._port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._end.wait()
        server.close()
        self._cut()
        if self._relays:
            await asyncio.wait(self._relays, timeout=5)

    def _cut(self) -> None:
        for writer in list(self._open):
            self.cut_connections += 1
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        relay = asyncio.current_task()
        assert relay is not None
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)
        try:
            onward = await asyncio.open_connection(self._placement.address, self._placement.port)
        except OSError:  # as the API server itself would refuse it
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))
        finally:
            self._open.discard(writer)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on until either side ends; then the other side hears of it."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(65_536):
            sink.write(chunk)
            await sink.drain()
    sink.close()
