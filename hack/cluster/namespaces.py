"""A network namespace and a mount namespace for each cluster with a node.

The network namespace keeps the cluster's bridge, its Pods' addresses and kube-proxy's rules away from the machine and
from other clusters; a veth pair is the only way in. The mount namespace holds the mounts of containers and volumes:
the kernel removes them when its last process ends.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from . import commands
from .errors import ClusterError
from .paths import ClusterDirectory
from .spec import Placement, in_namespace

HANDLES = Path("/run/netns")
DEVICES = Path("/sys/class/net")
SUBNETS = range(1, 100)
BRIDGE = "pods0"
# Paths that are compiled into Kubernetes' programs. Each cluster has its own directory mounted there, so that nothing
# is left on the machine and two clusters do not share files.
PRIVATE_PATHS = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")


def handle(cluster: str) -> Path:
    """Return the file that names the network namespace."""
    return HANDLES / f"podtask-{cluster}"


def link_name(subnet: int) -> str:
    """Return the name of the host's end of the veth pair."""
    return f"podtask{subnet}"


def create(cluster: str, preferred: int = 0) -> Placement:
    """Create the namespace and its link to the host."""
    name = handle(cluster).name
    _ip("netns", "add", name)
    placement = _claim_subnet(name, preferred)
    link = link_name(placement.subnet)
    _ip("link", "set", link, "alias", name)  # identifies the cluster, in case the namespace is removed before the link
    _ip("addr", "add", f"{placement.host_address}/30", "dev", link)
    _ip("link", "set", link, "up")
    for words in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"{placement.address}/30", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "add", BRIDGE, "type", "bridge"),
        ("addr", "add", f"{placement.gateway}/16", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        _ip("-n", name, *words)
    commands.run(["nsenter", f"--net={handle(cluster)}", "sysctl", "-qw", "net.ipv4.ip_forward=1"])
    return placement


def _claim_subnet(namespace: str, preferred: int) -> Placement:
    """Reserve a subnet by creating its link: if two clusters try the same one, the kernel refuses the second."""
    taken = subnets_in_use(commands.run(["ip", "-4", "route", "show", "table", "all"]).splitlines())
    for subnet in candidates(preferred, taken):
        link = ["ip", "link", "add", link_name(subnet), "type", "veth", "peer", "name", "eth0", "netns", namespace]
        if commands.succeeds(link):
            return in_namespace(subnet)
    raise ClusterError(
        "no subnet 10.77.1.0/30 … 10.77.99.0/30 is free", "take down clusters: `python -m cluster down --all`"
    )


def candidates(preferred: int, taken: Iterable[int]) -> list[int]:
    """Yield subnets to try; first the cluster's previous one, because its kubeconfig may be in use."""
    free = [subnet for subnet in SUBNETS if subnet not in set(taken)]
    return sorted(free, key=lambda subnet: (subnet != preferred, subnet))


def subnets_in_use(routes: Iterable[str]) -> set[int]:
    """Return the numbers N for which the machine has a route to 10.77.N.x."""
    words = (word for line in routes for word in line.split() if word.startswith("10.77."))
    return {int(word.split(".")[2]) for word in words if word.split(".")[2].isdigit()}


def links_of(cluster: str, devices: Path = DEVICES) -> list[str]:
    """Return the host's links of this cluster."""
    found = []
    for alias in devices.glob("podtask*/ifalias"):
        with contextlib.suppress(OSError):
            if alias.read_text().strip() == handle(cluster).name:
                found.append(alias.parent.name)
    return found


def remove(cluster: str) -> None:
    """Delete the link and the namespace."""
    for link in links_of(cluster):
        commands.succeeds(["ip", "link", "del", link])
    file = handle(cluster)
    if not file.exists():
        return
    if not commands.succeeds(["ip", "netns", "del", file.name]):
        # After a reboot, /run on a disk has a plain file that is not a namespace.
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def prefix(directory: ClusterDirectory) -> list[str]:
    """Return the prefix of a command line that runs in both namespaces of the cluster.

    Not `ip netns exec`, which would mount a new /sys without the cgroups. The mount namespace follows the machine's
    mounts and unmounts, and shares its own with the containers' namespaces.
    """
    binds = [f"mount --bind {shlex.quote(str(private_folder(directory, path)))} {path}" for path in PRIVATE_PATHS]
    script = " && ".join(["mount --make-rshared /", *binds, 'exec "$@"'])
    inside = ["unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", script, "sh"]
    return ["nsenter", f"--net={handle(directory.name)}", *inside]


def prepare_private_paths(directory: ClusterDirectory) -> None:
    """Return source and target of each bind mount."""
    for path in PRIVATE_PATHS:
        Path(path).mkdir(parents=True, exist_ok=True)
        private_folder(directory, path).mkdir(parents=True, exist_ok=True)


def private_folder(directory: ClusterDirectory, path: str) -> Path:
    """Return the cluster's directory for a compiled-in path."""
    return directory.root / "private" / path.strip("/").replace("/", "-")


def _ip(*words: str) -> None:
    environment = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    commands.run(["ip", *words], env=environment, hint="this needs root and a kernel with network namespaces")
