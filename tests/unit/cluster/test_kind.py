"""kind cannot run where no Docker engine is, so here is what it and docker would be told."""

import json
from pathlib import Path

import pytest

from cluster import kind, provider
from cluster.errors import ClusterError
from cluster.paths import ClusterDirectory
from cluster.spec import Form, Record, Spec, read_record, write_record

KUBECONFIG = "clusters:\n- cluster:\n    server: https://127.0.0.1:45123\n  name: kind-podtask-one\n"
SPEC = Spec("one", Form.NODE)


class Shell:
    """Takes down what is run, and answers by the first word that fits."""

    def __init__(self, **answers: str) -> None:
        self.ran: list[list[str]] = []
        self.answers = answers

    def __call__(self, argv: list[str | Path], **_: object) -> str:
        words = [str(word) for word in argv]
        self.ran.append(words)
        for word, answer in self.answers.items():
            if word in words:
                if answer == "error":
                    raise ClusterError("failed")
                return answer
        return ""


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    found = ClusterDirectory(tmp_path / "one")
    found.root.mkdir()
    found.kubeconfig.write_text(KUBECONFIG)
    return found


@pytest.fixture
def no_builds(monkeypatch) -> None:
    monkeypatch.setattr(kind.build, "ensure", lambda names, _: {name: Path("/bin") / name for name in names})
    monkeypatch.setattr(kind.load, "load_default", lambda _: None)


def make_cluster(directory: ClusterDirectory, shell: Shell) -> kind.KindCluster:
    record = Record(SPEC, kind.placement(KUBECONFIG), "kind", {"kind": "/bin/kind", "kubectl": "/bin/kubectl"})
    return kind.KindCluster(directory, record, lambda _: None, shell)


def test_a_start_clears_away_half_a_cluster_first_and_leaves_the_persons_kubeconfig_alone(directory, no_builds) -> None:
    shell = Shell()
    cluster = kind.up(directory, SPEC, lambda _: None, shell)
    assert shell.ran[0] == ["/bin/kind", "delete", "cluster", "--name", "podtask-one"]
    create = shell.ran[1]
    assert create[:5] == ["/bin/kind", "create", "cluster", "--name", "podtask-one"]
    assert create[create.index("--kubeconfig") + 1] == str(directory.kubeconfig)
    assert cluster.server == "https://127.0.0.1:45123"
    assert read_record(directory) == cluster.record


def test_a_running_cluster_is_used_as_it_is(directory, no_builds, monkeypatch) -> None:
    shell = Shell()
    write_record(directory, make_cluster(directory, shell).record)
    monkeypatch.setattr(kind.KindCluster, "answers", lambda _: True)
    kind.up(directory, SPEC, lambda _: None, shell)
    assert shell.ran == []


def test_a_stopped_cluster_is_started_and_not_made_again(directory, no_builds, monkeypatch) -> None:
    shell = Shell()
    write_record(directory, make_cluster(directory, shell).record)
    answers = iter([False, True])
    monkeypatch.setattr(kind.KindCluster, "answers", lambda _: next(answers))
    monkeypatch.setattr(kind.KindCluster, "kubectl", lambda *_: "")
    kind.up(directory, SPEC, lambda _: None, shell)
    assert shell.ran[0] == ["docker", "start", "podtask-one-control-plane"]
    assert not any("create" in words for words in shell.ran)


def test_a_cluster_that_cannot_be_started_is_made_again(directory, no_builds, monkeypatch) -> None:
    shell = Shell(start="error")
    write_record(directory, make_cluster(directory, shell).record)
    monkeypatch.setattr(kind.KindCluster, "answers", lambda _: False)
    kind.up(directory, SPEC, lambda _: None, shell)
    assert [words[1] for words in shell.ran] == ["start", "delete", "create"]


def test_another_node_image_can_be_named(directory, monkeypatch) -> None:
    monkeypatch.setenv("PODTASK_KIND_IMAGE", "node:v1")
    assert kind.create_command(directory, SPEC, "kind", Path("c"))[-2:] == ["--image", "node:v1"]


def test_options_are_added_to_kinds_own_lists() -> None:
    spec = Spec("one", Form.NODE, extra_args={"apiserver": ("--audit-log-path=-", "--profiling")})
    patch = json.loads(kind.render(spec))["kubeadmConfigPatchesJSON6902"][0]
    assert patch["kind"] == "ClusterConfiguration"
    assert json.loads(patch["patch"]) == [
        {"op": "add", "path": "/apiServer/extraArgs/-", "value": {"name": "audit-log-path", "value": "-"}},
        {"op": "add", "path": "/apiServer/extraArgs/-", "value": {"name": "profiling", "value": "true"}},
    ]


def test_options_that_kind_cannot_pass_on_are_refused_not_lost() -> None:
    with pytest.raises(ClusterError, match="kubelet"):
        kind.render(Spec("one", Form.NODE, extra_args={"kubelet": ("--v=4",)}))


def test_variables_are_refused_not_lost() -> None:
    with pytest.raises(ClusterError, match="no variables on to apiserver"):
        kind.render(Spec("one", Form.NODE, environment={"apiserver": {"GOGC": "400"}}))


def test_without_options_nothing_is_patched() -> None:
    assert "kubeadmConfigPatchesJSON6902" not in json.loads(kind.render(SPEC))


def test_images_are_loaded_by_archive(directory) -> None:
    shell = Shell()
    make_cluster(directory, shell).load("localhost/podtask/x:dev", Path("/x.tar"))
    assert shell.ran == [["/bin/kind", "load", "image-archive", "/x.tar", "--name", "podtask-one"]]


def test_units_are_stopped_by_systemd_and_static_pods_by_their_manifest(directory) -> None:
    shell = Shell()
    cluster = make_cluster(directory, shell)
    cluster.stop("kubelet")
    cluster.stop("kube-apiserver")
    cluster.start("apiserver")
    node = ["docker", "exec", "podtask-one-control-plane"]
    assert shell.ran[0] == [*node, "systemctl", "stop", "kubelet"]
    assert "mv /etc/kubernetes/manifests/kube-apiserver.yaml" in shell.ran[1][-1]
    assert "pgrep" in shell.ran[2][-1]
    assert shell.ran[3][-1].endswith("/etc/kubernetes/stopped/kube-apiserver.yaml /etc/kubernetes/manifests/")


def test_signals_go_to_the_one_process_that_is_meant(directory) -> None:
    shell = Shell(pgrep="123\n")
    cluster = make_cluster(directory, shell)
    cluster.signal("etcd", "SIGSTOP")
    assert shell.ran[0][3:] == ["pkill", "--signal=STOP", "--oldest", "--full", "^([^ ]*/)?etcd( |$)"]
    assert cluster.pid("kube-controller-manager") == 123
    assert shell.ran[1][-1] == "^([^ ]*/)?kube-controller-manager( |$)"


@pytest.mark.parametrize("program", ["proxy", "nonsense"])
def test_what_kind_cannot_stop_is_refused(directory, program) -> None:
    with pytest.raises(ClusterError, match="cannot be stopped"):
        make_cluster(directory, Shell()).stop(program)


def test_restarts_cannot_be_turned_off(directory) -> None:
    cluster = make_cluster(directory, Shell())
    cluster.set_autorestart("etcd", wanted=True)
    with pytest.raises(ClusterError, match="always started again"):
        cluster.set_autorestart("etcd", wanted=False)


def test_keeping_stops_the_container_and_deleting_deletes_it(directory) -> None:
    shell = Shell()
    cluster = make_cluster(directory, shell)
    cluster.down(keep=True)
    cluster.down()
    assert shell.ran == [
        ["docker", "stop", "podtask-one-control-plane"],
        ["/bin/kind", "delete", "cluster", "--name", "podtask-one"],
    ]


def test_a_program_that_does_not_run_is_said_not_to(directory) -> None:
    got = make_cluster(directory, Shell(pgrep="error")).status()
    assert set(got.values()) == {"not running"}


def test_a_kubeconfig_without_a_server_is_refused() -> None:
    with pytest.raises(ClusterError, match="without a server"):
        kind.placement("clusters: []\n")


@pytest.mark.parametrize(
    ("form", "wanted", "docker", "want"),
    [
        (Form.NODE, "", True, "kind"),
        (Form.NODE, "", False, "embedded"),
        (Form.NODE, "embedded", True, "embedded"),
        (Form.NODE, "kind", False, "kind"),
        (Form.LIGHT, "", True, "embedded"),
        (Form.SIMULATED, "kind", True, "embedded"),
    ],
)
def test_the_provider_suits_the_machine_unless_somebody_says_otherwise(form, wanted, docker, want) -> None:
    name, why = provider.choose(form, wanted, lambda: docker)
    assert name == want
    assert why


def test_a_provider_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ClusterError, match="embedded, kind"):
        provider.choose(Form.NODE, "podman", lambda: True)
