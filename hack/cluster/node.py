"""The node: containerd, kubelet and kube-proxy, and their configuration files."""

from __future__ import annotations

import json
import shutil
from typing import Any

from . import cgroups, namespaces
from .errors import ClusterError
from .paths import ClusterDirectory
from .program import Program
from .spec import NODE_NAME, SERVICE_CIDR, Placement, Record, write_atomically

PAUSE_IMAGE = "localhost/podtask/pause:dev"
CNI_BINARIES = "/usr/lib/cni"
# The address of a DNS add-on, which is not installed: without an address each Pod gets a warning Event.
CLUSTER_DNS = "10.96.0.10"


def containerd_socket(directory: ClusterDirectory) -> str:
    """Return containerd's socket."""
    return str(directory.run / "containerd.sock")


def write_config(directory: ClusterDirectory, placement: Placement) -> None:
    """Write all configuration files of the node's programs."""
    config = directory.config
    write_atomically(config / "containerd.toml", containerd_config(directory))
    write_atomically(config / "cni" / "10-bridge.conflist", _json(cni_config(directory, placement)))
    write_atomically(config / "kubelet.yaml", _json(kubelet_config(directory, placement)))
    write_atomically(config / "proxy.yaml", _json(proxy_config(directory, placement)))
    # The machine's resolver cannot be reached from the cluster's network; each look-up would time out.
    write_atomically(config / "resolv.conf", "# The cluster has no way out.\n")
    for folder in ("manifests", "podlogs", "kubelet"):
        (directory.root / folder).mkdir(parents=True, exist_ok=True)


def programs(directory: ClusterDirectory, record: Record) -> list[Program]:
    """Return the programs, in the order of their start."""
    spec, config = record.spec, directory.config
    kubelet = [
        f"--config={config / 'kubelet.yaml'}",
        f"--kubeconfig={directory.client_config('kubelet')}",
        f"--hostname-override={NODE_NAME}",
        f"--root-dir={directory.root / 'kubelet'}",
        f"--node-ip={record.placement.gateway}",
    ]
    proxy = [f"--config={config / 'proxy.yaml'}", f"--hostname-override={NODE_NAME}"]
    containerd = shutil.which("containerd")
    if containerd is None:
        raise ClusterError("containerd is not installed", "apt-get install containerd")
    return [
        Program("containerd", (containerd, f"--config={config / 'containerd.toml'}")),
        Program("kubelet", (record.binaries["kubelet"], *spec.arguments("kubelet", kubelet))),
        Program("proxy", (record.binaries["kube-proxy"], *spec.arguments("proxy", proxy))),
    ]


def containerd_config(directory: ClusterDirectory) -> str:
    """Return the configuration of containerd 1.6. `restrict_oom_score_adj`: a container cannot lower the score."""
    return f"""\
version = 2
root = "{directory.root}/containerd/root"
state = "{directory.root}/containerd/state"
[grpc]
  address = "{containerd_socket(directory)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_BINARIES}"
    conf_dir = "{directory.config}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def cni_config(directory: ClusterDirectory, placement: Placement) -> dict[str, Any]:
    """Return the CNI configuration: a bridge without masquerading, because the cluster has no route out."""
    bridge = {
        "type": "bridge",
        "bridge": namespaces.BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(directory.run / "cni"),
            "ranges": [[{"subnet": placement.pod_cidr}]],
            "routes": [{"dst": SERVICE_CIDR}, {"dst": f"{placement.address}/32"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": namespaces.handle(directory.name).name, "plugins": [bridge, portmap]}


def kubelet_config(directory: ClusterDirectory, placement: Placement) -> dict[str, Any]:
    """Return the kubelet's configuration for a container or a small virtual machine."""
    pki = directory.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "address": placement.gateway,
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{containerd_socket(directory)}",
        "staticPodPath": str(directory.root / "manifests"),
        "podLogsDir": str(directory.root / "podlogs"),
        "resolvConf": str(directory.config / "resolv.conf"),
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroups.group_name(directory.name)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # The kubelet then tolerates that it cannot set sysctls and the OOM score in a container.
        "featureGates": {"KubeletInUserNamespace": True},
        # A full disk must not evict the Pods of a test, or delete images that cannot be pulled again.
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "registerWithTaints": [],
    }


def proxy_config(directory: ClusterDirectory, placement: Placement) -> dict[str, Any]:
    """Return kube-proxy's configuration. It does not change the machine's conntrack limits."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": placement.pod_cidr,
        "clientConnection": {"kubeconfig": str(directory.client_config("proxy"))},
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"  # JSON is YAML too
