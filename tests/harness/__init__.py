"""What tests on a real cluster share: one cluster, one controller process, and ways to wait without sleeping."""

HANG_SECONDS = 180
"""The bound on one wait. It ends a hang and decides no test, so a machine ten times slower stays below it."""

HANG = f"--timeout={HANG_SECONDS}s"
"""The same for kubectl and helm."""
