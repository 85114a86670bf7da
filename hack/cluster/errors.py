"""The error that the development cluster raises: what went wrong, and what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """An error that the user can fix; `hint` says how."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message
