"""Protocol between the bench and a program in Airflow's environment: a JSON line for each task in, and for its end out.

Times are those of the monotonic clock, which is the same for all processes.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

Draw = dict[str, Any]


class Lines:
    """Standard input and output. Other writes to standard output are redirected to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def draws(self) -> Iterator[Draw]:
        """Write that the program is ready, and yield each task of the bench until the input ends."""
        self._out.write('{"ready": true}\n')
        for line in sys.stdin:
            yield json.loads(line)

    def over(self, draw: Draw, *, succeeded: bool) -> None:
        """Write that a task has ended."""
        # One write: the lines of several threads do not mix.
        self._out.write(json.dumps({"index": draw["index"], "over": time.monotonic(), "succeeded": succeeded}) + "\n")
