"""Starts the programs of a cluster in order, and waits between them where needed. It may be repeated at any point."""

from __future__ import annotations

import datetime as dt
import http
import socket
from dataclasses import replace

from . import controlplane, node, processes, readiness, simulated
from .apiclient import ApiClient
from .paths import ClusterDirectory
from .program import Program
from .readiness import Waiter
from .spec import Form, Record
from .supervision import Supervisor


def programs(directory: ClusterDirectory, record: Record) -> list[Program]:
    """Return all programs of this form, with the caller's variables."""
    given = record.spec.environment
    return [replace(program, environment=given.get(program.name, {})) for program in _programs(directory, record)]


def _programs(directory: ClusterDirectory, record: Record) -> list[Program]:
    found = [controlplane.etcd(directory, record), controlplane.apiserver(directory, record)]
    if record.spec.form is Form.LIGHT:
        return found
    found += [controlplane.controller_manager(directory, record), controlplane.scheduler(directory, record)]
    if record.spec.form is Form.SIMULATED:
        return [*found, simulated.program(directory, record)]
    return found + node.programs(directory, record)


class Startup:
    """Starts the programs of one cluster; some may run already."""

    def __init__(self, directory: ClusterDirectory, record: Record, deadline_seconds: float) -> None:
        self._directory = directory
        self._record = record
        self._supervisor = Supervisor(directory)
        self._api = ApiClient(directory, record.placement.server)
        self._waiter = Waiter(directory, self._supervisor.states, deadline_seconds)

    def bring_up(self) -> None:
        """Wait until the cluster is usable: the server is ready and accepts Pods."""
        form = self._record.spec.form
        self._start("etcd")
        if form is Form.NODE:
            self._start("containerd")  # while etcd starts: they do not depend on each other
        self._waiter.until("waiting for etcd", self._etcd_listens, ["etcd"])
        self._start("apiserver")
        self._waiter.until("waiting for the API server", self._api_server_is_ready, ["etcd", "apiserver"])
        if form is not Form.LIGHT:
            self._start("controller-manager", "scheduler")
        if form is Form.SIMULATED:
            self._simulated_nodes()
        if form is Form.NODE:
            self._real_node()
        if form is not Form.LIGHT:
            # Without the ServiceAccount the first Pods are refused, without the ConfigMap they wait for their volumes.
            for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
                self._until_found(f"waiting for {path}", f"/api/v1/namespaces/default/{path}", ["controller-manager"])

    def wait_for_containerd(self) -> None:
        """Wait until images can be loaded, which is before the node is Ready."""
        self._start("containerd")
        self._waiter.until("waiting for containerd", self._containerd_answers, ["containerd"])

    def is_up(self) -> bool:
        """Return whether every program runs and the API server reports that it is ready."""
        states = self._supervisor.states().values()
        return all(state.is_alive for state in states) and self._api_server_is_ready()

    def _start(self, *names: str) -> None:
        for name in names:
            self._supervisor.start(name)

    def _until_found(self, what: str, path: str, needed: list[str]) -> None:
        self._waiter.until(what, lambda: self._api.get(path) is not None, needed)

    def _etcd_listens(self) -> bool:
        state = self._supervisor.states()["etcd"]
        return state.is_alive and processes.listens(state.pid, self._record.placement.etcd_port)

    def _api_server_is_ready(self) -> bool:
        return self._api.status("/readyz") == http.HTTPStatus.OK

    def _simulated_nodes(self) -> None:
        self._start("kwok")
        wanted = self._record.spec.nodes
        for number in range(wanted):
            self._api.post("/api/v1/nodes", simulated.node(number, of=wanted))
        self._until_nodes_ready(wanted, ["kwok"])

    def _real_node(self) -> None:
        self.wait_for_containerd()
        # A Node object of an earlier start is Ready until the controller manager notices the missing kubelet.
        restarted = not self._supervisor.states()["kubelet"].is_alive
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        self._start("kubelet", "proxy")
        self._until_nodes_ready(1, ["containerd", "kubelet", "proxy"], now if restarted else readiness.BEGINNING)

    def _until_nodes_ready(self, wanted: int, needed: list[str], since: dt.datetime = readiness.BEGINNING) -> None:
        def are_ready() -> bool:
            return readiness.ready_nodes(self._api.get("/api/v1/nodes"), since) >= wanted

        self._waiter.until("waiting for the nodes to be Ready", are_ready, needed)

    def _containerd_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as one:
            return one.connect_ex(node.containerd_socket(self._directory)) == 0
