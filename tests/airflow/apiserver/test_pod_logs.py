"""Logs of real containers on a real kubelet, over a wire that is cut at random."""

import os
import random
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import wire
from podtask_airflow.utils import pod_logs

IMAGE = os.environ.get("PODTASK_TEST_IMAGE", "localhost/podtask/python:dev")
COUNT = 3000
CHATTY = f"""
import sys, time
for n in range({COUNT}):
    (sys.stdout if n % 3 else sys.stderr).write(f"line {{n}}\\n")
    if n % 50 == 0:
        sys.stdout.flush(); sys.stderr.flush(); time.sleep(0.05)
"""
ODD = r"""
import sys, time
w = sys.stdout.buffer
w.write(b"x" * 1048576 + b"\n"); w.flush()
w.write(b"\xff\xfe bytes\n\n"); w.flush()
time.sleep(1)
w.write(b"no end"); w.flush()
"""

pytestmark = pytest.mark.skipif("PODTASK_TEST_KUBELET" not in os.environ, reason="needs a node: PODTASK_TEST_KUBELET=1")


def pod(admin: wire.Admin, place: str, **programs: str) -> str:
    """A Pod of containers that run these programs; one whose name begins with init is an init container."""

    def container(name: str) -> dict[str, Any]:
        command = ["python3", "-u", "-c", programs[name]]
        return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": command}

    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [container(name) for name in programs if not name.startswith("init")],
        "initContainers": [container(name) for name in programs if name.startswith("init")],
    }
    admin("POST", f"/api/v1/namespaces/{place}/pods", {"metadata": {"name": "p"}, "spec": spec})
    return f"/api/v1/namespaces/{place}/pods/p"


def until_phase(admin: wire.Admin, path: str, *phases: str) -> None:
    wire.until_true(lambda: admin("GET", path)["status"].get("phase") in phases, 90)


class Shown(dict[str, list[str]]):
    def __call__(self, container: str, line: str) -> None:
        self.setdefault(container, []).append(line)


def in_order(lines: list[str], remainder: Any) -> list[str]:
    return [line for line in lines if remainder(int(line.split()[1]))]


def test_side_by_side_over_a_wire_that_is_cut(
    kubeconfig: Path, admin: wire.Admin, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "FIRST_DELAY", 0.1)
    programs = {"init-0": CHATTY, "base": CHATTY, "side": CHATTY}
    path = pod(admin, place, **programs)
    shown, chance, cuts = Shown(), random.Random(7), 0
    with wire.Wire(kubeconfig) as line:
        one = wire.client_of(line.write(tmp_path / "k"))
        follower = pod_logs.LogFollower(one, place, containers=["base", "side"], init_containers=["init-0"], emit=shown)
        follower.attempt("p", 1)
        end = time.monotonic() + wire.HANG_SECONDS
        while admin("GET", path)["status"].get("phase") not in ("Succeeded", "Failed"):
            assert time.monotonic() < end
            time.sleep(chance.uniform(0.05, 0.4))
            line.cut()
            line.limit = chance.choice([None, 6_000, 20_000, 40_000])
            follower.attempt("p", 1)
            cuts += 1
        line.limit = None
        line.cut()
        assert follower.finish(30)
        one.close()
    whole = {name: admin("GET", f"{path}/log?container={name}").splitlines() for name in programs}
    for name in programs:
        assert len(whole[name]) == COUNT
        assert shown[name] == whole[name], name
    print(
        f"3 containers, {3 * COUNT} lines, {cuts} times cut, {line.connections} connections: nothing lost, none twice"
    )


def test_odd_lines(kubeconfig: Path, admin: wire.Admin, place: str) -> None:
    path = pod(admin, place, base=ODD)
    shown = Shown()
    one = wire.client_of(kubeconfig)
    follower = pod_logs.LogFollower(one, place, containers=["base"], emit=shown)
    follower.attempt("p")
    until_phase(admin, path, "Succeeded")
    assert follower.finish(wire.HANG_SECONDS)
    assert shown["base"] == ["x" * 1048576, "\ufffd\ufffd bytes", "", "no end"]
    again = Shown()
    assert pod_logs.LogFollower(one, place, containers=["base"], emit=again).fetch("p", "base")
    assert again == shown
    one.close()


def test_the_latency_of_a_line(kubeconfig: Path, admin: wire.Admin, place: str) -> None:
    path = pod(admin, place, base="import time\nwhile True: print(time.time()); time.sleep(0.5)")
    late: list[float] = []
    late_beside: list[float] = []
    one = wire.client_of(kubeconfig)
    follower = pod_logs.LogFollower(
        one, place, containers=["base"], emit=lambda _, line: late.append(time.time() - float(line))
    )
    until_phase(admin, path, "Running")

    def read_beside() -> None:
        """The plain stream of the same log."""
        for line in one.pod_log(place, "p", "base", follow=True):
            late_beside.append(time.time() - float(line))
            if len(late_beside) == 8:
                return

    threading.Thread(target=read_beside, daemon=True).start()
    follower.attempt("p")
    wire.until_true(lambda: min(len(late), len(late_beside)) >= 8)
    follower.close()
    one.close()
    # The first ones were written before anybody listened.
    ours, beside = statistics.median(late[3:]), statistics.median(late_beside[3:])
    print(f"a line is shown after {ours * 1000:.0f} ms, the plain stream has it after {beside * 1000:.0f} ms: medians")
    assert ours < beside + 0.5, "less than the time between two lines"


def test_the_pod_is_deleted_under_it(kubeconfig: Path, admin: wire.Admin, place: str) -> None:
    path = pod(admin, place, base="import time\nprint('hello')\ntime.sleep(600)")
    shown = Shown()
    one = wire.client_of(kubeconfig)
    follower = pod_logs.LogFollower(one, place, containers=["base"], emit=shown)
    follower.attempt("p")
    until_phase(admin, path, "Running")
    wire.until_true(lambda: shown)
    admin("DELETE", path)
    for thread in follower._threads:
        thread.join(wire.HANG_SECONDS)
        assert not thread.is_alive(), "the log's end is found without being told"
    assert shown == {"base": ["hello"]}
    assert not follower.fetch("p", "base")
    one.close()
