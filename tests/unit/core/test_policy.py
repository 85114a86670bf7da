"""The platform's policy: what is refused, with which message, and what is allowed."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podtask.core import plan, podspec, policy
from podtask.core.decide import decide
from podtask.core.policy import Policy, PolicyError
from podtask.core.settings import Settings
from podtask.core.snapshot import CreateError, DeadlinesSpec, TaskSpec, XComSpec
from tests.builders import MadeTask, at, make_live_attempt, make_pod, make_task

HOSTLESS = Policy(host_access=False)
HUB = Policy(image_prefixes=("registry.example.com/team", "busybox"))


def refusal(made: MadeTask, rules: Policy) -> str:
    """Return the message of the policy error, or an empty string if the task is allowed."""
    settings = Settings(sidecar_image="elsewhere.example.org/sidecar:1", policy=rules)
    try:
        podspec.build(made.build(), 1, "etl-1", settings)
    except PolicyError as error:
        return str(error)
    return ""


def in_template(**spec: Any) -> MadeTask:
    return make_task(template={"spec": spec})


def with_context(**context: Any) -> MadeTask:
    return make_task(containerSecurityContext=context)


def in_container(**fields: Any) -> MadeTask:
    return in_template(containers=[{"name": "base", **fields}])


def annotated(profile: str) -> MadeTask:
    key = "container.apparmor.security.beta.kubernetes.io/base"
    return make_task(template={"metadata": {"annotations": {key: profile, "a": "b"}}})


REFUSED: dict[str, tuple[MadeTask, Policy, str]] = {
    "a namespace": (
        make_task(),
        Policy(namespaces=("team-*", "etl")),
        "namespace default may not run PodTasks, use one of: team-*, etl",
    ),
    "a service account": (
        make_task(service_account_name="admin"),
        Policy(service_accounts=("task-*",)),
        "serviceAccountName admin is not allowed, use one of: task-*",
    ),
    "no service account, which is `default`": (
        make_task(),
        Policy(service_accounts=("task",)),
        "serviceAccountName default",
    ),
    "a service account by the field's old name": (
        in_template(serviceAccount="admin"),
        Policy(service_accounts=("default",)),
        "serviceAccountName admin",
    ),
    "an empty service account beside the old name": (
        in_template(serviceAccountName="", serviceAccount="admin"),
        Policy(service_accounts=("default",)),
        "admin",
    ),
    "a priority class": (
        make_task(priority_class_name="system-node-critical"),
        Policy(priority_classes=("batch-*",)),
        "priorityClassName system-node-critical is not allowed, leave it out or use one of: batch-*",
    ),
    "an image": (
        make_task(image="evil/x"),
        HUB,
        "image 'evil/x' of container base is not allowed, use one below: registry",
    ),
    "no image": (make_task(image=""), HUB, "image '' of container base"),
    "an image of a second container": (
        in_template(containers=[{"name": "side", "image": "evil"}]),
        HUB,
        "container side",
    ),
    "an image of an init container": (make_task(init_containers=[{"name": "i", "image": "evil"}]), HUB, "container i "),
    "an image of an ephemeral container": (
        in_template(ephemeralContainers=[{"name": "e", "image": "evil"}]),
        HUB,
        "container e ",
    ),
    "an image as a volume": (
        make_task(volumes=[{"name": "model", "image": {"reference": "evil/model"}}]),
        HUB,
        "'evil/model' of volume model",
    ),
    "the host's network": (make_task(host_network=True), HOSTLESS, "hostNetwork is not allowed, leave it out"),
    "the host's processes": (in_template(hostPID=True), HOSTLESS, "hostPID"),
    "the host's memory": (in_template(hostIPC=True), HOSTLESS, "hostIPC"),
    "the host's users": (in_template(hostUsers=True), HOSTLESS, "hostUsers"),
    "a Pod as a process of the host": (
        in_template(securityContext={"windowsOptions": {"hostProcess": True}}),
        HOSTLESS,
        "windowsOptions.hostProcess",
    ),
    "a container as a process of the host": (
        with_context(windowsOptions={"hostProcess": True}),
        HOSTLESS,
        "container base may not set windowsOptions",
    ),
    "a path of the host": (
        make_task(volumes=[{"name": "root", "hostPath": {"path": "/"}}]),
        HOSTLESS,
        "volume root may not be a hostPath",
    ),
    "a privileged container": (with_context(privileged=True), HOSTLESS, "container base may not be privileged"),
    "a privileged sidecar of ours": (
        make_task(xcom={"sidecar": {"securityContext": {"privileged": True}}}),
        HOSTLESS,
        "container podtask-result may not",
    ),
    "another procMount": (with_context(procMount="Unmasked"), HOSTLESS, "container base may not change procMount"),
    "capabilities": (
        with_context(capabilities={"add": ["SYS_ADMIN", "CHOWN", "ALL"]}),
        HOSTLESS,
        "container base may not add capabilities SYS_ADMIN, ALL, leave them out",
    ),
    "capabilities by their long names": (
        with_context(capabilities={"add": ["CAP_NET_ADMIN"]}),
        HOSTLESS,
        "CAP_NET_ADMIN",
    ),
    "capabilities in small letters": (with_context(capabilities={"add": ["chown"]}), HOSTLESS, "chown"),
    "a port of the host": (
        make_task(ports=[{"containerPort": 80}, {"containerPort": 81, "hostPort": 81}]),
        HOSTLESS,
        "container base may not open a hostPort (81), use containerPort alone",
    ),
    "no seccomp for the Pod": (
        in_template(securityContext={"seccompProfile": {"type": "Unconfined"}}),
        HOSTLESS,
        "the Pod may not be Unconfined, leave securityContext.seccompProfile out",
    ),
    "no seccomp for a container": (
        with_context(seccompProfile={"type": "Unconfined"}),
        HOSTLESS,
        "container base may not be Unconfined, leave securityContext.seccompProfile out",
    ),
    "no AppArmor for the Pod": (
        in_template(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
        HOSTLESS,
        "the Pod may not be Unconfined, leave securityContext.appArmorProfile out",
    ),
    "no AppArmor for a container": (with_context(appArmorProfile={"type": "Unconfined"}), HOSTLESS, "appArmorProfile"),
    "no AppArmor by an annotation": (
        annotated("unconfined"),
        HOSTLESS,
        "annotation container.apparmor.security.beta.kubernetes.io/base may not be 'unconfined', leave it out",
    ),
    "a type of SELinux": (
        with_context(seLinuxOptions={"type": "spc_t"}),
        HOSTLESS,
        "container base may not have the SELinux type spc_t, leave it out",
    ),
    "a type of SELinux for the Pod": (
        in_template(securityContext={"seLinuxOptions": {"type": "spc_t"}}),
        HOSTLESS,
        "the Pod may not have the SELinux type spc_t",
    ),
    "a user of SELinux": (
        with_context(seLinuxOptions={"user": "system_u"}),
        HOSTLESS,
        "container base may not set seLinuxOptions.user, leave it out",
    ),
    "a role of SELinux": (with_context(seLinuxOptions={"role": "sysadm_r"}), HOSTLESS, "seLinuxOptions.role"),
    "a sysctl": (
        in_template(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
        HOSTLESS,
        "the sysctls kernel.msgmax are not allowed, leave them out",
    ),
    "a node": (in_template(nodeName="node1"), HOSTLESS, "nodeName is not allowed, use nodeSelector"),
    "a probe of another host": (
        in_container(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
        HOSTLESS,
        "container base may not set livenessProbe.httpGet.host, leave it out",
    ),
    "a probe of another host by TCP": (
        in_container(startupProbe={"tcpSocket": {"host": "10.0.0.1", "port": 80}}),
        HOSTLESS,
        "startupProbe.tcpSocket.host",
    ),
    "a hook to another host": (
        in_container(lifecycle={"preStop": {"httpGet": {"host": "10.0.0.1", "port": 80}}}),
        HOSTLESS,
        "container base may not set lifecycle.preStop.httpGet.host",
    ),
    "a long run": (
        make_task(deadlines={"runSeconds": 90_000}),
        Policy(max_run_seconds=86_400),
        "deadlines.runSeconds is 90000, the platform's ceiling is 86400",
    ),
    "a long time in all": (
        make_task(deadlines={"totalSeconds": 11}),
        Policy(max_total_seconds=10),
        "deadlines.totalSeconds",
    ),
    "a long life": (
        make_task(ttl_seconds_after_finished=11),
        Policy(max_ttl_seconds=10),
        "ttlSecondsAfterFinished is 11",
    ),
    "a long life of success": (
        make_task(ttl_seconds_after_succeeded=11),
        Policy(max_ttl_seconds=10),
        "ttlSecondsAfterSucceeded is 11",
    ),
    "a long life of failure": (
        make_task(ttl_seconds_after_failed=11),
        Policy(max_ttl_seconds=10),
        "ttlSecondsAfterFailed is 11",
    ),
    "a large result": (make_task(xcom={"maxBytes": 65_537}), Policy(max_result_bytes=65_536), "xcom.maxBytes is 65537"),
}


@pytest.mark.parametrize(("made", "rules", "want"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_and_said_what_to_change(made: MadeTask, rules: Policy, want: str) -> None:
    got = refusal(made, rules)
    assert got.startswith("the platform's policy forbids this task: ")
    assert want in got
    assert "; " not in got, "one problem, one complaint"


ALLOWED: dict[str, tuple[MadeTask, Policy]] = {
    "anything, without rules": (make_task(image="evil", host_network=True, deadlines={"runSeconds": 9**6}), Policy()),
    "a namespace by pattern": (make_task(), Policy(namespaces=("x", "d*t"))),
    "a service account by pattern": (make_task(service_account_name="task-1"), Policy(service_accounts=("task-*",))),
    "no service account, where `default` is allowed": (make_task(), Policy(service_accounts=("default",))),
    "no priority class": (make_task(), Policy(priority_classes=("batch-*",))),
    "our own sidecar's image": (make_task(image="busybox", xcom={}), HUB),
    "our own sidecar, which adds DAC_OVERRIDE": (make_task(xcom={}), HOSTLESS),
    "what the baseline level lets a container add": (
        with_context(capabilities={"add": ["CHOWN", "CAP_KILL"]}),
        HOSTLESS,
    ),
    "host fields that are off": (
        in_template(hostNetwork=False, hostUsers=False, volumes=[{"name": "v", "hostPath": None, "image": None}]),
        HOSTLESS,
    ),
    "a container's plain context": (with_context(privileged=False, procMount="Default", runAsUser=0), HOSTLESS),
    "profiles that confine": (
        in_template(
            securityContext={
                "seccompProfile": {"type": "RuntimeDefault"},
                "appArmorProfile": {"type": "Localhost", "localhostProfile": "x"},
                "seLinuxOptions": {"type": "container_t", "level": "s0:c1,c2", "user": ""},
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
            }
        ),
        HOSTLESS,
    ),
    "a confining profile by an annotation": (annotated("localhost/x"), HOSTLESS),
    "the default profile by an annotation": (annotated("runtime/default"), HOSTLESS),
    "probes and hooks of the Pod itself": (
        in_container(
            readinessProbe={"httpGet": {"port": 80, "host": ""}},
            livenessProbe={"exec": {"command": ["true"]}},
            lifecycle={"postStart": {"exec": {"command": ["true"]}}},
        ),
        HOSTLESS,
    ),
    "a port of the Pod": (make_task(ports=[{"containerPort": 80, "hostPort": 0}]), HOSTLESS),
    "values at their ceilings": (
        make_task(deadlines={"runSeconds": 5, "totalSeconds": 6}, ttl_seconds_after_finished=7, xcom={"maxBytes": 8}),
        Policy(max_run_seconds=5, max_total_seconds=6, max_ttl_seconds=7, max_result_bytes=8),
    ),
}


@pytest.mark.parametrize(("made", "rules"), ALLOWED.values(), ids=ALLOWED)
def test_it_is_let_through(made: MadeTask, rules: Policy) -> None:
    assert refusal(made, rules) == ""


IMAGES: dict[str, tuple[str, str, bool]] = {
    "below a host": ("registry.example.com/x", "registry.example.com", True),
    "below a host, with tag and digest": ("registry.example.com/a/b:1@sha256:0", "registry.example.com", True),
    "another host that begins alike": ("registry.example.com.evil/x", "registry.example.com", False),
    "another port of the host": ("registry.example.com:5000/x", "registry.example.com", False),
    "the port that is named": ("registry.example.com:5000/x", "registry.example.com:5000", True),
    "a longer port": ("registry.example.com:50001/x", "registry.example.com:5000", False),
    "another user before an @": ("registry.example.com@evil.example/x", "registry.example.com", False),
    "a team": ("hub.example.com/team/x", "hub.example.com/team", True),
    "another team that begins alike": ("hub.example.com/team2/x", "hub.example.com/team", False),
    "a team, written with a slash": ("hub.example.com/team/x", "hub.example.com/team/", True),
    "another team, written with a slash": ("hub.example.com/team2/x", "hub.example.com/team/", False),
    "the folder itself is no image": ("hub.example.com/team", "hub.example.com/team/", False),
    "the very image": ("python", "python", True),
    "the very image with a tag": ("python:3.12", "python", True),
    "the very image by digest": ("python@sha256:0", "python", True),
    "an image of the user who is named alike": ("python/evil:1", "python", False),
    "an image of the user who is named": ("bitnami/redis:7", "bitnami/", True),
    "a user alone is one image": ("bitnami/redis:7", "bitnami", False),
    "below an image without a host": ("team/app/x", "team/app", False),
    "an image without a host": ("team/app:1", "team/app", True),
    "an image with its tag": ("python:3.12", "python:3.12", True),
    "a host named like an image with its tag": ("python:3/evil", "python:3", False),
    "a port of a host without dots": ("hub:5000/x", "hub:5000", False),
    "a port of a host without dots, written with a slash": ("hub:5000/x", "hub:5000/", True),
    "a team at a port of a host without dots": ("hub:5000/team/x", "hub:5000/team", True),
    "below localhost": ("localhost/team/x", "localhost/team", True),
    "another image that begins alike": ("python-evil", "python", False),
    "in capitals": ("Registry.example.com/x", "registry.example.com", False),
}


@pytest.mark.parametrize(("image", "prefix", "want"), IMAGES.values(), ids=IMAGES)
def test_an_image_is_compared_by_whole_parts(image: str, prefix: str, want: bool) -> None:
    assert (refusal(make_task(image=image), Policy(image_prefixes=("other", prefix))) == "") is want


def test_all_problems_are_told_at_once() -> None:
    rules = msgspec.structs.replace(HUB, host_access=False, max_run_seconds=1, namespaces=("x",))
    got = refusal(make_task(image="evil", host_network=True, deadlines={"runSeconds": 2}), rules)
    assert [word for word in ("namespace", "image", "hostNetwork", "runSeconds") if word not in got] == []


JUNK = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda x: st.lists(x, max_size=2))
FIELDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            "image",
            "ports",
            "securityContext",
            "volumes",
            "serviceAccountName",
            "hostPID",
            "lifecycle",
            "startupProbe",
            "nodeName",
        ),
        JUNK,
    ),
)


@given(FIELDS, FIELDS, st.lists(FIELDS | JUNK, max_size=2) | JUNK)
def test_a_shape_that_no_pod_has_is_left_to_the_api_server(pod: Any, container: Any, inits: Any) -> None:
    """The check raises nothing but `PolicyError`, whatever is in fields that the CRD does not type."""
    rules = Policy(("d",), ("a",), ("i",), ("p",), host_access=False)
    made = {"metadata": {"namespace": "d"}, "spec": {**pod, "containers": [container], "initContainers": inits}}
    with pytest.raises(PolicyError, match=r"serviceAccountName|image"):
        policy.check(TaskSpec(), made, rules, "sidecar")


# ---- defaults and ceilings ----

MAYBE = st.none() | st.integers(1, 10**6)


def _seconds(spec: TaskSpec) -> tuple[int | None, ...]:
    return (spec.deadlines.run_seconds, spec.deadlines.total_seconds, spec.ttl_seconds_after_finished)


def test_a_default_fills_what_the_task_leaves_open() -> None:
    rules = Policy(
        default_run_seconds=1, default_total_seconds=2, default_ttl_seconds=3, max_run_seconds=9, max_result_bytes=100
    )
    got = policy.with_defaults(TaskSpec(xcom=XComSpec()), rules)
    assert (_seconds(got), got.xcom) == ((1, 2, 3), XComSpec(max_bytes=100))


def test_a_ceiling_is_a_default() -> None:
    got = policy.with_defaults(TaskSpec(), Policy(max_run_seconds=1, max_total_seconds=2, max_ttl_seconds=3))
    assert (_seconds(got), got.xcom) == ((1, 2, 3), None)


def test_a_high_ceiling_of_results_changes_no_default() -> None:
    got = policy.with_defaults(TaskSpec(xcom=XComSpec()), Policy(max_result_bytes=500_000))
    assert got.xcom == XComSpec(max_bytes=65_536)


def test_without_rules_nothing_is_copied() -> None:
    spec = TaskSpec(xcom=XComSpec())
    assert policy.with_defaults(spec, Policy()) is spec


@given(MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE)
def test_what_the_task_says_wins_and_what_it_leaves_open_is_never_refused(
    run: int | None, total: int | None, size: int | None, default: int | None, most: int | None, most_bytes: int | None
) -> None:
    """A default is never above the ceiling, and the ceiling never changes a value that the task sets."""
    if default is not None and most is not None:
        default = min(default, most)  # settings refuse anything else at the start
    rules = Policy(
        default_run_seconds=default,
        default_total_seconds=default,
        max_run_seconds=most,
        max_total_seconds=most,
        max_result_bytes=most_bytes,
    )
    spec = TaskSpec(deadlines=DeadlinesSpec(run_seconds=run, total_seconds=total), xcom=XComSpec(max_bytes=size))
    filled = policy.with_defaults(spec, rules)
    assert policy.with_defaults(filled, rules) is filled
    assert list(policy.excesses(filled, rules)) == list(policy.excesses(spec, rules))
    for asked, got in zip((run, total), _seconds(filled), strict=False):
        assert got == (asked if asked is not None else default if default is not None else most)


def test_the_sidecar_is_told_the_platforms_size() -> None:
    settings = Settings(policy=Policy(max_result_bytes=5_000))
    pod = podspec.build(make_task(xcom={}).build(), 1, "etl-1", settings)
    assert "--max-bytes=5000" in pod["spec"]["initContainers"][-1]["args"]
    small = podspec.build(make_task(xcom={}).build(), 1, "etl-1", Settings(policy=Policy(max_result_bytes=500)))
    assert "initContainers" not in small["spec"], "a small promise needs no sidecar, in every case"


# ---- what becomes of it ----

LIMITED = Settings(policy=Policy(max_running_pods=3))


def limited(made: MadeTask, seconds: float, rules: Policy = LIMITED.policy, **facts: Any) -> plan.Plan:
    return decide(made.observe(**{"slots_used": 3, **facts}), at(seconds), Settings(policy=rules))


def written(found: plan.Plan) -> tuple[str, str, str]:
    (action,) = found.actions
    assert isinstance(action, plan.WriteStatus)
    return (str(action.status.phase), str(action.status.reason), action.status.message)


def test_a_refusal_is_the_end_whatever_words_of_the_task_it_quotes() -> None:
    """The name of an image may look like a message of the API server, which must not stop the task."""
    words = "image 'x because it is being terminated' of container base is not allowed"
    made = CreateError(attempt=1, code=403, reason="PolicyDenied", message=words, at=at(1))
    found = decide(make_task().observe(create_error=made), at(1), Settings())
    assert written(found) == ("Failed", "PolicyDenied", words)
    assert found.events == (plan.Event(kind="Warning", reason="PolicyDenied", message=words),)


def test_with_a_place_the_pod_is_created() -> None:
    found = limited(make_task(), 1, slots_used=2)
    assert [type(action) for action in found.actions] == [plan.CreatePod]
    assert not found.waits_for_slot


def test_without_a_place_a_task_waits_and_says_so_once_it_has_lasted() -> None:
    first = limited(make_task(), 1)
    assert (first.actions, first.wake_at, first.waits_for_slot) == ((), at(5), True)
    second = limited(make_task(), 5)
    phase, reason, message = written(second)
    assert (phase, reason, second.waits_for_slot) == ("Pending", "ConcurrencyLimit", True)
    assert message == "the platform allows 3 running Pods of PodTasks at once in namespace default"
    told = make_task().status(phase=phase, reason=reason, message=message, observed_generation=1)
    assert limited(told, 900) == plan.Plan(waits_for_slot=True), "no clock brings it back"


def test_only_the_total_clock_runs_while_it_waits_for_a_place() -> None:
    deadlines = {"totalSeconds": 60, "scheduleSeconds": 10}
    told = make_task(deadlines=deadlines).status(
        reason="ConcurrencyLimit", message="the platform allows 3 running Pods of PodTasks at once in namespace default"
    )
    assert limited(told, 30) == plan.Plan(wake_at=at(60), waits_for_slot=True)
    assert written(limited(told, 60))[:2] == ("Failed", "TotalDeadlineExceeded")


QUOTA = CreateError(attempt=1, code=403, reason="Forbidden", message="exceeded quota: q", at=at(600))


def test_the_schedule_clock_begins_when_the_turn_has_come() -> None:
    """A quota may refuse a task that has waited for a slot for ten minutes; its schedule deadline starts then."""
    in_line = make_task(deadlines={"scheduleSeconds": 60}).status(reason="ConcurrencyLimit", observed_generation=1)
    (action,) = limited(in_line, 600, slots_used=2, create_error=QUOTA).actions
    assert isinstance(action, plan.WriteStatus)
    assert (action.status.reason, action.status.next_attempt_time) == ("QuotaExceeded", at(600))
    told = MadeTask(msgspec.structs.replace(in_line.build(), status=action.status))
    assert limited(told, 601, slots_used=2, create_error=QUOTA) == plan.Plan(wake_at=at(602))
    assert written(limited(told, 660, slots_used=2, create_error=QUOTA))[:2] == ("Failed", "ScheduleDeadlineExceeded")


def test_an_old_refusal_neither_ends_nor_hurries_a_task_in_line() -> None:
    in_line = make_task(deadlines={"scheduleSeconds": 60}).status(
        reason="ConcurrencyLimit", message="the platform allows 3 running Pods of PodTasks at once in namespace default"
    )
    assert limited(in_line, 900, create_error=QUOTA) == plan.Plan(waits_for_slot=True)
    assert [type(action) for action in limited(in_line, 900, slots_used=2, create_error=QUOTA).actions] == [
        plan.CreatePod
    ]


def test_the_place_of_a_create_in_doubt_is_kept_until_the_doubt_is_over() -> None:
    """The create whose reply was lost may still be carried out, whatever happened since."""
    doubt = {"unknown_create_deadline": at(70), "slots_used": 0, "create_error": QUOTA}
    refused = limited(make_task(), 12, **doubt)
    assert (refused.reserves_slot, refused.waits_for_slot) == (True, False)
    assert limited(make_task().status(phase="Cancelled", observed_generation=1), 12, **doubt) == plan.Plan(
        wake_at=at(70), reserves_slot=True
    )
    assert not limited(make_task(), 70, **doubt).reserves_slot
    without = decide(make_task().observe(unknown_create_deadline=at(70), create_error=QUOTA), at(12), Settings())
    assert not without.reserves_slot


def test_nobody_waits_for_a_refusal() -> None:
    rules = Policy(max_running_pods=3, image_prefixes=("python",))
    assert written(limited(make_task(), 1, rules))[:2] == ("Failed", "PolicyDenied")
    broken = make_task(template={"spec": {"containers": "none"}})
    assert written(limited(broken, 1))[:2] == ("Failed", "InvalidPodTemplate")


SMALL = Settings(policy=Policy(max_spec_bytes=1_000))


def sized(made: MadeTask, spec_bytes: int) -> MadeTask:
    """Return a task as the cache keeps it: without the bytes of an oversized spec."""
    return MadeTask(msgspec.structs.replace(made.build(), spec_bytes=spec_bytes, raw_spec=b""))


@pytest.mark.parametrize("made", [make_task(), make_task(suspend=True), make_task().suspended()])
def test_a_spec_that_is_too_large_is_refused_as_soon_as_it_is_seen(made: MadeTask) -> None:
    found = decide(sized(made, 1_001).observe(), at(1), SMALL)
    assert written(found) == ("Failed", "SpecTooLarge", "spec has 1001 bytes, the platform's ceiling is 1000")


def test_a_spec_of_the_largest_size_is_taken() -> None:
    fits = MadeTask(msgspec.structs.replace(make_task().build(), spec_bytes=1_000))
    (action,) = decide(fits.observe(), at(1), SMALL).actions
    assert isinstance(action, plan.CreatePod)


def test_what_is_cancelled_is_not_too_large() -> None:
    assert written(decide(sized(make_task(cancel=True), 1_001).observe(), at(1), SMALL))[1] == "Cancelled"


def test_an_attempt_goes_on_where_the_ceiling_was_lowered_and_is_the_last() -> None:
    task = sized(make_task(backoffLimit=3), 1_001).attempts(make_live_attempt())
    running = task.status(phase="Running", reason="Running", observed_generation=1)
    assert decide(running.observe(make_pod().running(since=2)), at(9), SMALL).actions == ()
    failed = decide(running.observe(make_pod().exit(3)), at(9), SMALL)
    (action, *_) = failed.actions
    assert isinstance(action, plan.WriteStatus)
    assert (action.status.phase, action.status.reason) == ("Pending", "Backoff")
    again = MadeTask(msgspec.structs.replace(running.build(), status=action.status))
    assert written(decide(again.observe(), at(10), SMALL))[:2] == ("Failed", "SpecTooLarge")


def test_a_default_deadline_ends_a_run_that_set_none() -> None:
    rules = Settings(policy=Policy(max_run_seconds=5))
    pod = make_pod().running(since=2)
    told = make_task().attempts(make_live_attempt()).status(phase="Running", reason="Running", observed_generation=1)
    assert decide(told.observe(pod), at(6), rules).wake_at == at(7)
    (action,) = decide(told.observe(pod), at(7), rules).actions
    assert isinstance(action, plan.StopPod)
    assert action.reason == "RunDeadlineExceeded"


def test_a_life_that_was_made_longer_afterwards_ends_at_the_ceiling_and_an_event_says_so() -> None:
    rules = Settings(policy=Policy(max_ttl_seconds=100))
    over = make_task(ttl_seconds_after_finished=999).status(
        phase="Succeeded", reason="Completed", completion_time=at(10), observed_generation=0
    )
    edited = decide(over.observe(), at(20), rules)
    want = "ttlSecondsAfterFinished is 999, the platform's ceiling is 100"
    assert edited.events == (plan.Event(kind="Warning", reason="PolicyDenied", message=want),)
    assert edited.wake_at == at(110)
    assert plan.DeleteTask() in decide(over.status(observed_generation=1).observe(), at(110), rules).actions
