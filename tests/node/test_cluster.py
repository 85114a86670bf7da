"""The development cluster: starts, crashes, options, and complete removal."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import Cluster, ClusterError, Form, cgroups, down, get, mounts, namespaces, processes, up
from cluster.paths import ClusterDirectory
from tests.harness import HANG, HANG_SECONDS

pytestmark = [pytest.mark.node, pytest.mark.timeout(900), pytest.mark.xdist_group("cluster")]
ROOT = Path(__file__).parents[2]
PYTHON = "localhost/podtask/python:dev"

ASK_API_SERVER = """
import os, ssl, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
host = "https://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format(**os.environ)
token = open(folder + "/token").read()
request = urllib.request.Request(host + "/version", headers={"Authorization": "Bearer " + token})
trust = ssl.create_default_context(cafile=folder + "/ca.crt")
print(host, urllib.request.urlopen(request, context=trust, timeout=10).status)
"""


def make_pod(name: str, *command: str, image: str = PYTHON, **container: object) -> dict[str, object]:
    words = {"command": list(command)} if command else {}
    one = {"name": "main", "image": image, **words, **container}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [one]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def run_pod(cluster: Cluster, pod: dict[str, object], want: str = "Succeeded") -> dict[str, object]:
    name = pod["metadata"]["name"]  # type: ignore[index]
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", f"--for=jsonpath={{.status.phase}}={want}", f"pod/{name}", HANG)
    found: dict[str, object] = json.loads(cluster.kubectl("get", "pod", name, "-o", "json"))
    return found


def eventually(what: str, holds: Callable[[], bool], within_seconds: float = HANG_SECONDS) -> None:
    deadline = time.monotonic() + within_seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def traces(name: str) -> dict[str, object]:
    """Return everything on the machine that belongs to a cluster."""
    directory = ClusterDirectory.of(name)
    found = {
        "processes": sorted(processes.members(directory) | cgroups.processes(name)),
        "mounts": [str(point) for point in mounts.below(directory.root)],
        "namespace": namespaces.handle(name).exists(),
        "links": namespaces.links_of(name),
        "cgroups": [str(tree) for tree in cgroups.hierarchies() if (tree / cgroups.group_name(name)).exists()],
        "files": directory.root.exists(),
        "lock": directory.lock.exists(),
        "left over": [str(path) for path in directory.root.parent.glob(f".deleted-{name}-*")],
    }
    return {what: value for what, value in found.items() if value}


@contextlib.contextmanager
def temporary(form: Form, **options: object) -> Iterator[Cluster]:
    name = f"t-{uuid.uuid4().hex[:6]}"
    try:
        yield up(name, form, **options)  # type: ignore[arg-type]
    finally:
        down(name)


@pytest.fixture(scope="module")
def light() -> Iterator[Cluster]:
    with temporary(Form.LIGHT) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def node() -> Iterator[Cluster]:
    with temporary(Form.NODE) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def simulated() -> Iterator[Cluster]:
    with temporary(Form.SIMULATED, nodes=3) as cluster:
        yield cluster


class TestLight:
    @pytest.mark.usefixtures("light")
    def test_it_is_up_again_at_once_and_down_removes_everything(self) -> None:
        # `light` is up, so the binaries are at hand: this measures the start alone.
        started = time.monotonic()
        with temporary(Form.LIGHT) as cluster:
            took = time.monotonic() - started
            assert cluster.kubectl("get", "--raw=/readyz") == "ok"
            pids = [cluster.pid(program) for program in ("etcd", "apiserver")]
            again = time.monotonic()
            same = up(cluster.name, Form.LIGHT)
            took_again = time.monotonic() - again
            assert (same.server, [same.pid(program) for program in ("etcd", "apiserver")]) == (cluster.server, pids)
        print(f"\na start took {took:.1f} s, another one of the running cluster {took_again:.1f} s")
        assert took_again < took
        assert traces(cluster.name) == {}

    def test_pods_are_accepted_without_a_kubelet(self, light) -> None:
        light.kubectl("create", "-f", "-", stdin=json.dumps(make_pod("accepted", "true")))
        light.kubectl("delete", "pod", "accepted", "--wait=false")

    def test_pod_security_is_enforced_by_the_namespaces_label(self, light) -> None:
        light.kubectl("create", "namespace", "strict")
        light.kubectl("label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
        with pytest.raises(ClusterError, match="PodSecurity"):
            light.kubectl("create", "-n", "strict", "-f", "-", stdin=json.dumps(make_pod("loose", "true")))

    def test_a_killed_api_server_is_restarted_with_its_objects(self, light) -> None:
        light.kubectl("create", "configmap", "kept")
        before = light.pid("kube-apiserver")
        light.signal("apiserver", "KILL")
        eventually("restarted", lambda: pid(light, "apiserver") not in (before, None))
        light.wait_ready()
        assert "kept" in light.kubectl("get", "configmaps", "-o", "name")

    def test_restarts_can_be_turned_off(self, light) -> None:
        light.set_autorestart("apiserver", wanted=False)
        light.signal("apiserver", "SIGKILL")
        eventually("gone", lambda: not is_running(light, "apiserver"))
        with contextlib.suppress(AssertionError):
            eventually("restarted", lambda: is_running(light, "apiserver"), within_seconds=2)
            pytest.fail("it was restarted")
        light.set_autorestart("apiserver", wanted=True)
        light.start("apiserver")
        light.wait_ready()

    def test_a_paused_etcd_blocks_the_server_until_it_resumes(self, light) -> None:
        light.signal("etcd", "STOP")
        try:
            with pytest.raises(ClusterError):
                light.kubectl("create", "configmap", "stalled", "--request-timeout=2s")
        finally:
            light.signal("etcd", "CONT")
        light.wait_ready()

    def test_up_restarts_programs_that_a_test_left_paused_or_stopped(self, light) -> None:
        light.stop("apiserver")
        light.signal("etcd", "STOP")
        assert up(light.name, Form.LIGHT).kubectl("get", "--raw=/readyz") == "ok"

    def test_an_unknown_program_is_an_error(self, light) -> None:
        with pytest.raises(ClusterError, match="kubelet"):
            light.pid("kubelet")
        with pytest.raises(ClusterError, match="no program 'nonsense'"):
            light.stop("nonsense")
        with pytest.raises(ClusterError, match="form light, not node"):
            up(light.name, Form.NODE)

    def test_other_options_restart_it_and_keep_its_objects(self) -> None:
        with temporary(Form.LIGHT) as cluster:
            cluster.kubectl("create", "configmap", "kept")
            log = cluster.directory.root / "audit.log"
            options = [f"--audit-log-path={log}", f"--audit-policy-file={policy(cluster.directory.root)}"]
            changed = up(cluster.name, Form.LIGHT, extra_apiserver_args=options)
            assert "kept" in changed.kubectl("get", "configmaps", "-o", "name")
            assert '"resource":"configmaps"' in log.read_text()
            assert changed.server == cluster.server

    def test_a_start_that_fails_shows_the_log_of_the_program_that_failed(self) -> None:
        name = f"t-{uuid.uuid4().hex[:6]}"
        try:
            with pytest.raises(ClusterError, match=r"apiserver is (BACKOFF|EXITED)(?s:.*)no-such-option"):
                up(name, Form.LIGHT, extra_apiserver_args=["--no-such-option"])
            assert up(name, Form.LIGHT).kubectl("get", "--raw=/readyz") == "ok"
        finally:
            down(name)

    def test_several_processes_may_call_up_at_once(self) -> None:
        name = f"t-{uuid.uuid4().hex[:6]}"
        code = f"from cluster import up; print(up({name!r}, 'light', report=lambda line: None).pid('etcd'))"
        try:
            callers = [start_python(code) for _ in range(3)]
            pids = {caller.communicate(timeout=HANG_SECONDS)[0] for caller in callers}
            assert len(pids) == 1
        finally:
            down(name)


class TestNode:
    def test_a_pod_runs_to_completion_and_its_log_is_readable(self, node) -> None:
        run_pod(node, make_pod("hello", "python", "-c", "print('hello from a Pod')"))
        assert node.kubectl("logs", "hello") == "hello from a Pod\n"

    def test_a_pod_reaches_the_api_server_through_the_services_address(self, node) -> None:
        run_pod(node, make_pod("asks", "python", "-c", ASK_API_SERVER))
        assert node.kubectl("logs", "asks") == "https://10.96.0.1:443 200\n"

    def test_too_much_memory_is_reported_as_such(self, node) -> None:
        command = ("python", "-c", "bytearray(200 << 20)")
        pod = run_pod(node, make_pod("greedy", *command, resources={"limits": {"memory": "32Mi"}}), "Failed")
        ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]  # type: ignore[index]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

    def test_the_examples_images_do_what_they_say(self, node) -> None:
        from cluster.images import load

        load.load(node, ["multiply", "hello-haskell"])
        greeting = [{"name": "NAME_TO_GREET", "value": "world"}]
        run_pod(node, make_pod("greets", image="localhost/podtask/hello-haskell:dev", env=greeting))
        assert node.kubectl("logs", "greets") == "Hello, world\n"
        number = [{"name": "DATA_POINT", "value": "19"}]
        show = ("sh", "-c", "python multiply.py && cat /airflow/xcom/return.json")
        run_pod(node, make_pod("multiplies", *show, image="localhost/podtask/multiply:dev", env=number))
        assert node.kubectl("logs", "multiplies").splitlines()[-1] == '{"return_value": "437"}'
        run_pod(node, make_pod("refuses", image="localhost/podtask/multiply:dev"), "Failed")
        assert "DATA_POINT is not set" in node.kubectl("logs", "refuses")

    def test_a_stopped_kubelet_stays_stopped_until_it_is_started(self, node) -> None:
        node.stop("kubelet")
        assert not is_running(node, "kubelet")
        node.start("kubelet")
        node.wait_ready()
        run_pod(node, make_pod("after-kubelet", "true"))

    def test_a_killed_containerd_does_not_take_running_containers_along(self, node) -> None:
        node.kubectl("create", "-f", "-", stdin=json.dumps(make_pod("lasting", "sleep", "600")))
        node.kubectl("wait", "--for=condition=Ready", "pod/lasting", HANG)
        node.signal("containerd", "KILL")
        node.wait_ready()
        run_pod(node, make_pod("after-containerd", "true"))
        assert (
            node.kubectl("get", "pod", "lasting", "-o", "jsonpath={.status.containerStatuses[0].restartCount}") == "0"
        )
        node.kubectl("delete", "pod", "lasting")

    def test_two_clusters_are_independent_and_one_can_be_removed(self, node) -> None:
        with temporary(Form.NODE) as other:
            for number, cluster in enumerate((node, other)):
                assert cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}") == "node1"
                run_pod(cluster, make_pod(f"side-{number}", "python", "-c", ASK_API_SERVER))
            assert other.server != node.server
            with pytest.raises(ClusterError, match="not found"):
                other.kubectl("get", "pod", "side-0")
            other.kubectl("create", "-f", "-", stdin=json.dumps(make_pod("still-running", "sleep", "600")))
            other.kubectl("wait", "--for=condition=Ready", "pod/still-running", HANG)
        assert traces(other.name) == {}
        run_pod(node, make_pod("alone-again", "true"))

    def test_nothing_is_left_outside_the_clusters_directory(self, node) -> None:
        for path in namespaces.PRIVATE_PATHS:
            assert node.directory.name not in "".join(str(file) for file in Path(path).rglob("*")), path

    def test_it_is_restarted_after_its_supervisor_was_killed(self, node) -> None:
        node.kubectl("create", "configmap", "kept")
        os.kill(int((node.directory.run / "supervisord.pid").read_text()), signal.SIGKILL)
        again = up(node.name, Form.NODE)
        assert again.server == node.server
        assert "kept" in again.kubectl("get", "configmaps", "-o", "name")
        run_pod(again, make_pod("after-supervisor", "true"))

    def test_it_is_restarted_after_a_reboot(self, node) -> None:
        """A reboot ends the processes and the kernel's objects, and leaves files, on a disk even those of /run."""
        directory = node.directory
        processes.end(lambda: processes.members(directory) | cgroups.processes(node.name))
        namespaces.remove(node.name)
        cgroups.remove(node.name)
        namespaces.handle(node.name).touch()
        (directory.run / "supervisord.pid").write_text(str(os.getpid()))  # the number of another process
        again = up(node.name, Form.NODE)
        run_pod(again, make_pod("after-reboot", "true"))

    def test_kept_files_restore_its_objects(self) -> None:
        with temporary(Form.NODE) as cluster:
            cluster.kubectl("create", "configmap", "kept")
            down(cluster.name, keep=True)
            assert set(traces(cluster.name)) == {"files", "lock"}
            again = up(cluster.name, Form.NODE)
            assert "kept" in again.kubectl("get", "configmaps", "-o", "name")
            run_pod(again, make_pod("after-keep", "true"))


class TestInterruptedStart:
    @pytest.mark.usefixtures("node")
    @pytest.mark.parametrize("after_seconds", [0.3, 0.8, 1.5, 3, 5])
    def test_an_up_killed_half_way_blocks_neither_the_next_up_nor_down(self, after_seconds) -> None:
        name = f"t-{uuid.uuid4().hex[:6]}"
        try:
            kill_up(name, after_seconds)
            run_pod(up(name, Form.NODE), make_pod("hello", "true"))
            down(name)
            assert traces(name) == {}
            kill_up(name, after_seconds)
        finally:
            down(name)
        assert traces(name) == {}
        down(name)  # of nothing: fine


class TestSimulated:
    def test_its_nodes_are_ready_and_pods_succeed_at_once(self, simulated) -> None:
        nodes = simulated.kubectl("get", "nodes", "-o", "name").split()
        assert len(nodes) == 3
        pod = run_pod(simulated, make_pod("plain", image="x"))
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0  # type: ignore[index]

    def test_a_pod_ends_as_its_annotations_define(self, simulated) -> None:
        pod = make_pod("odd", image="x")
        message = 'it "broke":\n- here\n'
        pod["metadata"]["annotations"] = {  # type: ignore[index]
            "sim.podtask.dev/run-seconds": "1.5",
            "sim.podtask.dev/exit-code": "3",
            "sim.podtask.dev/message": message,
            "sim.podtask.dev/sidecar-message": '{"v": 1}',
        }
        pod["spec"]["initContainers"] = [  # type: ignore[index]
            {"name": "first", "image": "x"},
            {"name": "sidecar", "image": "x", "restartPolicy": "Always"},
        ]
        started = time.monotonic()
        status = run_pod(simulated, pod, "Failed")["status"]
        assert time.monotonic() - started >= 1.5
        ended = status["containerStatuses"][0]["state"]["terminated"]  # type: ignore[index]
        assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", message)
        first, sidecar = (one["state"]["terminated"] for one in status["initContainerStatuses"])  # type: ignore[index]
        assert first["exitCode"] == 0
        assert sidecar["message"] == '{"v": 1}'

    def test_a_deadline_stops_a_pod_that_would_never_end(self, simulated) -> None:
        pod = make_pod("endless", image="x")
        pod["metadata"]["annotations"] = {"sim.podtask.dev/run-seconds": "never"}  # type: ignore[index]
        simulated.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        simulated.kubectl("wait", "--for=condition=Ready", "pod/endless", HANG)
        simulated.kubectl("patch", "pod", "endless", "--type=merge", "-p", '{"spec": {"activeDeadlineSeconds": 1}}')
        simulated.kubectl("wait", "--for=jsonpath={.status.reason}=DeadlineExceeded", "pod/endless", HANG)

    def test_a_deleted_pod_waits_for_its_finalizers_and_not_longer(self, simulated) -> None:
        pod = make_pod("held", image="x")
        pod["metadata"] |= {  # type: ignore[operator]
            "finalizers": ["podtask.dev/held"],
            "annotations": {"sim.podtask.dev/run-seconds": "never"},
        }
        simulated.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        simulated.kubectl("wait", "--for=condition=Ready", "pod/held", HANG)
        simulated.kubectl("delete", "pod", "held", "--wait=false")
        simulated.kubectl("wait", "--for=jsonpath={.status.phase}=Failed", "pod/held", HANG)
        simulated.kubectl("patch", "pod", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        simulated.kubectl("wait", "--for=delete", "pod/held", HANG)


class TestCommandLine:
    def test_the_command_line_prints_paths(self, light) -> None:
        assert command("kubeconfig", "--name", light.name).strip() == str(light.kubeconfig)
        status = command("status")
        assert f"{light.name}: light by embedded, {light.server}" in status
        assert "apiserver" in status
        assert command("kubectl", "--name", light.name, "get", "--raw=/readyz") == "ok"
        command("restart", "--name", light.name, "apiserver")
        light.wait_ready()
        assert "kube-apiserver" in light.log("apiserver") or command("logs", "--name", light.name, "etcd") is not None

    def test_a_missing_cluster_is_an_error_with_a_hint(self) -> None:
        done = run_command("kubeconfig", "--name", "no-such")
        assert done.returncode == 1
        assert "there is no cluster no-such" in done.stderr
        assert "up --name no-such" in done.stderr
        with pytest.raises(ClusterError, match="there is no cluster"):
            get("no-such")


def policy(folder: Path) -> Path:
    file = folder / "policy.yaml"
    rule = {"level": "Metadata", "resources": [{"group": "", "resources": ["configmaps"]}]}
    file.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]}))
    return file


def pid(cluster: Cluster, program: str) -> int | None:
    try:
        return cluster.pid(program)
    except ClusterError:
        return None


def is_running(cluster: Cluster, program: str) -> bool:
    return pid(cluster, program) is not None


def start_python(code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "hack")}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)


def kill_up(name: str, after_seconds: float) -> None:
    with start_python(f"from cluster import up; up({name!r}, 'node', report=lambda line: None)") as caller:
        with contextlib.suppress(subprocess.TimeoutExpired):
            caller.wait(after_seconds)
        caller.kill()


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "hack")}
    words = [sys.executable, "-m", "cluster", *arguments]
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


def command(*arguments: str) -> str:
    done = run_command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
