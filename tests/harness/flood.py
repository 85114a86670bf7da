"""A flood of requests to a port, as a separate process with limits on connections and time.

python -m tests.harness.flood PORT PATH ASKING HALF SECONDS

ASKING connections ask for PATH again and again without a pause, on new connections where the old are closed. HALF more
send the beginning of a request and no end. Prints how many answers came.
"""

import asyncio
import contextlib
import os
import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HOST = "127.0.0.1"


async def flood(port: int, path: str, asking: int, half: int, seconds: float) -> int:
    """Run one beside this process, from loopback to loopback; return how many answers came."""
    command = (sys.executable, "-m", "tests.harness.flood", *map(str, (port, path, asking, half, seconds)))
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return int(said)


class _Flood:
    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode()
        self.answers = 0

    async def ask(self) -> None:
        """Send requests in a loop."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(_HOST, self._port)
                try:
                    writer.write(self._request + b"\r\n")
                    while text := await reader.read(1 << 16):
                        if text.startswith(b"HTTP/1.1 "):
                            self.answers += 1
                            writer.write(self._request + b"\r\n")
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0)

    async def begin(self) -> None:
        """Send half a request, and again after the server has closed the connection."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(_HOST, self._port)
                try:
                    writer.write(self._request + b"X-Slow: ")
                    await reader.read()
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0)

    async def run(self, asking: int, half: int, seconds: float) -> None:
        """Run both for this time."""
        work = [self.ask() for _ in range(asking)] + [self.begin() for _ in range(half)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*work)


def main() -> None:
    """Flood, and print the number of answers."""
    port, path, asking, half, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    one = _Flood(int(port), path)
    asyncio.run(one.run(int(asking), int(half), float(seconds)))
    print(one.answers)


if __name__ == "__main__":
    main()
