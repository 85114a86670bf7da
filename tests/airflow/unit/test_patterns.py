"""Every pattern over lines of a log or a user's text takes time in proportion to its length, whatever stands there."""

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Callable
from typing import Any

import podtask_airflow
import pytest
from podtask_airflow import constants
from podtask_airflow.utils import log_formatting, pod_logs, pod_template, redact, validators

SMALL, LARGE = 2_000, 16_000
WORTH_A_LOOK = 0.002
"""Seconds; what takes less at this length is no danger, and no measure."""
MOST = 24.0
"""Times as long for eight times the length; a pattern that goes back over every character takes 64 times."""

PIECES = ("-", " ", ".", "1", "0:", "TZ", "[", "=", "a", "a=", 'a="', "'", "://", ":", "@", "$(", "$$", "_", "1 ")
BEGINS = ("", "2026-01-01 ", "--token=", '--token="', "x://u:", "$(")
ENDS = ("", "x", "!")


def patterns() -> set[str]:
    """The names of all patterns of the package."""
    found = pkgutil.walk_packages(podtask_airflow.__path__, "podtask_airflow.")
    modules = [importlib.import_module(module.name) for module in found]
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, re.Pattern)
    }


USES: dict[str, Callable[[str], Any]] = {
    "log_formatting._LEVEL": log_formatting.level,
    "redact._OPTION": lambda text: redact.hidden([text]),
    "redact._ALONE": lambda text: redact.hidden([text, text]),
    "redact._IN_URL": lambda text: redact.redact({"name": text, "value": text}),
    "pod_logs._TIMESTAMP": lambda text: pod_logs._TIMESTAMP.fullmatch(text.encode()),
    "pod_logs._CUT_TIMESTAMP": lambda text: pod_logs._CUT_TIMESTAMP.fullmatch(text.encode()),
    "pod_logs._NOT_STARTED": pod_logs._NOT_STARTED.search,
    "constants._LABEL": constants.is_label_value,
    "pod_template._REFERENCE": lambda text: pod_template.merge_variables(
        [{"name": "a"}], [{"name": "a", "value": text}]
    ),
}
"""Each pattern, as the package uses it."""
FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "constants.slug": constants.slug,
    "redact.looks_secret": redact.looks_secret,
    "validators.number": lambda text: _quietly(validators.number, text.replace("1", "")),
}


def test_every_pattern_is_tried() -> None:
    assert patterns() == set(USES)


def _quietly(read: Callable[[Any], Any], text: str) -> None:
    try:
        read(text)
    except ValueError:
        return


def cost(call: Callable[[str], Any], text: str) -> float:
    """The processor's time of this thread alone, the least of several."""
    best = float("inf")
    for _ in range(3):
        begin = time.thread_time()
        call(text)
        best = min(best, time.thread_time() - begin)
    return best


@pytest.mark.parametrize("use", [*USES, *FUNCTIONS])
def test_time_grows_with_the_length(use: str) -> None:
    call = {**USES, **FUNCTIONS}[use]
    for begin, piece, end in itertools.product(BEGINS, PIECES, ENDS):
        small, large = (begin + piece * (size // len(piece)) + end for size in (SMALL, LARGE))
        if cost(call, large) > WORTH_A_LOOK:
            ratio = cost(call, large) / max(cost(call, small), 1e-5)
            assert ratio < MOST, f"{ratio:.0f} times for {begin!r} and {piece!r} repeated, then {end!r}"
