"""The binaries, and the pinned Go module that each one is built from."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from . import paths

VERSION_VARIABLES = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Binary:
    """One program that is built from a Go module below `tools/`."""

    name: str
    module: str
    package: str

    @property
    def ldflags(self) -> str:
        """Return the linker flags that set Kubernetes' version; without them it reports v0.0.0."""
        if self.module != "kubernetes":
            return "-s -w"
        version = kubernetes_version()
        major, minor, _ = version.removeprefix("v").split(".", 2)
        settings = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        return "-s -w " + " ".join(f"-X {VERSION_VARIABLES}.{key}={value}" for key, value in settings.items())

    @property
    def flags(self) -> tuple[str, ...]:
        return ("-trimpath", "-ldflags", self.ldflags)


_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy")

BINARIES: dict[str, Binary] = {
    "etcd": Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    **{name: Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}") for name in _KUBERNETES},
    "kwok": Binary("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    "helm": Binary("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    "kind": Binary("kind", "kind", "sigs.k8s.io/kind"),
}

LIGHT = ("etcd", "kube-apiserver", "kubectl")
CONTROL_PLANE = (*LIGHT, "kube-controller-manager", "kube-scheduler")
NODE = (*CONTROL_PLANE, "kubelet", "kube-proxy")
SIMULATED = (*CONTROL_PLANE, "kwok")


@functools.cache
def kubernetes_version() -> str:
    """Return the version of Kubernetes, read from go.mod."""
    text = (paths.TOOLS / "kubernetes" / "go.mod").read_text()
    found = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+\S*)", text, re.MULTILINE)
    if found is None:
        message = "tools/kubernetes/go.mod has no requirement for k8s.io/kubernetes"
        raise ValueError(message)
    return found.group(1)
