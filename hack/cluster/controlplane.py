"""The command lines of etcd, the API server, the controller manager and the scheduler."""

from __future__ import annotations

from .paths import ClusterDirectory
from .pki import Subject
from .program import Program
from .spec import KUBERNETES_SERVICE, NODE_NAME, SERVICE_CIDR, Form, Placement, Record

API_SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    KUBERNETES_SERVICE,
)

# With the default of 20 requests per second, creating a service account for each controller takes four seconds.
UNTHROTTLED = ("--kube-api-qps=1000", "--kube-api-burst=2000")


def subjects(form: Form, placement: Placement) -> list[Subject]:
    """Return the subjects that need a certificate, with the user and group that Kubernetes' roles expect."""
    server_names = tuple(dict.fromkeys((*API_SERVER_NAMES, placement.address)))
    found = [
        Subject("apiserver", "kube-apiserver", names=server_names),
        Subject("admin", "admin", "system:masters"),
    ]
    if form is not Form.LIGHT:
        found.append(Subject("controller-manager", "system:kube-controller-manager"))
        found.append(Subject("scheduler", "system:kube-scheduler"))
    if form is Form.SIMULATED:
        found.append(Subject("kwok", "kwok", "system:masters"))
    if form is Form.NODE:
        names = (NODE_NAME, placement.gateway)
        found.append(Subject("kubelet", f"system:node:{NODE_NAME}", "system:nodes", names))
        found.append(Subject("proxy", "system:kube-proxy"))
    return found


def etcd(directory: ClusterDirectory, record: Record) -> Program:
    """Return etcd's command: one member, on loopback, without fsync, because the data need not survive a power cut."""
    placement = record.placement
    client = f"http://127.0.0.1:{placement.etcd_port}"
    peer = f"http://127.0.0.1:{placement.etcd_peer_port}"
    arguments = [
        f"--data-dir={directory.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # The ports are reserved by a socket with the same option, so that no other process gets them.
        "--socket-reuse-port=true",
        "--unsafe-no-fsync",
        # The first election waits this long; a single member need not wait.
        "--heartbeat-interval=50",
        "--election-timeout=500",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]
    return Program("etcd", (record.binaries["etcd"], *record.spec.arguments("etcd", arguments)))


def apiserver(directory: ClusterDirectory, record: Record) -> Program:
    """Return the API server's command. It listens on loopback, or in the cluster's network namespace."""
    placement, pki = record.placement, directory.pki
    arguments = [
        f"--etcd-servers=http://127.0.0.1:{placement.etcd_port}",
        f"--bind-address={placement.address}",
        f"--advertise-address={placement.address}",
        f"--secure-port={placement.port}",
        "--permit-port-sharing=true",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--enable-admission-plugins=NodeRestriction,PodSecurity",
    ]
    arguments += _by_form(directory, record.spec.form)
    return Program("apiserver", (record.binaries["kube-apiserver"], *record.spec.arguments("apiserver", arguments)))


def _by_form(directory: ClusterDirectory, form: Form) -> list[str]:
    if form is Form.NODE:
        pki = directory.pki
        return [
            f"--kubelet-client-certificate={pki / 'admin.crt'}",
            f"--kubelet-client-key={pki / 'admin.key'}",
            "--kubelet-preferred-address-types=InternalIP",
        ]
    # A loopback address cannot be an endpoint of the kubernetes Service, which is not used here.
    arguments = ["--endpoint-reconciler-type=none"]
    if form is Form.LIGHT:
        # Without a controller manager there is no default ServiceAccount, so this plugin would refuse every Pod.
        arguments.append("--disable-admission-plugins=ServiceAccount")
    return arguments


def controller_manager(directory: ClusterDirectory, record: Record) -> Program:
    """Return the controller manager's command. It serves no port: the default one may be in use."""
    arguments = [
        f"--kubeconfig={directory.client_config('controller-manager')}",
        f"--root-ca-file={directory.pki / 'ca.crt'}",
        f"--service-account-private-key-file={directory.pki / 'sa.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        *UNTHROTTLED,
    ]
    program = "controller-manager"
    return Program(program, (record.binaries[f"kube-{program}"], *record.spec.arguments(program, arguments)))


def scheduler(directory: ClusterDirectory, record: Record) -> Program:
    """Return the scheduler's command. It serves no port either."""
    arguments = [
        f"--kubeconfig={directory.client_config('scheduler')}",
        "--leader-elect=false",
        "--secure-port=0",
        *UNTHROTTLED,
    ]
    program = "scheduler"
    return Program(program, (record.binaries[f"kube-{program}"], *record.spec.arguments(program, arguments)))
