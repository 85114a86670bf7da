"""Defects of the product that the simulation has found and that are not mended yet: found, told, and not failed for.

Each is one pattern over the sentence of a breach, as narrow as can be. Whoever mends one removes its line.
"""

import re

KNOWN = {
    "an own failure is told as a disruption that came after it (ending._disruption: status.reason has no time)": re.compile(
        r"tells attempt \d+ as Disrupted/(NodeShutdown|Evicted), and it was one of \['Failed'\]"
    ),
    "the sidecar's time runs while other containers still run and nobody could stop them (collect._await_sidecar)": re.compile(
        r"(says XComSidecarFailed of a result that was there|lost a result that was there: .*XComSidecarFailed)"
    ),
    "a Pod that we stopped by PATCH and somebody then deleted is told as its own failure (ending._before_stop)": re.compile(
        r"tells attempt \d+ as Failed/NonZeroExit, and it was one of \['Disrupted', 'Stopped'\]"
    ),
}


def name_of(sentence: str) -> str:
    """Give the name of the known defect that a breach shows, or nothing."""
    return next((name for name, pattern in KNOWN.items() if pattern.search(sentence)), "")
