"""The configuration of the cluster's programs: command lines, configuration files, launchers, kubeconfig."""

import configparser
import json
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from cluster import controlplane, node, simulated, startup, supervision
from cluster.paths import ClusterDirectory
from cluster.program import Program, canonical_name
from cluster.spec import Form, Placement, Record, Spec, in_namespace, read_record, write_record

LOOPBACK = Placement("127.0.0.1", 40001, 40002, 40003)
BINARIES = {
    name: f"/bin/{name}"
    for name in (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kwok",
        "kubectl",
    )
}


def make_record(form: Form, placement: Placement = LOOPBACK, **extra: tuple[str, ...]) -> Record:
    return Record(Spec("one", form, extra_args=extra), placement, "embedded", BINARIES)


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return ClusterDirectory(tmp_path / "one")


def options(program: Program) -> dict[str, str]:
    return {word.partition("=")[0]: word.partition("=")[2] for word in program.argv[1:]}


def test_the_forms_run_what_they_promise(directory, monkeypatch) -> None:
    monkeypatch.setattr(node.shutil, "which", lambda name: f"/usr/bin/{name}")
    names = {form: [one.name for one in startup.programs(directory, make_record(form))] for form in Form}
    assert names == {
        Form.LIGHT: ["etcd", "apiserver"],
        Form.SIMULATED: ["etcd", "apiserver", "controller-manager", "scheduler", "kwok"],
        Form.NODE: ["etcd", "apiserver", "controller-manager", "scheduler", "containerd", "kubelet", "proxy"],
    }


@pytest.mark.parametrize(("form", "placement"), [(Form.LIGHT, LOOPBACK), (Form.NODE, in_namespace(7))])
def test_the_api_server_listens_on_one_address_only(directory, form, placement) -> None:
    got = options(controlplane.apiserver(directory, make_record(form, placement)))
    assert got["--bind-address"] == placement.address
    assert got["--secure-port"] == str(placement.port)
    assert got["--etcd-servers"] == f"http://127.0.0.1:{placement.etcd_port}"
    assert "PodSecurity" in got["--enable-admission-plugins"]


def test_only_the_light_form_does_without_service_accounts(directory) -> None:
    for form in Form:
        got = options(controlplane.apiserver(directory, make_record(form)))
        assert got.get("--disable-admission-plugins") == ("ServiceAccount" if form is Form.LIGHT else None)


def test_a_callers_option_is_added_and_replaces_ours_of_the_same_name(directory) -> None:
    extra = ("--audit-log-path=/tmp/a", "--authorization-mode=RBAC")
    got = controlplane.apiserver(directory, make_record(Form.LIGHT, apiserver=extra)).argv
    assert [word for word in got if word.startswith("--authorization-mode")] == ["--authorization-mode=RBAC"]
    assert "--audit-log-path=/tmp/a" in got


def test_everyone_who_speaks_to_the_api_server_has_a_certificate() -> None:
    for form in Form:
        files = {subject.file for subject in controlplane.subjects(form, in_namespace(3))}
        assert {"apiserver", "admin"} <= files
        assert ("kubelet" in files) == (form is Form.NODE)
        assert ("kwok" in files) == (form is Form.SIMULATED)


def test_the_kubelet_gets_a_cgroup_of_its_own_and_the_bridge_address(directory) -> None:
    got = node.kubelet_config(directory, in_namespace(4))
    assert got["cgroupRoot"] == "/podtask-one"
    assert got["address"] == "10.104.0.1"
    assert got["failCgroupV1"] is False
    assert got["featureGates"] == {"KubeletInUserNamespace": True}


def test_containerd_keeps_everything_below_the_clusters_directory(directory) -> None:
    got = tomllib.loads(node.containerd_config(directory))
    cri = got["plugins"]["io.containerd.grpc.v1.cri"]
    for path in (got["root"], got["state"], got["grpc"]["address"], cri["cni"]["conf_dir"]):
        assert Path(path).is_relative_to(directory.root)
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == node.PAUSE_IMAGE


def test_node_files_are_valid_and_of_the_right_kind(directory) -> None:
    node.write_config(directory, in_namespace(4))
    cni = json.loads((directory.config / "cni" / "10-bridge.conflist").read_text())
    assert cni["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.104.0.0/16"}]]
    assert yaml.safe_load((directory.config / "kubelet.yaml").read_text())["kind"] == "KubeletConfiguration"
    assert yaml.safe_load((directory.config / "proxy.yaml").read_text())["conntrack"] == {"maxPerCore": 0, "min": 0}


def test_simulated_nodes_hold_all_pods_between_them() -> None:
    for count in (1, 3, 10):
        pods = [int(simulated.node(number, of=count)["status"]["capacity"]["pods"]) for number in range(count)]
        assert sum(pods) >= simulated.PODS_IN_TOTAL
    assert len({simulated.node_name(number) for number in range(1000)}) == 1000


def test_kwok_serves_no_port_and_reads_our_stages_only(directory) -> None:
    words = simulated.program(directory, make_record(Form.SIMULATED)).argv
    assert "--node-port=0" in words
    assert [Path(word.partition("=")[2]).name for word in words if word.startswith("--config=")] == [
        "nodes.yaml",
        "pods.yaml",
    ]


def test_stages_are_valid_yaml_for_nodes_and_pods_with_unique_names() -> None:
    documents = [one for file in simulated.STAGES.glob("*.yaml") for one in yaml.safe_load_all(file.read_text())]
    stages = [one for one in documents if one["kind"] == "Stage"]
    names = [one["metadata"]["name"] for one in stages]
    assert len(names) == len(set(names))
    assert {one["spec"]["resourceRef"]["kind"] for one in stages} == {"Node", "Pod"}


def test_a_launcher_passes_odd_words_on_unchanged_and_logs_both_streams(tmp_path) -> None:
    log = tmp_path / "a log"
    words = ("/bin/sh", "-c", 'printf "%s|" "$@"; echo error >&2', "sh", "a b", "$HOME", "it's", "100%")
    script = tmp_path / "one.sh"
    script.write_text(Program("one", words).script(log))
    subprocess.run(["/bin/sh", str(script)], check=True)
    assert log.read_text() == "a b|$HOME|it's|100%|error\n"


def test_a_launcher_sets_variables_of_its_program_alone(tmp_path) -> None:
    log, script = tmp_path / "log", tmp_path / "one.sh"
    program = Program("one", ("/bin/sh", "-c", 'echo "$ODD"'), {"ODD": "it's $HOME"})
    script.write_text(program.script(log))
    subprocess.run(["/bin/sh", str(script)], check=True)
    assert log.read_text() == "it's $HOME\n"


def test_variables_reach_the_program_that_they_are_for(directory) -> None:
    spec = Spec("one", Form.LIGHT, environment={"apiserver": {"GOGC": "400"}})
    found = startup.programs(directory, Record(spec, LOOPBACK, "embedded", BINARIES))
    assert {one.name: one.environment for one in found} == {"etcd": {}, "apiserver": {"GOGC": "400"}}


def test_supervisords_file_can_be_read_by_its_parser_whatever_the_path(tmp_path) -> None:
    directory = ClusterDirectory(tmp_path / "a 100% odd" / "one")
    parser = configparser.ConfigParser()
    parser.read_string(supervision.render(directory, ["etcd", "apiserver"]))
    assert parser["unix_http_server"]["file"] == str(directory.run / "supervisor.sock")
    words = shlex.split(parser["program:etcd"]["command"])
    assert words == ["/bin/sh", str(directory.config / "programs" / "etcd.sh")]
    assert parser["program:apiserver"]["autostart"] == "false"


def test_programs_see_nothing_of_the_callers_environment(directory, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    got = supervision.environment(directory)
    assert "HTTPS_PROXY" not in got
    assert got[supervision.MARKER] == str(directory.root)


@pytest.mark.parametrize("name", ["apiserver", "kube-apiserver"])
def test_both_names_of_a_program_are_understood(name) -> None:
    assert canonical_name(name) == "apiserver"


def test_a_record_comes_back_as_it_was_written(directory) -> None:
    spec = Spec("one", Form.NODE, 3, {"apiserver": ("--v=2",)}, {"apiserver": {"GOGC": "400"}})
    want = Record(spec, in_namespace(9), "embedded", BINARIES)
    write_record(directory, want)
    assert read_record(directory) == want


@pytest.mark.parametrize("text", ["", "{", "[]", '{"spec": {}}', '{"spec": {"form": "no"}}'])
def test_a_broken_record_counts_as_none(directory, text) -> None:
    directory.root.mkdir(parents=True)
    directory.record.write_text(text)
    assert read_record(directory) is None
