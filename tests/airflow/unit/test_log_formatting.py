"""Containers' lines in the task's log."""

import logging

import pytest
from podtask_airflow.utils.log_formatting import LogFormatter, level, select_containers

LEVELS = {
    "plain text": logging.INFO,
    "ERROR: no": logging.ERROR,
    "[WARNING] hm": logging.WARNING,
    "2026-01-02 03:04:05,678 DEBUG x": logging.DEBUG,
    "[2026-01-02T03:04:05.678+0000] CRITICAL x": logging.CRITICAL,
    "this is no ERROR at all": logging.INFO,
    "2026-01-02T03:04:05Z - [12] ERROR no": logging.ERROR,
    "TERROR": logging.INFO,
    "ERRORS: 0": logging.INFO,
    "": logging.INFO,
}


@pytest.mark.parametrize(("line", "want"), LEVELS.items())
def test_the_level_that_a_line_names(line: str, want: int) -> None:
    assert level(line) == want


def test_prefix_formatter_and_groups(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("showing")
    with caplog.at_level(logging.INFO, "showing"):
        LogFormatter(log, with_prefix=True).write("base", "a %s b")
        LogFormatter(log, with_prefix=False).write("base", "b")
        LogFormatter(log, with_prefix=True, formatter=lambda container, line: f"{container}|{line}").write("base", "c")
        LogFormatter(log, with_prefix=True).write("base", "::group::Setup")
    assert caplog.messages == ["[base] a %s b", "b", "base|c", "::group::Setup"]


POD = {
    "metadata": {"name": "t"},
    "spec": {
        "image": "i",
        "initContainers": [{"name": "setup"}],
        "template": {"spec": {"containers": [{"name": "side"}, {"name": "base"}]}},
    },
}
WANTED = {
    "by default the task's container": ({}, ("base",)),
    "no logs": ({"get_logs": False}, ()),
    "one by name": ({"containers": "side"}, ("side",)),
    "several": ({"containers": ["base", "side"]}, ("base", "side")),
    "all": ({"containers": True}, ("side", "base")),
    "init containers first": ({"init_containers": True}, ("setup", "base")),
    "init containers alone": ({"get_logs": False, "init_containers": ["setup"]}, ("setup",)),
}


@pytest.mark.parametrize(("given", "want"), WANTED.values(), ids=WANTED)
def test_whose_logs_are_shown(given: dict, want: tuple[str, ...]) -> None:
    defaults = {"get_logs": True, "base": "base", "containers": None, "init_containers": None}
    assert select_containers(**{**defaults, **given}, podtask=lambda: POD).names == want
