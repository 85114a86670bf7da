"""An extension of supervisord itself: decides at run time whether a program that dies is started again.

supervisord reads this setting from its file only, and taking a changed file in means stopping the program, which a
fault test cannot have. It lives in a folder of its own so that supervisord need not import the cluster package.
"""

from __future__ import annotations

from typing import Any

from supervisor.datatypes import RestartUnconditionally
from supervisor.xmlrpc import Faults, RPCError


class Autorestart:
    """The remote interface `podtask.*` beside supervisord's own `supervisor.*`."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord

    def set(self, name: str, wanted: bool) -> bool:
        """Restart this program whenever it ends, or never."""
        group = self._supervisord.process_groups.get(name)
        if group is None:
            raise RPCError(Faults.BAD_NAME, name)
        for process in group.processes.values():
            process.config.autorestart = RestartUnconditionally if wanted else False
        return True


def make(supervisord: Any) -> Autorestart:
    """What supervisord calls, by the name in its configuration."""
    return Autorestart(supervisord)
