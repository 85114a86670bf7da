"""Defects of the product that the simulation has found and that are not mended yet: found, told, and not failed for.

Each is one pattern over the sentence of a breach, as narrow as can be. Whoever mends one removes its line.
"""

import re

KNOWN = {
    # ending._disruption: status.reason is believed even where the condition beside it came after the end.
    "an own failure is told as a disruption that came after it": re.compile(
        r"tells attempt \d+ as Disrupted/(NodeShutdown|Evicted), and it was one of \['Failed'(, 'Ignored')?\]"
    ),
    # collect._await_sidecar: patience runs from the main container's end, stopped or not.
    "the sidecar's time runs out while other containers run that nobody could stop": re.compile(
        r"(says XComSidecarFailed of a result that was there|lost a result that was there: .*XComSidecarFailed)"
    ),
    # ending._before_stop: a deletion is taken for the stop, though the stop was a PATCH before it.
    "a Pod that we stopped by PATCH and somebody then deleted is told as its own failure": re.compile(
        r"tells attempt \d+ as Failed/NonZeroExit, and it was one of \['Disrupted', 'Stopped'\]"
    ),
}


def name_of(sentence: str) -> str:
    """Give the name of the known defect that a breach shows, or nothing."""
    return next((name for name, pattern in KNOWN.items() if pattern.search(sentence)), "")
