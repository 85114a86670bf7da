"""Every argument of the operator: what it means here, what becomes of it, and how its value is read.

One dataclass is the list: its fields are the arguments, each with its reader and its line of the documentation. The
table in docs/airflow/arguments.md, the operator's signature (held against it by a test), the template fields and the
check of existing DAGs come from it. Nothing is silently ignored: what cannot be honoured is refused while the DAG is
parsed, and what changes no outcome any more says so in the table.
"""

import dataclasses
import datetime as dt
import enum
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from . import plain, reading, secret
from .reading import Object


class ArgumentError(ValueError):
    """An argument cannot be honoured. The message is one sentence that says what to change."""


class Kind(enum.Enum):
    """What becomes of an argument."""

    HONOURED = "honoured"
    """By the operator itself."""
    TRANSLATED = "translated"
    """Into a field of the PodTask."""
    REFUSED = "refused"
    """While the DAG is parsed, with a sentence on what to do instead."""
    NEEDLESS = "needless"
    """Accepted; it changes no outcome, and the note says why."""


class Since(enum.Enum):
    """Where an argument comes from."""

    KPO = "kpo"
    """KubernetesPodOperator 10.25 has it."""
    GUIDE = "guide"
    """An older KubernetesPodOperator had it, and the guides still show it."""
    PODTASK = "podtask"
    """Ours."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """One line of the table."""

    name: str
    kind: Kind
    field: str
    """Field of the PodTask, empty where there is none."""
    note: str
    default: Any
    templated: bool
    since: Since
    copied: bool = False
    """The value goes into that field as it has been read."""


@dataclasses.dataclass(frozen=True)
class _Described:
    """What an argument's annotation carries: how it is read, and its line of the table, which BaseOperator's lack."""

    read: reading.Reader
    kind: Kind | None = None
    field: str = ""
    note: str = ""
    templated: bool = False
    since: Since = Since.KPO
    copied: bool = False


def _copied(read: reading.Reader, field: str, note: str = "") -> _Described:
    return _Described(read, Kind.TRANSLATED, f"spec.{field}", note, templated=True, copied=True)


def _translated(read: reading.Reader, field: str, note: str, *, templated: bool = True) -> _Described:
    return _Described(read, Kind.TRANSLATED, field, note, templated)


def _honoured(read: reading.Reader, note: str, *, templated: bool = False) -> _Described:
    return _Described(read, Kind.HONOURED, "", note, templated)


def _needless(note: str) -> _Described:
    return _Described(reading.anything, Kind.NEEDLESS, "", note)


def _ours(read: reading.Reader, field: str, note: str, *, templated: bool = False, copied: bool = False) -> _Described:
    kind = Kind.TRANSLATED if field else Kind.HONOURED
    return _Described(read, kind, field, note, templated, Since.PODTASK, copied)


def _of_base(read: reading.Reader) -> _Described:
    return _Described(read)


def _refused(sentence: str) -> reading.Reader:
    def read(value: Any) -> None:
        if value not in (None, {}, []):
            raise ValueError(sentence)

    return read


_TRIGGER_KWARGS = (
    "is not supported: PodTask's trigger hands back only which task ended; keep such values on the operator"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """The operator's arguments, read. None means not given."""

    # identity
    name: Annotated[
        str | None,
        _translated(
            reading.pod_name,
            "metadata.name",
            "stem of the PodTask's name, from which the Pods' names follow; "
            "with random_name_suffix=False the Pod's own name",
        ),
    ] = None
    random_name_suffix: Annotated[
        bool,
        _translated(
            reading.flag,
            "spec.template.metadata.name",
            "True: the suffix is computed from the task instance, not drawn, so a repeated request finds its object; "
            "False: the Pod has exactly this name, so attempts follow one another, and a foreign Pod fails the task",
            templated=False,
        ),
    ] = True
    namespace: Annotated[
        str | None,
        _translated(
            reading.dns_label,
            "metadata.namespace",
            "else the template's, the connection's, the service account's, `default`",
        ),
    ] = None
    labels: Annotated[
        dict[str, str] | None,
        _translated(
            reading.labels, "spec.template.metadata.labels", "on the Pod; no part of how a task finds its earlier tries"
        ),
    ] = None
    annotations: Annotated[
        dict[str, str] | None, _translated(reading.texts_by_name, "spec.template.metadata.annotations", "on the Pod")
    ] = None
    hostname: Annotated[str | None, _copied(reading.text, "hostname")] = None
    subdomain: Annotated[str | None, _copied(reading.text, "subdomain")] = None

    # the task's container
    image: Annotated[str | None, _copied(reading.text, "image", "may come from the template instead")] = None
    image_pull_policy: Annotated[
        str | None, _copied(reading.one_of("Always", "IfNotPresent", "Never"), "imagePullPolicy")
    ] = None
    image_pull_secrets: Annotated[
        list[Object] | None,
        _copied(reading.references, "imagePullSecrets", "objects, names, or one string with commas"),
    ] = None
    cmds: Annotated[list[str] | None, _copied(reading.words, "command", "an empty list clears the template's")] = None
    arguments: Annotated[list[str] | None, _copied(reading.words, "args", "an empty list clears the template's")] = None
    ports: Annotated[list[Object] | None, _translated(reading.mappings, "spec.ports", "added to the template's")] = None
    base_container_name: Annotated[
        str | None,
        _translated(
            reading.dns_label,
            "spec.containerName",
            "the container that is the task, found by name and not by place; "
            "the only container of a template takes this name (`base` without it), whatever it was called",
        ),
    ] = None
    init_containers: Annotated[
        list[Object] | None, _copied(reading.mappings, "initContainers", "merged by name with the template's")
    ] = None
    termination_message_policy: Annotated[
        str | None,
        _copied(
            reading.one_of("File", "FallbackToLogsOnError"),
            "terminationMessagePolicy",
            "by default FallbackToLogsOnError, or the template's; KubernetesPodOperator forces File",
        ),
    ] = None

    # environment
    env_vars: Annotated[
        list[Object] | None,
        _translated(
            reading.variables,
            "spec.env",
            "of one name the last wins, unless it extends the other; names are rendered, too; numbers become text",
        ),
    ] = None
    env_from: Annotated[
        list[Object] | None, _translated(reading.mappings, "spec.envFrom", "added to the template's")
    ] = None
    configmaps: Annotated[list[str] | None, _translated(reading.words, "spec.envFrom", "each a configMapRef")] = None
    secrets: Annotated[
        list[secret.Secret] | None,
        _translated(
            reading.secrets,
            "spec.env, envFrom, volumes, volumeMounts",
            "Airflow's Secret or podtask_airflow.secret.Secret, which can keep the case of a variable's name; "
            "other containers are reached through the template",
        ),
    ] = None
    pod_runtime_info_envs: Annotated[
        list[Object] | None, _translated(reading.field_variables, "spec.env", "after env_vars, so these win")
    ] = None

    # resources
    container_resources: Annotated[
        Object | None,
        _copied(
            reading.resources, "resources", "also in the old form, request_memory, limit_gpu; fractions become text"
        ),
    ] = None
    priority_class_name: Annotated[str | None, _copied(reading.text, "priorityClassName")] = None
    runtime_class_name: Annotated[str | None, _copied(reading.text, "runtimeClassName")] = None

    # volumes
    volumes: Annotated[
        list[Object] | None, _translated(reading.mappings, "spec.volumes", "merged by name with the template's")
    ] = None
    volume_mounts: Annotated[
        list[Object] | None,
        _translated(reading.mappings, "spec.volumeMounts", "merged by mountPath with the template's"),
    ] = None

    # scheduling and network
    node_selector: Annotated[
        dict[str, str] | None, _copied(reading.texts_by_name, "nodeSelector", "merged by key with the template's")
    ] = None
    affinity: Annotated[Object | None, _copied(reading.mapping, "affinity", "replaces the template's")] = None
    tolerations: Annotated[list[Object] | None, _copied(reading.mappings, "tolerations", "replace the template's")] = (
        None
    )
    schedulername: Annotated[str | None, _copied(reading.text, "schedulerName")] = None
    hostnetwork: Annotated[
        bool | None, _copied(reading.flag, "hostNetwork", "an explicit False wins over the template")
    ] = None
    host_aliases: Annotated[list[Object] | None, _copied(reading.mappings, "hostAliases", "replace the template's")] = (
        None
    )
    dnspolicy: Annotated[str | None, _copied(reading.text, "dnsPolicy")] = None
    dns_config: Annotated[Object | None, _copied(reading.mapping, "dnsConfig", "replaces the template's")] = None

    # security
    service_account_name: Annotated[str | None, _copied(reading.text, "serviceAccountName")] = None
    automount_service_account_token: Annotated[
        bool | None, _copied(reading.flag, "automountServiceAccountToken", "an explicit False wins over the template")
    ] = None
    security_context: Annotated[
        Object | None, _copied(reading.mapping, "securityContext", "laid over the template's")
    ] = None
    container_security_context: Annotated[
        Object | None, _copied(reading.mapping, "containerSecurityContext", "laid over the template's")
    ] = None
    xcom_sidecar_container_security_context: Annotated[
        Object | None,
        _translated(reading.mapping, "spec.xcom.sidecar.securityContext", "over the connection's; needs do_xcom_push"),
    ] = None

    # time
    startup_timeout_seconds: Annotated[
        int | None,
        _translated(
            reading.seconds, "spec.deadlines.startSeconds", "from the node on, pulls and init containers included"
        ),
    ] = 120
    schedule_timeout_seconds: Annotated[
        int | None, _translated(reading.seconds, "spec.deadlines.scheduleSeconds", "None: as startup_timeout_seconds")
    ] = None
    startup_check_interval_seconds: Annotated[Any, _needless("the status is watched, not asked for")] = 5
    base_container_status_polling_interval: Annotated[Any, _needless("the status is watched, not asked for")] = 1
    active_deadline_seconds: Annotated[
        int | None,
        _translated(
            reading.seconds, "spec.deadlines.runSeconds", "of the task's container, per attempt; RunDeadlineExceeded"
        ),
    ] = None
    termination_grace_period: Annotated[
        int | None, _copied(reading.number, "terminationGracePeriodSeconds", "0 wins over the template")
    ] = None

    # the end
    on_finish_action: Annotated[
        str,
        _translated(
            reading.one_of("delete_pod", "delete_succeeded_pod", "delete_active_pod", "keep_pod"),
            "spec.podRetention",
            "Delete, DeleteSucceeded, Keep, Keep; a Pod that still runs is stopped in any case",
        ),
    ] = "delete_pod"
    on_kill_action: Annotated[
        str,
        _honoured(
            reading.one_of("delete_pod", "keep_pod"),
            "delete_pod: a kill by a user cancels the task, a worker's shutdown does not; keep_pod: neither does",
        ),
    ] = "delete_pod"
    reattach_on_restart: Annotated[
        bool, _honoured(reading.flag, "False: a later try never takes over what an earlier one began")
    ] = True
    skip_on_exit_code: Annotated[
        list[int] | None,
        _translated(reading.exit_codes, "spec.failurePolicy.rules", "the first rule, with action Skip"),
    ] = None

    # logs
    get_logs: Annotated[bool, _honoured(reading.flag, "shows the log of the task's container")] = True
    container_logs: Annotated[Any, _honoured(reading.container_names, "side by side, in both modes")] = None
    init_container_logs: Annotated[Any, _honoured(reading.container_names, "in both modes")] = None
    log_events_on_startup: Annotated[
        bool, _honoured(reading.flag, "logs the status's reason and message as they change; no Events are asked for")
    ] = True
    log_events_on_failure: Annotated[bool, _honoured(reading.flag, "logs the PodTask's Events when it failed")] = False
    log_pod_spec_on_failure: Annotated[
        Any,
        _needless(
            "no exception holds a Pod, whose environment may be secret: `kubectl get podtask NAME -o yaml` shows it"
        ),
    ] = True
    container_name_log_prefix_enabled: Annotated[
        bool, _honoured(reading.flag, "begins a line with its container's name")
    ] = True
    log_formatter: Annotated[
        Callable[[str, str], str] | None, _honoured(reading.anything, "gets the container and the line")
    ] = None
    progress_callback: Annotated[
        Any, _needless("KubernetesPodOperator does not call it either; callbacks' method is called")
    ] = None
    logging_interval: Annotated[
        int | None,
        _honoured(
            reading.number,
            "deferred: None shows the whole log at the end, a number follows it live in the triggerer's log",
        ),
    ] = None

    # the result
    do_xcom_push: Annotated[
        bool,
        _translated(
            reading.flag,
            "spec.xcom",
            "collects /airflow/xcom/return.json, of a failed task too; no exec, no waiting sidecar",
            templated=False,
        ),
    ] = False

    # how it waits
    deferrable: Annotated[
        bool, _honoured(reading.flag, "waits in the triggerer; default [operators] default_deferrable")
    ] = False
    poll_interval: Annotated[Any, _needless("the status is watched, not asked for")] = 2
    trigger_kwargs: Annotated[
        None, _Described(_refused(_TRIGGER_KWARGS), Kind.REFUSED, "", "the trigger hands back only which task ended")
    ] = None
    callbacks: Annotated[
        list[Any] | None,
        _honoured(
            reading.callables, "the class or classes whose methods fit; others are refused, see the operator's page"
        ),
    ] = None

    # the connection and the template
    kubernetes_conn_id: Annotated[
        str | None, _honoured(reading.text, "conn type kubernetes, with its extras", templated=True)
    ] = "kubernetes_default"
    in_cluster: Annotated[bool | None, _honoured(reading.flag, "over the connection's")] = None
    cluster_context: Annotated[str | None, _honoured(reading.text, "over the connection's", templated=True)] = None
    config_file: Annotated[str | None, _honoured(reading.text, "over the connection's", templated=True)] = None
    pod_template_file: Annotated[
        str | None,
        _translated(
            reading.text,
            "spec.template",
            "read when the task runs; path and content are rendered, but for {% raw %} … {% endraw %}; "
            "not with pod_template_dict",
        ),
    ] = None
    pod_template_dict: Annotated[
        Object | None,
        _translated(reading.mapping, "spec.template", "a model, a dict or YAML text; not with pod_template_file"),
    ] = None
    full_pod_spec: Annotated[
        Object | None,
        _translated(
            reading.mapping, "spec.template", "a model, a dict or YAML text; by name over the file or the dict"
        ),
    ] = None

    # ours, for the result
    xcom_required: Annotated[
        bool | None, _ours(reading.flag, "spec.xcom.required", "True: no file, or a blank one, fails the task")
    ] = None
    xcom_max_bytes: Annotated[
        int | None, _ours(reading.number, "spec.xcom.maxBytes", "65536 without it; up to 524288")
    ] = None
    xcom_path: Annotated[str | None, _ours(reading.text, "spec.xcom.path", "another file", templated=True)] = None
    xcom_mode: Annotated[
        str | None, _ours(reading.one_of("Auto", "Direct"), "spec.xcom.mode", "Direct: no sidecar, 4 kB")
    ] = None
    # ours, for failure and time
    backoff_limit: Annotated[
        int | None,
        _ours(
            reading.number,
            "spec.backoffLimit",
            "attempts of the controller's after the task's own failure; Airflow retries",
            copied=True,
        ),
    ] = None
    disruption_limit: Annotated[
        int | None,
        _ours(
            reading.number,
            "spec.disruptionLimit",
            "attempts after eviction, preemption or node loss; 3 where retries > 0, else 0",
        ),
    ] = None
    failure_policy: Annotated[
        Object | None,
        _ours(reading.failure_policy, "spec.failurePolicy", "rules; a list of them will do", templated=True),
    ] = None
    deadlines: Annotated[
        dict[str, int | None] | None,
        _ours(reading.deadlines, "spec.deadlines", "over the timeouts above, by field; None takes one away"),
    ] = None
    queue_name: Annotated[
        str | None, _ours(reading.text, "spec.queueName", "Kueue's LocalQueue", templated=True, copied=True)
    ] = None
    # ours, for what stays
    ttl_seconds_after_succeeded: Annotated[
        int | None,
        _ours(
            reading.number,
            "spec.ttlSecondsAfterSucceeded",
            "default [podtask] ttl_seconds_after_succeeded, a day",
            copied=True,
        ),
    ] = None
    ttl_seconds_after_failed: Annotated[
        int | None,
        _ours(
            reading.number,
            "spec.ttlSecondsAfterFailed",
            "default [podtask] ttl_seconds_after_failed, a week",
            copied=True,
        ),
    ] = None
    pod_ttl_seconds: Annotated[
        int | None,
        _ours(
            reading.number,
            "spec.podTTLSecondsAfterFinished",
            "keeps the finished Pod and its log until the task has read it; default [podtask] pod_ttl_seconds, 900; "
            "without effect where on_finish_action keeps the Pod",
        ),
    ] = None
    # ours, for the rest
    spec: Annotated[
        Object | None,
        _ours(
            reading.raw_spec,
            "spec",
            "any part of a PodTask's spec, laid over all the above; None removes a field",
            templated=True,
        ),
    ] = None
    deployment: Annotated[
        str | None,
        _ours(
            reading.text,
            "",
            "tells Airflows apart that share a namespace; default [podtask] deployment_id",
            templated=True,
        ),
    ] = None
    end_from_trigger: Annotated[
        bool, _ours(reading.flag, "", "success ends in the triggerer, without a second worker slot")
    ] = False
    controller_timeout: Annotated[
        int | None,
        _ours(
            reading.number,
            "",
            "seconds until a task that no controller touched fails; default [podtask] controller_timeout, 300",
        ),
    ] = None
    api_outage_tolerance: Annotated[
        int | None,
        _ours(
            reading.number, "", "seconds that the API server may be away; default [podtask] api_outage_tolerance, 900"
        ),
    ] = None

    # BaseOperator's own, which the PodTask reflects
    task_id: Annotated[str | None, _of_base(reading.text)] = None
    retries: Annotated[int | None, _of_base(reading.number)] = None
    execution_timeout: Annotated[dt.timedelta | None, _of_base(reading.duration)] = None


@dataclasses.dataclass(frozen=True)
class _Renamed:
    """An older argument, and how it is said today."""

    new: str
    note: str
    value: Callable[[Any], Any] = lambda value: value


_RENAMED = {
    "resources": _Renamed("container_resources", "the old dict, request_memory, limit_gpu, or V1ResourceRequirements"),
    "is_delete_operator_pod": _Renamed(
        "on_finish_action",
        "True: delete_pod, False: keep_pod; KubernetesPodOperator 10.25 has it and never reads it",
        lambda value: "delete_pod" if value else "keep_pod",
    ),
    "durable": _Renamed(
        "reattach_on_restart", "a later try finds the earlier one on every Airflow; False: it does not look"
    ),
    "node_selectors": _Renamed("node_selector", "the old spelling"),
    "xcom_push": _Renamed("do_xcom_push", "the old spelling"),
}

_OF_KPO = ("is_delete_operator_pod", "durable")
_DESCRIBED: dict[str, _Described] = {
    name: annotation.__metadata__[0] for name, annotation in Arguments.__annotations__.items()
}
_EARLY: dict[str, Callable[[Any], Any]] = {
    # A label without a value is a label, as in KubernetesPodOperator; elsewhere None means absent.
    "labels": lambda value: (
        {key: "" if entry is None else entry for key, entry in value.items()} if isinstance(value, dict) else value
    ),
    "env_vars": reading.as_variables,
    "pod_runtime_info_envs": reading.as_variables,
    "secrets": lambda value: [secret.as_data(entry) for entry in value] if isinstance(value, (list, tuple)) else value,
}
"""What is made of a value before Jinja sees it."""
_WITH_NULLS = ("spec", "deadlines")
_IN_PROCESS = ("callbacks", "log_formatter", "progress_callback")


def _table() -> tuple[Argument, ...]:
    defaults = {field.name: field.default for field in dataclasses.fields(Arguments)}
    today = [
        Argument(name, it.kind, it.field, it.note, defaults[name], it.templated, it.since, it.copied)
        for name, it in _DESCRIBED.items()
        if it.kind is not None
    ]
    fields = {argument.name: argument for argument in today}
    older = [
        dataclasses.replace(
            fields[renamed.new],
            name=name,
            note=f"{renamed.new}: {renamed.note}",
            default=None,
            templated=False,
            since=Since.KPO if name in _OF_KPO else Since.GUIDE,
            copied=False,
        )
        for name, renamed in _RENAMED.items()
    ]
    return (*today, *older)


ARGUMENTS = _table()
DEFAULTS: dict[str, Any] = {argument.name: argument.default for argument in ARGUMENTS}
TEMPLATED = tuple(argument.name for argument in ARGUMENTS if argument.templated)
"""What belongs into the operator's template_fields."""


def prepare(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the operator keeps of its arguments: today's names, plain data. Raises ArgumentError early.

    What is not concrete yet is left alone; `parse` judges it when the task runs.
    """
    prepared = {name: _early(name, value) for name, value in _translate(given).items()}
    concrete = {name: value for name, value in prepared.items() if name in _IN_PROCESS or plain.is_concrete(value)}
    found = {name: _read(name, value) for name, value in concrete.items() if value is not None}
    for rule in _RULES:
        if all(name in concrete for name in rule.reads if name in prepared):
            rule.judge(Arguments(**found))
    return prepared


def parse(given: Mapping[str, Any]) -> Arguments:
    """Read rendered arguments. Raises ArgumentError with what to change."""
    found = {name: _read(name, _early(name, value)) for name, value in _translate(given).items() if value is not None}
    arguments = Arguments(**found)
    for rule in _RULES:
        rule.judge(arguments)
    return arguments


def _translate(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(name for name in given if name not in _DESCRIBED and name not in _RENAMED)
    if unknown:
        raise ArgumentError(f"{unknown[0]} is no argument of PodTaskOperator; docs/airflow/arguments.md lists them all")
    result = {name: value for name, value in given.items() if name in _DESCRIBED}
    for old, renamed in _RENAMED.items():
        if given.get(old) is None:
            continue
        value = renamed.value(given[old])
        if given.get(renamed.new, value) not in (value, DEFAULTS[renamed.new]):
            raise ArgumentError(f"{old} and {renamed.new} contradict each other; remove {old}, the older name")
        result[renamed.new] = value
    return result


def _early(name: str, value: Any) -> Any:
    if name in _IN_PROCESS or isinstance(value, dt.timedelta):
        return value
    return plain.plain(_EARLY.get(name, lambda found: found)(value), nulls=name in _WITH_NULLS)


def _read(name: str, value: Any) -> Any:
    return _read_as(name, _DESCRIBED[name].read, value)


def _read_as(what: str, read: reading.Reader, value: Any) -> Any:
    try:
        return read(value)
    except ValueError as error:
        raise ArgumentError(f"{what} {error}") from error


@dataclasses.dataclass(frozen=True)
class _Rule:
    """What must hold between arguments."""

    reads: tuple[str, ...]
    judge: Callable[[Arguments], None]


def _one_template(arguments: Arguments) -> None:
    if arguments.pod_template_file is not None and arguments.pod_template_dict is not None:
        raise ArgumentError(
            "pod_template_file and pod_template_dict exclude each other; keep one, and pass the other as full_pod_spec"
        )


def _required_result_is_collected(arguments: Arguments) -> None:
    if arguments.xcom_required and not arguments.do_xcom_push:
        raise ArgumentError("xcom_required=True asks for a result that nobody collects; add do_xcom_push=True")


def _end_from_trigger_is_deferred(arguments: Arguments) -> None:
    if arguments.end_from_trigger and not arguments.deferrable:
        raise ArgumentError("end_from_trigger=True needs deferrable=True: without it no trigger waits for the task")


def _one_mount_a_path(arguments: Arguments) -> None:
    """Kubernetes refuses such a Pod; merged by path and name, one of the two would be missing without a word."""
    injected = secret.inject(arguments.secrets or [])
    for name, given, added, key in (
        ("volumes", arguments.volumes or [], injected.volumes, "name"),
        ("volume_mounts", arguments.volume_mounts or [], injected.volume_mounts, "mountPath"),
        ("init_containers", arguments.init_containers or [], [], "name"),
    ):
        what = name if not added else f"{name}, with secrets," if given else "secrets"
        _read_as(what, functools.partial(reading.without_repeats, key=key), [*given, *added])


_RULES = (
    _Rule(("volumes", "volume_mounts", "secrets", "init_containers"), _one_mount_a_path),
    _Rule(("pod_template_file", "pod_template_dict"), _one_template),
    _Rule(("xcom_required", "do_xcom_push"), _required_result_is_collected),
    _Rule(("end_from_trigger", "deferrable"), _end_from_trigger_is_deferred),
)
