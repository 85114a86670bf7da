"""The one error that the development cluster raises on purpose: what went wrong, and what to change."""

from __future__ import annotations


class ClusterError(Exception):
    """Something the person at the keyboard can act on; `hint` says how."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message
