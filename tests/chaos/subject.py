"""The controller whose memory is measured: without the development mode of other tests, which keeps things of its own.

python -m tests.chaos.subject sound|leaks PYTHON -X dev -m podtask FLAG…

Its connections are kept for a second only, so that a reading with no task left finds none of them: each idle one is
some forty blocks, and how many there are depends on the greatest burst so far.

With `leaks`, the facts about a task are never dropped: the measurement must detect that.
"""

import sys

from podtask.kube import transport
from podtask.runtime import main, options, task_facts
from tests.harness import unguarded


def _keep(self: task_facts.TaskFacts, uid: str) -> None:
    """Keep an entry for the task without end."""
    self.get_or_create(uid)


if __name__ == "__main__":
    if sys.argv[1] == "leaks":
        task_facts.TaskFacts.reset = _keep  # type: ignore[method-assign]
        task_facts.TaskFacts.delete = _keep  # type: ignore[method-assign]
    transport._KEEPALIVE_SECONDS = 1.0
    unguarded.without_hold()
    flags = sys.argv[sys.argv.index("podtask") + 1 :]
    sys.exit(main.run(options.parse(flags)))
