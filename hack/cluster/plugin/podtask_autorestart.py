"""An extension of supervisord that changes at run time whether a program is restarted when it ends.

supervisord reads this setting only from its file, and reloading the file stops the program, which a fault test must
avoid. It is in its own directory, so that supervisord does not import the package `cluster`.
"""

from __future__ import annotations

from typing import Any

from supervisor.datatypes import RestartUnconditionally
from supervisor.xmlrpc import Faults, RPCError


class Autorestart:
    """The remote interface `podtask.*`, next to supervisord's `supervisor.*`."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord

    def set(self, name: str, wanted: bool) -> bool:
        """Set whether this program is restarted when it ends."""
        group = self._supervisord.process_groups.get(name)
        if group is None:
            raise RPCError(Faults.BAD_NAME, name)
        for process in group.processes.values():
            process.config.autorestart = RestartUnconditionally if wanted else False
        return True


def make(supervisord: Any) -> Autorestart:
    """Factory that supervisord's configuration names."""
    return Autorestart(supervisord)
