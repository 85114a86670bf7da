"""The chart as helm renders it, and helm itself as a test calls it."""

import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from cluster import binary
from tests.harness import HANG_SECONDS
from tests.harness.controller import ROOT

Object = dict[str, Any]
CHART = ROOT / "charts/podtask"
CI = sorted((CHART / "ci").glob("*.yaml"))
RELEASE, NAMESPACE = "podtask", "podtask-system"
OUR_OWN = {"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_NAMESPACE", "KUBECONFIG"}


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """Run helm; return its standard output, and fails with what it said."""
    done = attempt(*arguments, kubeconfig=kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def attempt(*arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; a failure raises nothing."""
    environment = {name: value for name, value in os.environ.items() if name not in OUR_OWN}
    if kubeconfig is not None:
        environment["KUBECONFIG"] = str(kubeconfig)
    return subprocess.run(
        [str(binary("helm")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )


def flags(*settings: str) -> list[str]:
    """Return `--set` for each setting."""
    return [word for setting in settings for word in ("--set", setting)]


@functools.cache
def render(*arguments: str) -> list[Object]:
    """Render the chart; return its objects, which belong to all tests."""
    text = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: list[Object], kind: str, name: str | None = None) -> list[Object]:
    """Return the objects of one kind."""
    return [one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"])]


def only(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """Return the one object of a kind."""
    (found,) = of_kind(objects, kind, name)
    return found
