"""Shared code of the tests on a real cluster: a cluster, a controller process, and waits without sleeping."""

HANG_SECONDS = 180
"""Timeout of a wait. It only ends a hang: a machine ten times slower is still faster."""

HANG = f"--timeout={HANG_SECONDS}s"
"""The same for kubectl and helm."""
