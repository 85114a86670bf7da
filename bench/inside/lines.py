"""How a peer inside Airflow's environment talks with the bench: JSON lines, a task in, a task's end out.

Times are of the system's monotonic clock, which all processes share.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

Draw = dict[str, Any]


class Lines:
    """Standard input and what was standard output: everything else that writes there goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def draws(self) -> Iterator[Draw]:
        """Tell that all is ready, and give each task that the bench wants run, until it closes the pipe."""
        self._out.write('{"ready": true}\n')
        for line in sys.stdin:
            yield json.loads(line)

    def over(self, draw: Draw, *, succeeded: bool) -> None:
        """Tell that a task is over for whoever waits for it."""
        # One write: the lines of several threads do not mix.
        self._out.write(json.dumps({"index": draw["index"], "over": time.monotonic(), "succeeded": succeeded}) + "\n")
