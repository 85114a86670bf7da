"""The objects that the chart renders from its values, without a cluster."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from chartgen.__main__ import generated
from podtask.api import metrics
from podtask.api.reasons import Reason
from podtask.api.v1alpha1.validation_rules import MUTABLE, SCHEDULING
from podtask.runtime import election, options
from tests.chart.rendered import CHART, CI, NAMESPACE, Object, attempt, flags, helm, of_kind, only, render
from tests.harness.controller import ROOT

SETS = [pytest.param([], id="defaults"), *(pytest.param(["-f", str(path)], id=path.stem) for path in CI)]
CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
EVERYTHING = ["-f", str(CHART / "ci/everything.yaml")]
ONE_NAMESPACE = ["-f", str(CHART / "ci/one-namespace.yaml")]
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.mark.parametrize("values", SETS)
def test_every_set_of_values_renders_and_lints(values: list[str]) -> None:
    helm("lint", str(CHART), "--strict", "--quiet", *values)


@pytest.mark.parametrize("values", SETS)
def test_every_object_is_valid(values: list[str]) -> None:
    for one in render(*values):
        if not one["apiVersion"].startswith(("monitoring.coreos.com", "apiextensions.k8s.io")):
            kubernetes_validate.validate(one, "1.34", strict=True)


@pytest.mark.parametrize("values", SETS)
def test_every_object_has_labels_and_namespace(values: list[str]) -> None:
    for one in render(*values):
        if one["kind"] == "CustomResourceDefinition":
            continue
        meta = one["metadata"]
        labels = meta["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/instance"] == "podtask"
        assert labels["app.kubernetes.io/part-of"] == "podtask"
        assert ("namespace" in meta) != (one["kind"] in CLUSTER_WIDE), meta


def test_generated_files_match_the_values() -> None:
    for name, text in generated(ROOT).items():
        assert (ROOT / name).read_text() == text, f"{name} is stale: make generate"


@pytest.mark.parametrize(
    "setting", ["repicas=3", "image.tagg=x", "metrics.serviceMonitor.on=true", "crds.keep=maybe", "replicas=two"]
)
def test_the_schema_refuses_unknown_values(setting: str) -> None:
    done = attempt("template", "x", str(CHART), "--set", setting)
    assert done.returncode != 0
    assert setting.partition("=")[0].rpartition(".")[2] in done.stderr


def test_a_schema_closes_every_section() -> None:
    def sections(node: dict[str, Any]) -> list[dict[str, Any]]:
        below = [found for child in node.get("properties", {}).values() for found in sections(child)]
        return [node, *below] if "properties" in node else below

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert all(section["additionalProperties"] is False for section in sections(schema))


# ---- the controller's Pods ----


@pytest.mark.parametrize("values", SETS)
def test_pods_are_restricted(values: list[str]) -> None:
    objects = render(*values)
    for workload in [*of_kind(objects, "Deployment"), *of_kind(objects, "Job")]:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == RESTRICTED
            assert "command" not in container, "the image says what runs"
        assert not any("volume" in key for key in pod)


def test_the_selector_has_no_label_that_an_upgrade_changes() -> None:
    deployment = only(render(*EVERYTHING), "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert set(selector) == {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_a_private_registry_prefixes_both_images() -> None:
    objects = render(*EVERYTHING)
    digest = "sha256:" + "a" * 64
    for workload in (only(objects, "Deployment"), only(objects, "Job")):
        pod = workload["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == f"registry.example.com/mirror/podtask/controller@{digest}"
        assert pod["imagePullSecrets"] == [{"name": "mirror"}]
    assert parsed(EVERYTHING).sidecar_image == "registry.example.com/mirror/podtask/sidecar:1.2.3"


def parsed(values: list[str]) -> options.Options:
    """Read the rendered command line as the controller does."""
    container = only(render(*values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return options.parse(container["args"], {})


def test_the_defaults_are_the_controllers_own() -> None:
    own = options.parse([], {})
    got = parsed([])
    assert got.leader_election == "on"
    differing = [name for name in options.Options.__slots__ if getattr(got, name) != getattr(own, name)]
    assert differing == ["leader_election"]


def test_every_flag_can_be_set_by_a_value() -> None:
    """Except the flags for running outside of a cluster."""
    own = options.parse([], {})
    # The last set names a namespace; extraArgs stand behind ours, so what they repeat wins.
    got = {name: {getattr(parsed(values), name) for values in (EVERYTHING, ONE_NAMESPACE)} for name in own.__slots__}
    unset = [name for name, values in got.items() if values == {getattr(own, name)}]
    assert unset == ["leader_election_namespace", "http_port", "metrics_port", "http_address"]


def test_policy_reaches_the_controller() -> None:
    got = parsed(EVERYTHING)
    assert got.policy_namespaces == ("team-*", "batch")
    assert got.policy_host_access is False
    assert got.policy_max_run_seconds == 1_000_000, "not 1e+06"
    assert got.sidecar_pull_policy == "Never"


def test_the_sidecars_settings_reach_the_controller() -> None:
    core = parsed(EVERYTHING).for_core()
    assert (core.sidecar_requests, core.sidecar_limits) == ({"cpu": 0.01, "memory": "16Mi"}, {"memory": "32Mi"})
    assert core.sidecar_security_context == "none"


def test_two_controllers_without_an_election_are_refused() -> None:
    done = attempt("template", "x", str(CHART), *flags("leaderElection.enabled=false"))
    assert done.returncode != 0
    assert "leaderElection.enabled" in done.stderr


@pytest.mark.parametrize("what", ["Run", "Total", "Ttl"])
def test_a_default_above_its_maximum_is_refused(what: str) -> None:
    def at(default: int) -> list[str]:
        return flags(f"policy.default{what}Seconds={default}", f"policy.max{what}Seconds=1000000")

    done = attempt("template", "x", str(CHART), *at(1_000_001))
    assert f"policy.default{what}Seconds 1000001 is over policy.max{what}Seconds 1000000" in done.stderr
    assert attempt("template", "x", str(CHART), *at(1_000_000)).returncode == 0


def test_pod_hold_seconds_has_the_controllers_minimum() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    hold = schema["properties"]["controller"]["properties"]["podHoldSeconds"]
    assert hold["minimum"] == options.MIN_HOLD_SECONDS
    assert attempt("template", "x", str(CHART), *flags("controller.podHoldSeconds=39")).returncode != 0


def test_one_controller_without_an_election_is_recreated() -> None:
    objects = render("-f", str(CHART / "ci/one-replica.yaml"))
    assert only(objects, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not of_kind(objects, "PodDisruptionBudget")
    assert not of_kind(objects, "Role")


@pytest.mark.parametrize("values", [[], ONE_NAMESPACE, EVERYTHING], ids=["defaults", "one-namespace", "everything"])
def test_every_pod_of_the_chart_is_behind_a_network_policy(values: list[str]) -> None:
    objects = render(*values)
    for workload in [*of_kind(objects, "Deployment"), *of_kind(objects, "Job")]:
        meta = workload["metadata"]
        labels = workload["spec"]["template"]["metadata"]["labels"]
        (policy,) = [
            one
            for one in of_kind(objects, "NetworkPolicy")
            if one["metadata"]["namespace"] == meta["namespace"]
            and one["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ]
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        # It is there as long as the Pod: what a hook runs needs one that is of the hook as well.
        assert policy["metadata"].get("annotations", {}).get("helm.sh/hook") == meta.get("annotations", {}).get(
            "helm.sh/hook"
        )


# ---- rights ----


def test_one_namespace_needs_no_cluster_wide_objects() -> None:
    objects = render(*ONE_NAMESPACE)
    assert CLUSTER_WIDE.isdisjoint(one["kind"] for one in objects)
    assert {one["metadata"]["namespace"] for one in of_kind(objects, "RoleBinding")} == {"team-a", NAMESPACE}
    assert CLUSTER_WIDE & {one["kind"] for one in render("--set", "watchNamespace=team-a")} == {
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }


def test_the_lease_is_the_controllers() -> None:
    for values, namespace in (([], ""), (ONE_NAMESPACE, "team-a")):
        role = only(render(*values), "Role", "podtask-leader-election")
        hook = only(render(*values), "Role", "podtask-release-lease")
        for one in (role, hook):
            assert one["metadata"]["namespace"] == NAMESPACE
            names = [name for rule in one["rules"] for name in rule.get("resourceNames", [])]
            assert names == [election.lease_name(namespace)]


def test_rights_in_one_namespace_equal_those_in_all() -> None:
    wide = render()
    narrow = render(*ONE_NAMESPACE)
    for name in ("podtask", "podtask-airflow", "podtask-release"):
        assert only(wide, "ClusterRole", name)["rules"] == only(narrow, "Role", name)["rules"]


@pytest.mark.parametrize(
    ("release", "settings"), [("other", []), ("podtask", flags("watchNamespace=tasks", "podAdmission.enabled=true"))]
)
def test_two_releases_have_different_names(release: str, settings: list[str]) -> None:
    def names(namespace: str) -> set[tuple[str, str]]:
        text = helm("template", release, str(CHART), "-n", namespace, "--set", "crds.enabled=false", *settings)
        return {
            (one["kind"], one["metadata"]["name"])
            for one in yaml.safe_load_all(text)
            if one and one["kind"] in CLUSTER_WIDE
        }

    assert names("a")
    assert names("a").isdisjoint(names("b"))


# ---- the CRD and its guard ----


def test_the_crd_is_kept_by_default() -> None:
    kept = only(render(), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in only(render("--set", "crds.keep=false"), "CustomResourceDefinition")["metadata"]
    source = yaml.safe_load((ROOT / "crds/podtask.dev_podtasks.yaml").read_text())
    assert kept["spec"] == source["spec"]


def test_the_admission_policy_knows_the_same_mutable_fields_as_the_crd() -> None:
    policy = only(render(), "ValidatingAdmissionPolicy", "podtask.podtask.dev")
    lists = {one["name"]: set(re.findall(r"'(\w+)'", one["expression"])) for one in policy["spec"]["variables"]}
    assert lists["mutable"] == MUTABLE
    assert {(name,) for name in lists["scheduling"]} | {("template", "metadata", "labels")} == set(SCHEDULING)


def test_an_old_server_has_no_admission_policy() -> None:
    assert not of_kind(render("--kube-version", "1.29.5"), "ValidatingAdmissionPolicy")
    assert of_kind(render("--kube-version", "1.30.0"), "ValidatingAdmissionPolicy")
    assert attempt("template", "x", str(CHART), "--kube-version", "1.28.9").returncode != 0


def guards(*arguments: str) -> list[Object]:
    """Return the policies for Pods."""
    return [one for one in of_kind(render(*arguments), "ValidatingAdmissionPolicy") if "pod" in scope(one)]


def scope(policy: Object) -> set[str]:
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    return {name.partition("/")[0].removesuffix("s") for rule in rules for name in rule["resources"]}


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([], 2),
        (["--kube-version", "1.29.5"], 0),
        (["--kube-version", "1.30.0"], 2),
        (flags("podAdmission.enabled=false"), 0),
        (flags("podAdmission.enabled=true"), 2),
        (flags("watchNamespace=team-a"), 2),
        (flags("watchNamespace=team-a", "crds.enabled=false"), 0),
        (flags("watchNamespace=team-a", "crds.enabled=false", "podAdmission.enabled=true"), 2),
    ],
    ids=str,
)
def test_pods_are_guarded_if_the_server_has_admission_policies(arguments: list[str], count: int) -> None:
    assert len(guards(*arguments)) == count


def test_a_required_guard_is_an_error_if_it_is_unsupported() -> None:
    done = attempt("template", "x", str(CHART), "--kube-version", "1.29.5", *flags("podAdmission.enabled=true"))
    assert done.returncode != 0
    assert "podAdmission.enabled" in done.stderr


def test_a_guard_is_limited_to_the_watched_namespace() -> None:
    here = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    for one in guards(*flags(f"watchNamespace={NAMESPACE}")):
        assert one["spec"]["matchConstraints"]["namespaceSelector"] == here
        assert f'"{NAMESPACE}"' not in json.dumps(one["spec"]["validations"]), "tasks may run beside their controller"
    assert not any("namespaceSelector" in one["spec"]["matchConstraints"] for one in guards())


def test_a_guard_names_the_controllers_account() -> None:
    for values, name in (
        ([], "podtask"),
        (["-f", str(CHART / "ci/given-rights.yaml")], "given"),
        (EVERYTHING, "operator"),
    ):
        account = f"system:serviceaccount:{NAMESPACE}:{name}"
        conditions = [one["spec"]["matchConditions"][0]["expression"] for one in guards(*values)]
        assert len(conditions) == 2
        assert all(account in condition for condition in conditions)
        pod = only(render(*values), "Deployment")["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == name


def test_audit_mode_denies_nothing() -> None:
    def actions(*arguments: str) -> list[list[str]]:
        bindings = of_kind(render(*arguments), "ValidatingAdmissionPolicyBinding")
        return sorted(
            one["spec"]["validationActions"] for one in bindings if one["spec"]["policyName"] != "podtask.podtask.dev"
        )

    assert actions() == [["Deny"]] * 3
    assert actions(*flags("podAdmission.action=Audit")) == [["Audit", "Warn"]] * 3


def test_the_release_is_small_enough_for_helms_secret() -> None:
    text = helm("template", "podtask", str(CHART), *EVERYTHING)
    size = len(gzip.compress(text.encode()))
    print(f"rendered {len(text)} bytes, compressed {size}")
    assert size < 200_000


# ---- monitoring ----


def test_only_metrics_readers_may_connect() -> None:
    assert "ingress" not in (closed := only(render(), "NetworkPolicy", "podtask")["spec"])
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = only(render(*EVERYTHING), "NetworkPolicy", "podtask-tasks")["spec"]["ingress"]
    container = only(render(*EVERYTHING), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    own = options.parse([], {})
    assert ports == {"probes": own.http_port, "metrics": own.metrics_port}
    assert [port["port"] for port in rule["ports"]] == ["metrics"], "probes come from the node"
    assert rule["from"], "an empty list would be everywhere"
    assert [port["targetPort"] for port in only(render(), "Service")["spec"]["ports"]] == ["metrics"]


def test_a_monitor_that_the_network_policy_blocks_is_refused() -> None:
    done = attempt("template", "x", str(CHART), *flags("metrics.serviceMonitor.enabled=true"))
    assert "networkPolicy.metricsFrom" in done.stderr
    both = flags("metrics.serviceMonitor.enabled=true", "networkPolicy.enabled=false")
    assert attempt("template", "x", str(CHART), *both).returncode == 0


def test_the_monitoring_objects_have_the_operators_shape() -> None:
    objects = render(*EVERYTHING)
    service = only(objects, "Service")
    monitor = only(objects, "ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [one["port"] for one in monitor["spec"]["endpoints"]] == [service["spec"]["ports"][0]["name"]]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (group,) = only(objects, "PrometheusRule")["spec"]["groups"]
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["expr"].count("{") == rule["expr"].count("}") == 1
        assert f'job="{service["metadata"]["name"]}"' in rule["expr"], "a ServiceMonitor names the job by its Service"


def known_metrics() -> set[str]:
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    names = {one.name + end for one in metrics.TABLE for end in suffixes.get(one.kind, ("",))}
    return names | {"process_resident_memory_bytes"}


def test_alerts_and_dashboard_use_existing_metrics() -> None:
    objects = render(*EVERYTHING)
    dashboard = json.loads(only(objects, "ConfigMap")["data"]["podtask.json"])
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    (group,) = only(objects, "PrometheusRule")["spec"]["groups"]
    asked += [rule["expr"] for rule in group["rules"]]
    named = {name for text in asked for name in re.findall(r"\b(?:podtask|process)_\w+", strip_strings(text))}
    assert len(named) > 10
    assert named <= known_metrics()


def runbook() -> str:
    return (ROOT / "docs/operate/runbook.md").read_text()


def test_every_alert_links_to_its_section_of_the_runbook() -> None:
    (group,) = only(render(*EVERYTHING), "PrometheusRule")["spec"]["groups"]
    anchors = {re.sub(r"[^\w -]", "", line).replace(" ", "-") for line in headings(runbook())}
    for rule in group["rules"]:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operate/runbook.md"
        assert anchor == rule["alert"].lower()
        assert anchor in anchors
    assert set(re.findall(r"\]\(#([\w-]+)\)", runbook())) <= anchors, "a link within the runbook leads nowhere"


def headings(text: str) -> list[str]:
    return [line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")]


def test_the_runbook_has_every_reason_and_every_metric() -> None:
    text = runbook()
    unknown = [reason for reason in Reason if f"`{reason}`" not in text]
    unknown += [metric.name for metric in metrics.TABLE if f"`{metric.name}`" not in text]
    assert not unknown
    documented = set(re.findall(r"`(podtask_\w+)`", text))
    assert documented <= {metric.name for metric in metrics.TABLE}


def strip_strings(expression: str) -> str:
    return re.sub(r'"[^"]*"', '""', expression)


@pytest.mark.parametrize("path", CI, ids=lambda path: path.stem)
def test_the_values_of_ci_are_not_packaged(path: Path, tmp_path: Path) -> None:
    """They are for tests; a user would take them for recommendations."""
    helm("package", str(CHART), "-d", str(tmp_path))
    (archive,) = tmp_path.iterdir()
    assert path.name.encode() not in gzip.decompress(archive.read_bytes())


def test_the_notes_name_the_next_steps() -> None:
    objects: list[Object] = render()
    assert objects
    text = helm("install", "podtask", str(CHART), "-n", NAMESPACE, "--dry-run=client", *flags("crds.keep=false"))
    notes = text.partition("NOTES:")[2]
    assert "kubectl wait --for=condition=Finished podtask/hello" in notes
    assert "create rolebinding" in notes
    assert "WARNING: crds.keep is off" in notes
