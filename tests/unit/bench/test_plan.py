"""Which runs are planned, and which are not repeated."""

from bench.__main__ import in_order, is_done
from bench.figures import COMMON
from bench.figures import PROFILES as SHOWN
from bench.plan import PROFILES, plan
from bench.systems import Loop, Pods, PodTasks

DONE = [{"profile": "short", "scenario": "burst", "system": "PodTask", "round": 1}]


def test_only_the_very_same_run_is_done() -> None:
    assert is_done(DONE, "short", "burst", "PodTask", 1)
    for other in (
        ("full", "burst", "PodTask", 1),
        ("short", "paced-3", "PodTask", 1),
        ("short", "burst", "Job", 1),
        ("short", "burst", "PodTask", 0),
    ):
        assert not is_done(DONE, *other)


def test_runs_are_kept_in_the_order_of_the_plan() -> None:
    runs = [("machine", "burst", 0), ("full", "cleaning", 0), ("full", "burst", 1), ("full", "burst", 0)]
    done = [{"profile": profile, "scenario": load, "round": number} for profile, load, number in runs]
    assert [tuple(run.values()) for run in in_order(done)] == [
        ("full", "burst", 0),
        ("full", "burst", 1),
        ("full", "cleaning", 0),
        ("machine", "burst", 0),
    ]


def test_ours_takes_part_in_every_load() -> None:
    for size in PROFILES.values():
        for load, works in plan(size):
            assert PodTasks.name in [work.system for work in works], load


def test_every_peer_takes_part_in_one_common_load() -> None:
    for size in PROFILES.values():
        loads = dict(plan(size))
        systems = {work.system for works in loads.values() for work in works} - {Pods.name, Loop.name}
        assert {work.system for work in loads[COMMON]} == systems


def test_the_page_knows_every_profile() -> None:
    assert set(SHOWN) == set(PROFILES)
