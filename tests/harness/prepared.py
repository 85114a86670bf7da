"""A cluster made ready for tests that need PodTasks to run: our CRD, images, and one controller beside it.

Several test processes may ask for the same one; the first makes it ready, and `tests/conftest.py` ends the controller.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from cluster import Cluster, Form, up
from cluster.images.load import load
from tests.harness import controller, crd, shared

HOLD_SECONDS = 10


def prepare(name: str, images: Iterable[str], config: pytest.Config, factory: pytest.TempPathFactory) -> Cluster:
    """Return the cluster of that name."""
    directory = shared.shared_directory(config, factory)
    with shared.exclusively(directory, f"controller-{name}") as note:
        cluster = up(name, Form.NODE)
        if shared.read_note(note) is None:
            crd.install(cluster)
            load(cluster, images)
            note.write_text(json.dumps({"pid": _start(cluster.kubeconfig, directory / f"controller-{name}.log")}))
    return cluster


def controller_log(name: str, config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """What that cluster's controller says."""
    return shared.shared_directory(config, factory) / f"controller-{name}.log"


def _start(kubeconfig: Path, log: Path) -> int:
    """Start it in a session of its own, and give its pid: the worker that starts it may end before the others."""
    command = controller.command(f"--pod-hold-seconds={HOLD_SECONDS}", without="hold")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", flags, 0o600), (os.POSIX_SPAWN_OPEN, 2, str(log), flags, 0o600)]
    return os.posix_spawn(command[0], command, controller.environment(kubeconfig), file_actions=opened, setsid=True)
