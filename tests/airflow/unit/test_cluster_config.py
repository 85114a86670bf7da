"""From arguments and connection to a cluster: the known rules, and a sentence for each way to go wrong."""

import base64
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wire
import yaml
from airflow.exceptions import AirflowNotFoundException
from kubernetes.client import CoreV1Api
from podtask_airflow.hooks import api_errors, cluster_config
from podtask_airflow.hooks import podtask as podtask_client
from podtask_airflow.hooks.cluster_config import ClusterRef

TOKEN = "very-secret-token"


def connection(**extras: Any) -> Any:
    return lambda conn_id: SimpleNamespace(conn_id=conn_id, extra_dejson=extras)


def missing(conn_id: str) -> Any:
    raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")


def document(server: str = "https://one.example", **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "one", "cluster": {"server": server}},
            {"name": "two", "cluster": {"server": "https://two.example"}},
        ],
        "users": [{"name": "u", "user": user or {"token": TOKEN}}],
        "contexts": [
            {"name": "first", "context": {"cluster": "one", "user": "u"}},
            {"name": "second", "context": {"cluster": "two", "user": "u"}},
        ],
        "current-context": "first",
    }


def open_(of: ClusterRef, get: Any) -> Any:
    return cluster_config.resolve(of, get).api_client_factory().configuration


@pytest.fixture(autouse=True)
def _outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "default"))


@pytest.fixture
def in_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    import kubernetes.config.incluster_config as incluster

    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "ca.crt").write_text("ca")
    monkeypatch.setattr(incluster, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


@pytest.fixture
def default(tmp_path: Path) -> Path:
    (tmp_path / "default").write_text(json.dumps(document("https://default.example")))
    return tmp_path / "default"


@pytest.mark.parametrize("form", [lambda d: d, json.dumps, yaml.safe_dump])
@pytest.mark.parametrize("prefix", ["", "extra__kubernetes__"])
def test_a_kubeconfig_in_the_connection(form: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = open_(
        ClusterRef("c"), connection(**{f"{prefix}kube_config": form(document()), f"{prefix}namespace": "team"})
    )
    assert found.host == "https://one.example"
    assert [setting["value"] for setting in found.auth_settings().values()] == [f"Bearer {TOKEN}"]
    assert cluster_config.resolve(ClusterRef("c"), connection(**{f"{prefix}namespace": "team"})).namespace == "team"


def test_the_argument_wins_over_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(json.dumps(document()))
    found = open_(
        ClusterRef("c", config_file=str(path), cluster_context="second"),
        connection(kube_config_path="/nowhere", cluster_context="first"),
    )
    assert found.host == "https://two.example"


def test_a_path_in_the_connection_and_its_context(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(json.dumps(document()))
    assert open_(ClusterRef("c"), connection(kube_config_path=str(path), cluster_context="second")).host.startswith(
        "https://two"
    )


def test_a_new_extra_wins_over_its_old_name_even_when_empty() -> None:
    assert (
        cluster_config.resolve(ClusterRef("c"), connection(extra__kubernetes__namespace="old", namespace="")).namespace
        is None
    )


def test_the_default_connection_may_be_missing(default: Path) -> None:
    assert open_(ClusterRef(), missing).host == "https://default.example"
    assert cluster_config.resolve(ClusterRef(), missing).namespace is None


def test_another_one_may_not() -> None:
    with pytest.raises(api_errors.ClusterConfigError, match="Airflow connection 'mine' was not found: create it"):
        cluster_config.resolve(ClusterRef("mine"), missing)


def test_airflow_may_say_missing_by_another_exception(default: Path) -> None:
    def other(conn_id: str) -> Any:
        error = RuntimeError("comms")
        error.error = SimpleNamespace(error=SimpleNamespace(value="CONNECTION_NOT_FOUND"))  # type: ignore[attr-defined]
        raise error

    assert open_(ClusterRef(), other).host == "https://default.example"


def test_a_failure_to_ask_is_not_a_missing_connection() -> None:
    def broken(conn_id: str) -> Any:
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError):
        cluster_config.resolve(ClusterRef(), broken)


def test_no_connection_at_all_asks_nobody(default: Path) -> None:
    assert open_(ClusterRef(None), wire.no_connection).host == "https://default.example"


def test_in_a_pod_without_settings_the_cluster_around_it_is_meant(in_pod: Path, default: Path) -> None:
    found = open_(ClusterRef(), missing)
    assert found.host == "https://10.0.0.1:443"
    assert [setting["value"] for setting in found.auth_settings().values()] == ["bearer pod-token"]
    assert open_(ClusterRef(in_cluster=True), missing).host == "https://10.0.0.1:443"
    assert open_(ClusterRef("c"), connection(in_cluster="True")).host == "https://10.0.0.1:443"


def test_a_context_means_a_kubeconfig_also_in_a_pod(in_pod: Path, default: Path) -> None:
    assert open_(ClusterRef(cluster_context="second"), missing).host == "https://two.example"


def test_it_is_known_whether_the_cluster_is_the_one_around(in_pod: Path) -> None:
    for of, extras, want in (
        (ClusterRef(in_cluster=True), {}, True),
        (ClusterRef("c"), {"in_cluster": True}, True),
        (ClusterRef("c"), {}, True),
        (ClusterRef("c"), {"kube_config": document()}, False),
        (ClusterRef("c", config_file="/k"), {}, False),
        (ClusterRef("c", cluster_context="first"), {}, False),
    ):
        assert cluster_config.resolve(of, connection(**extras)).in_cluster is want


def test_the_extras_of_the_sidecar_come_along() -> None:
    extras = {
        "xcom_sidecar_container_resources": "{}",
        "extra__kubernetes__xcom_sidecar_container_security_context": "{}",
    }
    assert cluster_config.resolve(ClusterRef("c"), connection(**extras, namespace="n")).sidecar == {
        "xcom_sidecar_container_resources": "{}",
        "xcom_sidecar_container_security_context": "{}",
    }


def test_in_cluster_outside_of_one_says_so() -> None:
    with pytest.raises(
        api_errors.ClusterConfigError, match="in_cluster is set, but this process does not run in a Pod"
    ):
        open_(ClusterRef(in_cluster=True), missing)


@pytest.mark.parametrize(
    ("of", "extras"),
    [
        (ClusterRef("c", in_cluster=True), {"kube_config_path": "/x"}),
        (ClusterRef("c", config_file="/x"), {"kube_config": document()}),
        (ClusterRef("c"), {"in_cluster": True, "kube_config": document()}),
    ],
)
def test_two_ways_at_once_are_refused(of: ClusterRef, extras: dict[str, Any]) -> None:
    with pytest.raises(api_errors.ClusterConfigError, match="Set only one of"):
        cluster_config.resolve(of, connection(**extras))


@pytest.mark.parametrize("text", ["{", "just words", "[1]"])
def test_what_is_no_kubeconfig_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(api_errors.ClusterConfigError, match="give it as JSON or YAML") as caught:
        cluster_config.resolve(ClusterRef("c"), connection(kube_config=text))
    assert text not in str(caught.value)


def test_a_kubeconfig_that_is_not_there() -> None:
    with pytest.raises(
        api_errors.ClusterConfigError, match=r"/nowhere does not exist on this machine \(workers and triggerers"
    ):
        open_(ClusterRef("c", config_file="/nowhere"), connection())


def test_no_kubeconfig_anywhere() -> None:
    with pytest.raises(api_errors.ClusterConfigError, match="there is no usable default kubeconfig"):
        open_(ClusterRef(), missing)


def test_a_context_that_is_not_there() -> None:
    with pytest.raises(api_errors.ClusterConfigError, match="third"):
        open_(ClusterRef("c", cluster_context="third"), connection(kube_config=document()))


def test_verification_and_keep_alive_can_be_switched_off() -> None:
    found = open_(
        ClusterRef("c"), connection(kube_config=document(), disable_verify_ssl=True, disable_tcp_keepalive="true")
    )
    assert not found.verify_ssl
    assert found.socket_options is None
    usual = open_(ClusterRef("c"), connection(kube_config=document()))
    assert usual.verify_ssl
    assert any(option[1] == __import__("socket").SO_KEEPALIVE for option in usual.socket_options)


def plugin(path: Path, text: str) -> dict[str, Any]:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "args": ["token"]}}


GIVES = (
    """echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t-'$1'"}}'"""
)


def test_a_credential_plugin_gives_the_token(tmp_path: Path) -> None:
    user = plugin(tmp_path / "aws", GIVES)
    found = open_(ClusterRef("c"), connection(kube_config=document(**user)))
    assert [setting["value"] for setting in found.auth_settings().values()] == ["Bearer t-token"]


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo no credentials for profile x >&2; exit 255", "no credentials for profile x"),
        (None, "the program is not on this machine"),
        ("echo '{}'", "missing key"),
        ("""echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{}}'""", "neither"),
    ],
)
def test_a_credential_plugin_that_fails_is_named(tmp_path: Path, script: str | None, says: str, as_file: bool) -> None:
    user = plugin(tmp_path / "aws", script or "")
    if script is None:
        (tmp_path / "aws").unlink()
    with pytest.raises(api_errors.ClusterConfigError, match=f"credential plugin '{tmp_path / 'aws'}' failed.*{says}"):
        if as_file:
            (tmp_path / "k").write_text(json.dumps(document(**user)))
            open_(ClusterRef("c", config_file=str(tmp_path / "k")), connection())
        else:
            open_(ClusterRef("c"), connection(kube_config=document(**user)))


def cluster(**fields: Any) -> Any:
    given = document()
    given["clusters"][0]["cluster"].update(fields)
    return given


def client(kube_config: dict[str, Any], tmp_path: Path, *, as_file: bool) -> Any:
    """The library's client by a kubeconfig in the connection, or in a file."""
    if not as_file:
        return cluster_config.resolve(ClusterRef("c"), connection(kube_config=kube_config)).api_client_factory()
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kube_config))
    return cluster_config.resolve(ClusterRef("c", config_file=str(path)), connection()).api_client_factory()


FORMS = pytest.mark.parametrize("as_file", [True, False])


@FORMS
def test_an_impersonation_is_sent_with_every_request(tmp_path: Path, as_file: bool) -> None:
    acts_as = {
        "as": "system:serviceaccount:team-a:runner",
        "as-uid": "u-1",
        "as-groups": ["g"],
        "as-user-extra": {"Acme.com/Reason": ["x"]},
    }
    want = {
        "impersonate-user": "system:serviceaccount:team-a:runner",
        "impersonate-uid": "u-1",
        "impersonate-group": "g",
        "impersonate-extra-acme.com%2freason": "x",
    }
    seen: list[dict[str, str]] = []

    def answer(request: wire.Request) -> None:
        seen.append(request.headers)
        request.json({"metadata": {}, "items": []})

    with wire.FakeApi(answer) as api:
        given = document(api.url, token=TOKEN, **acts_as)
        made = client(given, tmp_path, as_file=as_file)
        assert list(podtask_client.PodTaskClient(lambda: made).list("ns")) == []
        CoreV1Api(made).list_namespaced_pod("ns")  # what a callback may call
    for headers in seen:
        assert want.items() <= headers.items()
        assert headers["authorization"] == f"Bearer {TOKEN}"
    assert len(seen) == 2


@FORMS
@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"as": "a", "as-groups": ["g", "h"]}, "as-groups has several entries"),
        ({"as": "a", "as-user-extra": {"k": ["1", "2"]}}, "as-user-extra k has several entries"),
        ({"as-groups": ["g"]}, "has as-groups without `as`"),
        ({"auth-provider": {"name": "azure", "config": {}}}, "auth-provider 'azure' gave no token; .*exec"),
    ],
)
def test_what_would_be_left_out_of_a_user_is_refused(
    user: dict[str, Any], says: str, tmp_path: Path, as_file: bool
) -> None:
    token = {} if "auth-provider" in user else {"token": TOKEN}
    with pytest.raises(api_errors.ClusterConfigError, match=f"No client can be made from .*: the user.*{says}"):
        client(document(**token, **user), tmp_path, as_file=as_file)


PROXY = "http://proxy.example:3128"
NO_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy")


@pytest.fixture
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_PROXIES:
        monkeypatch.delenv(name, raising=False)


@FORMS
@pytest.mark.usefixtures("_without_proxies")
def test_the_clusters_proxy_is_used_as_by_kubectl(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_file: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://other.example:3128")
    monkeypatch.setenv("NO_PROXY", "one.example")
    made = client(cluster(**{"proxy-url": "http://me:p%40ss@proxy.example:3128"}), tmp_path, as_file=as_file)
    pool = made.rest_client.pool_manager
    assert pool.proxy.host == "proxy.example"
    assert pool.proxy_headers == {"proxy-authorization": "Basic " + base64.b64encode(b"me:p@ss").decode()}


@pytest.mark.usefixtures("_without_proxies")
def test_a_proxy_passes_requests_on(tmp_path: Path) -> None:
    def answer(request: wire.Request) -> None:
        seen.append(request.headers["host"])
        request.json({"metadata": {}, "items": []})

    seen: list[str] = []
    with wire.FakeApi(answer) as proxy:
        given = document("http://cluster.invalid")
        given["clusters"][0]["cluster"]["proxy-url"] = proxy.url
        made = client(given, tmp_path, as_file=False)
        assert list(podtask_client.PodTaskClient(lambda: made).list("ns")) == []
    assert seen == ["cluster.invalid"]


@FORMS
@pytest.mark.usefixtures("_without_proxies")
def test_the_environments_proxy_and_its_exceptions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_file: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert client(document(), tmp_path, as_file=as_file).rest_client.pool_manager.proxy.host == "proxy.example"
    monkeypatch.setenv("NO_PROXY", "example.org,one.example")
    assert client(document(), tmp_path, as_file=as_file).rest_client.pool_manager.proxy is None


@FORMS
def test_a_proxy_of_another_kind_is_refused(tmp_path: Path, as_file: bool) -> None:
    with pytest.raises(api_errors.ClusterConfigError, match="proxy-url must begin with http"):
        client(cluster(**{"proxy-url": "socks5://proxy.example:1080"}), tmp_path, as_file=as_file)


@FORMS
def test_the_servers_name_and_no_verification(tmp_path: Path, as_file: bool, caplog: pytest.LogCaptureFixture) -> None:
    given = cluster(**{"tls-server-name": "kube.internal", "insecure-skip-tls-verify": True})
    made = client(given, tmp_path, as_file=as_file)
    assert made.configuration.tls_server_name == "kube.internal"
    assert made.rest_client.pool_manager.connection_pool_kw["server_hostname"] == "kube.internal"
    assert not made.configuration.verify_ssl
    assert "turns TLS verification off" in caplog.text


@FORMS
def test_a_token_in_a_file_and_the_line_s_end_after_it(tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    made = client(document(tokenFile=str(tmp_path / "token")), tmp_path, as_file=as_file)
    assert [setting["value"] for setting in made.configuration.auth_settings().values()] == [f"Bearer {TOKEN}"]


@FORMS
def test_user_and_password(tmp_path: Path, as_file: bool) -> None:
    made = client(document(username="me", password="pass"), tmp_path, as_file=as_file)
    want = "Basic " + base64.b64encode(b"me:pass").decode()
    assert [setting["value"] for setting in made.configuration.auth_settings().values()] == [want]


def test_a_user_without_any_credentials_is_nobodys_fault() -> None:
    assert open_(ClusterRef("c"), connection(kube_config=document(username=""))).host


def test_what_travels_holds_no_secret() -> None:
    of = ClusterRef("c", config_file="/path", cluster_context="x")
    assert hash(of) == hash(ClusterRef("c", config_file="/path", cluster_context="x"))
    resolved = cluster_config.resolve(ClusterRef("c"), connection(kube_config=document()))
    assert TOKEN not in repr(resolved)
    assert TOKEN not in repr(dataclasses.asdict(of))


def test_the_namespace_of_the_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster_config, "SERVICE_ACCOUNT_NAMESPACE", tmp_path / "namespace")
    assert cluster_config.service_account_namespace() is None
    (tmp_path / "namespace").write_text("airflow\n")
    assert cluster_config.service_account_namespace() == "airflow"


AT_ONCE = """
import sys, threading, time
from podtask_airflow.hooks import cluster_config
sys.setswitchinterval(1e-4)
found = cluster_config.resolve(cluster_config.ClusterRef(conn_id=None, config_file=sys.argv[1]), lambda conn_id: None)
wrong = []
def connect(after):
    time.sleep(after)
    try:
        found.api_client_factory()
    except BaseException as error:
        wrong.append(repr(error))
threads = [threading.Thread(target=connect, args=(number / 100,)) for number in range(10)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.exit(str(wrong) if wrong else 0)
"""


def test_the_first_clients_of_a_process_may_be_made_at_once(tmp_path: Path) -> None:
    """A triggerer with tasks in two namespaces does so. The client's lazy imports broke over it, for good."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document()))
    done = subprocess.run(
        [sys.executable, "-c", AT_ONCE, str(path)], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
