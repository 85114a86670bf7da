"""The controller whose memory is measured: without the development mode of other tests, which keeps things of its own.

python -m tests.chaos.subject sound|leaks PYTHON -X dev -m podtask FLAG…

With `leaks`, what it learns about a task is never forgotten: the measure must see that.
"""

import sys

from podtask.runtime import main, memory, settings
from tests.harness import unguarded


def _keep(self: memory.Memories, uid: str) -> None:
    """Make sure that something is known about it, for ever."""
    self.of(uid)


if __name__ == "__main__":
    if sys.argv[1] == "leaks":
        memory.Memories.end = _keep  # type: ignore[method-assign]
        memory.Memories.forget = _keep  # type: ignore[method-assign]
    unguarded.without_hold()
    flags = sys.argv[sys.argv.index("podtask") + 1 :]
    sys.exit(main.run(settings.parse(flags)))
