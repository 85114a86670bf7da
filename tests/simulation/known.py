"""Defects of the product that the simulation has found and that are not mended yet: found, told, and not failed for.

Each is one pattern over the sentence of a breach, as narrow as can be. Whoever mends one removes its line.
"""

import re

KNOWN = {
    "an own failure is told as a disruption that came after it: status.reason of a Pod has no time": re.compile(
        r"tells attempt \d+ as Disrupted/(NodeShutdown|Evicted), and it was one of \['Failed'\]"
    ),
}


def name_of(sentence: str) -> str:
    """Give the name of the known defect that a breach shows, or nothing."""
    return next((name for name, pattern in KNOWN.items() if pattern.search(sentence)), "")
