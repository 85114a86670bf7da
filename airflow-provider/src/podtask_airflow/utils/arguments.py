"""The table of the operator's arguments: what each is mapped to, how its value is validated, and its documentation.

The fields of the dataclass Arguments are the arguments. From it come docs/airflow/arguments.md, the `:param` lines of
the operator, its template fields and the check of existing DAGs; a test compares the operator's signature with it. No
argument is silently ignored: an unsupported one is rejected while the DAG is parsed, and one without an effect is
documented as such.
"""

import dataclasses
import datetime as dt
import enum
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from .. import secret
from ..api_types import JsonObject
from . import converters
from . import validators as v


class ArgumentError(ValueError):
    """An argument is invalid or not supported. The message says what to change."""


class Kind(enum.Enum):
    """How the operator treats an argument."""

    SUPPORTED = "supported"
    """Used by the operator itself."""
    MAPPED = "mapped"
    """Mapped to a field of the PodTask."""
    UNSUPPORTED = "unsupported"
    """Rejected while the DAG is parsed, with a message that says what to do instead."""
    NO_EFFECT = "no effect"
    """Accepted without an effect, for the reason in the note."""


class Since(enum.Enum):
    """Which operator introduced an argument."""

    KPO = "kpo"
    """KubernetesPodOperator 10.25."""
    GUIDE = "guide"
    """An older KubernetesPodOperator; guides still show it."""
    PODTASK = "podtask"
    """PodTaskOperator."""


@dataclasses.dataclass(frozen=True)
class Argument:
    """One row of the table."""

    name: str
    kind: Kind
    field: str
    """The field of the PodTask; empty if there is none."""
    note: str
    default: Any
    templated: bool
    since: Since
    copied: bool = False
    """Whether the validated value is the field's value."""


@dataclasses.dataclass(frozen=True)
class _Described:
    """The annotation of a field of Arguments: its validator, and its row of the table unless it is BaseOperator's."""

    validate: v.Validator
    kind: Kind | None = None
    field: str = ""
    note: str = ""
    templated: bool = False
    since: Since = Since.KPO
    copied: bool = False


def _copied(validate: v.Validator, field: str, note: str = "") -> _Described:
    return _Described(validate, Kind.MAPPED, f"spec.{field}", note, templated=True, copied=True)


def _mapped(validate: v.Validator, field: str, note: str, *, templated: bool = True) -> _Described:
    return _Described(validate, Kind.MAPPED, field, note, templated)


def _supported(validate: v.Validator, note: str, *, templated: bool = False) -> _Described:
    return _Described(validate, Kind.SUPPORTED, "", note, templated)


def _no_effect(note: str) -> _Described:
    return _Described(v.anything, Kind.NO_EFFECT, "", note)


def _added(
    validate: v.Validator, field: str, note: str, *, templated: bool = False, copied: bool = False
) -> _Described:
    kind = Kind.MAPPED if field else Kind.SUPPORTED
    return _Described(validate, kind, field, note, templated, Since.PODTASK, copied)


def _of_base(validate: v.Validator) -> _Described:
    return _Described(validate)


def _unsupported(sentence: str) -> v.Validator:
    def validate(value: Any) -> None:
        if value not in (None, {}, []):
            raise ValueError(sentence)

    return validate


_TRIGGER_KWARGS = (
    "is not supported: the trigger's event only says which task has ended; keep such values on the operator"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """The validated arguments of the operator. None means not given."""

    # identity
    name: Annotated[
        str | None,
        _mapped(
            v.pod_name,
            "metadata.name",
            "stem of the PodTask's name, from which the names of its Pods are made; "
            "with random_name_suffix=False the name of the Pod",
        ),
    ] = None
    random_name_suffix: Annotated[
        bool,
        _mapped(
            v.flag,
            "spec.template.metadata.name",
            "True: the suffix is computed from the task instance, so that a repeated request finds its object; "
            "False: the Pod has exactly this name, and another Pod with it fails the task",
            templated=False,
        ),
    ] = True
    namespace: Annotated[
        str | None,
        _mapped(
            v.dns_label,
            "metadata.namespace",
            "default: of the template, of the connection, of the service account, `default`",
        ),
    ] = None
    labels: Annotated[
        dict[str, str] | None,
        _mapped(v.labels, "spec.template.metadata.labels", "labels of the Pod; earlier tries are not found by them"),
    ] = None
    annotations: Annotated[
        dict[str, str] | None, _mapped(v.texts_by_name, "spec.template.metadata.annotations", "annotations of the Pod")
    ] = None
    hostname: Annotated[str | None, _copied(v.text, "hostname")] = None
    subdomain: Annotated[str | None, _copied(v.text, "subdomain")] = None

    # the task's container
    image: Annotated[str | None, _copied(v.text, "image", "may be set in the template instead")] = None
    image_pull_policy: Annotated[
        str | None, _copied(v.one_of("Always", "IfNotPresent", "Never"), "imagePullPolicy")
    ] = None
    image_pull_secrets: Annotated[
        list[JsonObject] | None,
        _copied(v.references, "imagePullSecrets", "objects, names, or one string of names separated by commas"),
    ] = None
    cmds: Annotated[list[str] | None, _copied(v.words, "command", "an empty list clears the template's")] = None
    arguments: Annotated[list[str] | None, _copied(v.words, "args", "an empty list clears the template's")] = None
    ports: Annotated[list[JsonObject] | None, _mapped(v.mappings, "spec.ports", "added to the template's")] = None
    base_container_name: Annotated[
        str | None,
        _mapped(
            v.dns_label,
            "spec.containerName",
            "name of the container that is the task, `base` by default; "
            "the only container of a template is renamed to it",
        ),
    ] = None
    init_containers: Annotated[
        list[JsonObject] | None, _copied(v.mappings, "initContainers", "merged by name with the template's")
    ] = None
    termination_message_policy: Annotated[
        str | None,
        _copied(
            v.one_of("File", "FallbackToLogsOnError"),
            "terminationMessagePolicy",
            "by default FallbackToLogsOnError, or the template's; KubernetesPodOperator forces File",
        ),
    ] = None

    # environment
    env_vars: Annotated[
        list[JsonObject] | None,
        _mapped(
            v.variables,
            "spec.env",
            "the last of a name wins, unless it extends the other; names are rendered, too; numbers become text",
        ),
    ] = None
    env_from: Annotated[list[JsonObject] | None, _mapped(v.mappings, "spec.envFrom", "added to the template's")] = None
    configmaps: Annotated[list[str] | None, _mapped(v.words, "spec.envFrom", "names of ConfigMaps")] = None
    secrets: Annotated[
        list[secret.Secret] | None,
        _mapped(
            v.secrets,
            "spec.env, envFrom, volumes, volumeMounts",
            "Secret of Airflow, or podtask_airflow.secret.Secret, which can keep the case of a variable's name; "
            "for other containers use the template",
        ),
    ] = None
    pod_runtime_info_envs: Annotated[
        list[JsonObject] | None, _mapped(v.field_variables, "spec.env", "added after env_vars, so these win")
    ] = None

    # resources
    container_resources: Annotated[
        JsonObject | None,
        _copied(
            v.resources, "resources", "also in the old form with request_memory or limit_gpu; fractions become text"
        ),
    ] = None
    priority_class_name: Annotated[str | None, _copied(v.text, "priorityClassName")] = None
    runtime_class_name: Annotated[str | None, _copied(v.text, "runtimeClassName")] = None

    # volumes
    volumes: Annotated[
        list[JsonObject] | None, _mapped(v.mappings, "spec.volumes", "merged by name with the template's")
    ] = None
    volume_mounts: Annotated[
        list[JsonObject] | None, _mapped(v.mappings, "spec.volumeMounts", "merged by mountPath with the template's")
    ] = None

    # scheduling and network
    node_selector: Annotated[
        dict[str, str] | None, _copied(v.texts_by_name, "nodeSelector", "merged by key with the template's")
    ] = None
    affinity: Annotated[JsonObject | None, _copied(v.mapping, "affinity", "replaces the template's")] = None
    tolerations: Annotated[list[JsonObject] | None, _copied(v.mappings, "tolerations", "replace the template's")] = None
    schedulername: Annotated[str | None, _copied(v.text, "schedulerName")] = None
    hostnetwork: Annotated[bool | None, _copied(v.flag, "hostNetwork", "an explicit False wins over the template")] = (
        None
    )
    host_aliases: Annotated[list[JsonObject] | None, _copied(v.mappings, "hostAliases", "replace the template's")] = (
        None
    )
    dnspolicy: Annotated[str | None, _copied(v.text, "dnsPolicy")] = None
    dns_config: Annotated[JsonObject | None, _copied(v.mapping, "dnsConfig", "replaces the template's")] = None

    # security
    service_account_name: Annotated[str | None, _copied(v.text, "serviceAccountName")] = None
    automount_service_account_token: Annotated[
        bool | None, _copied(v.flag, "automountServiceAccountToken", "an explicit False wins over the template")
    ] = None
    security_context: Annotated[
        JsonObject | None, _copied(v.mapping, "securityContext", "merged over the template's")
    ] = None
    container_security_context: Annotated[
        JsonObject | None, _copied(v.mapping, "containerSecurityContext", "merged over the template's")
    ] = None
    xcom_sidecar_container_security_context: Annotated[
        JsonObject | None,
        _mapped(v.mapping, "spec.xcom.sidecar.securityContext", "overrides the connection's; needs do_xcom_push"),
    ] = None

    # time
    startup_timeout_seconds: Annotated[
        int | None,
        _mapped(
            v.seconds,
            "spec.deadlines.startSeconds",
            "from the scheduling to the start of the container, image pulls and init containers included",
        ),
    ] = 120
    schedule_timeout_seconds: Annotated[
        int | None, _mapped(v.seconds, "spec.deadlines.scheduleSeconds", "None: as startup_timeout_seconds")
    ] = None
    startup_check_interval_seconds: Annotated[float, _no_effect("the status is watched, not polled")] = 5
    base_container_status_polling_interval: Annotated[float, _no_effect("the status is watched, not polled")] = 1
    active_deadline_seconds: Annotated[
        int | None,
        _mapped(
            v.seconds,
            "spec.deadlines.runSeconds",
            "run time of the task's container, per attempt; fails with RunDeadlineExceeded",
        ),
    ] = None
    termination_grace_period: Annotated[
        int | None, _copied(v.number, "terminationGracePeriodSeconds", "0 wins over the template")
    ] = None

    # the end
    on_finish_action: Annotated[
        str,
        _mapped(
            v.one_of("delete_pod", "delete_succeeded_pod", "delete_active_pod", "keep_pod"),
            "spec.podRetention",
            "Delete, DeleteSucceeded, Keep, Keep; a running Pod is stopped in any case",
        ),
    ] = "delete_pod"
    on_kill_action: Annotated[
        str,
        _supported(
            v.one_of("delete_pod", "keep_pod"),
            "delete_pod: a user's kill cancels the PodTask, a shutdown of the worker does not; keep_pod: neither does",
        ),
    ] = "delete_pod"
    reattach_on_restart: Annotated[
        bool, _supported(v.flag, "False: a try never reattaches to the PodTask of an earlier one")
    ] = True
    skip_on_exit_code: Annotated[
        list[int] | None, _mapped(v.exit_codes, "spec.failurePolicy.rules", "becomes the first rule, with action Skip")
    ] = None

    # logs
    get_logs: Annotated[bool, _supported(v.flag, "shows the log of the task's container")] = True
    container_logs: Annotated[
        bool | list[str] | None,
        _supported(v.container_names, "further containers whose logs are shown: a name, several, or True for all"),
    ] = None
    init_container_logs: Annotated[
        bool | list[str] | None, _supported(v.container_names, "init containers whose logs are shown")
    ] = None
    log_events_on_startup: Annotated[
        bool, _supported(v.flag, "logs reason and message of the status when they change; no Events are read")
    ] = True
    log_events_on_failure: Annotated[bool, _supported(v.flag, "logs the PodTask's Events after a failure")] = False
    log_pod_spec_on_failure: Annotated[
        bool,
        _no_effect(
            "exceptions contain no Pod, because its environment may be secret: use `kubectl get podtask NAME -o yaml`"
        ),
    ] = True
    container_name_log_prefix_enabled: Annotated[
        bool, _supported(v.flag, "prefixes each line with the name of its container")
    ] = True
    log_formatter: Annotated[
        Callable[[str, str], str] | None,
        _supported(v.anything, "called with the container and the line, returns the text to log"),
    ] = None
    progress_callback: Annotated[
        Callable[[str], object] | None,
        _no_effect("KubernetesPodOperator does not call it either; use the method of `callbacks`"),
    ] = None
    logging_interval: Annotated[
        int | None,
        _supported(v.number, "if deferred: None shows the log at the end, a number follows it in the triggerer's log"),
    ] = None

    # the result
    do_xcom_push: Annotated[
        bool, _mapped(v.flag, "spec.xcom", "pushes /airflow/xcom/return.json, of a failed task too", templated=False)
    ] = False

    # how it waits
    deferrable: Annotated[
        bool, _supported(v.flag, "waits in the triggerer; default: [operators] default_deferrable")
    ] = False
    poll_interval: Annotated[float, _no_effect("the status is watched, not polled")] = 2
    trigger_kwargs: Annotated[
        None,
        _Described(
            _unsupported(_TRIGGER_KWARGS), Kind.UNSUPPORTED, "", "the trigger's event only says which task has ended"
        ),
    ] = None
    callbacks: Annotated[
        list[type] | None, _supported(v.callables, "one callback class or several, see the operator's page")
    ] = None

    # the connection and the template
    kubernetes_conn_id: Annotated[
        str | None, _supported(v.text, "connection of type kubernetes, with its extras", templated=True)
    ] = "kubernetes_default"
    in_cluster: Annotated[bool | None, _supported(v.flag, "overrides the connection's")] = None
    cluster_context: Annotated[str | None, _supported(v.text, "overrides the connection's", templated=True)] = None
    config_file: Annotated[str | None, _supported(v.text, "overrides the connection's", templated=True)] = None
    pod_template_file: Annotated[
        str | None,
        _mapped(
            v.text,
            "spec.template",
            "read when the task runs; path and content are rendered, except {% raw %} … {% endraw %}; "
            "not with pod_template_dict",
        ),
    ] = None
    pod_template_dict: Annotated[
        JsonObject | None,
        _mapped(v.mapping, "spec.template", "a model, a dict or YAML text; not with pod_template_file"),
    ] = None
    full_pod_spec: Annotated[
        JsonObject | None,
        _mapped(v.mapping, "spec.template", "a model, a dict or YAML text; merged by name over the file or the dict"),
    ] = None

    # of PodTaskOperator: result
    xcom_required: Annotated[
        bool | None, _added(v.flag, "spec.xcom.required", "True: a missing or blank result file fails the task")
    ] = None
    xcom_max_bytes: Annotated[
        int | None, _added(v.number, "spec.xcom.maxBytes", "largest result in bytes; default 65536, at most 524288")
    ] = None
    xcom_path: Annotated[str | None, _added(v.text, "spec.xcom.path", "path of the result file", templated=True)] = None
    xcom_mode: Annotated[
        str | None, _added(v.one_of("Auto", "Direct"), "spec.xcom.mode", "Direct: without a sidecar, up to 4 kB")
    ] = None
    # of PodTaskOperator: failure and time
    backoff_limit: Annotated[
        int | None,
        _added(
            v.number,
            "spec.backoffLimit",
            "further attempts by the controller after a failure of the task; Airflow's retries come on top",
            copied=True,
        ),
    ] = None
    disruption_limit: Annotated[
        int | None,
        _added(
            v.number,
            "spec.disruptionLimit",
            "further attempts after eviction, preemption or node loss; default 3 if retries > 0, else 0",
        ),
    ] = None
    failure_policy: Annotated[
        JsonObject | None,
        _added(v.failure_policy, "spec.failurePolicy", "an object with rules, or the list of rules", templated=True),
    ] = None
    deadlines: Annotated[
        dict[str, int | None] | None,
        _added(v.deadlines, "spec.deadlines", "by field name, overrides the timeouts above; None removes one"),
    ] = None
    queue_name: Annotated[
        str | None, _added(v.text, "spec.queueName", "LocalQueue of Kueue", templated=True, copied=True)
    ] = None
    # of PodTaskOperator: retention
    ttl_seconds_after_succeeded: Annotated[
        int | None,
        _added(
            v.number,
            "spec.ttlSecondsAfterSucceeded",
            "default: [podtask] ttl_seconds_after_succeeded, a day",
            copied=True,
        ),
    ] = None
    ttl_seconds_after_failed: Annotated[
        int | None,
        _added(
            v.number, "spec.ttlSecondsAfterFailed", "default: [podtask] ttl_seconds_after_failed, a week", copied=True
        ),
    ] = None
    pod_ttl_seconds: Annotated[
        int | None,
        _added(
            v.number,
            "spec.podTTLSecondsAfterFinished",
            "keeps the finished Pod until the task has read its log; default: [podtask] pod_ttl_seconds, 900; "
            "no effect if on_finish_action keeps the Pod",
        ),
    ] = None
    # of PodTaskOperator: other
    spec: Annotated[
        JsonObject | None,
        _added(
            v.partial_spec,
            "spec",
            "any part of a PodTask's spec, merged over all other arguments; None removes a field",
            templated=True,
        ),
    ] = None
    deployment: Annotated[
        str | None,
        _added(
            v.text,
            "",
            "id of this Airflow, if several share a namespace; default: [podtask] deployment_id",
            templated=True,
        ),
    ] = None
    end_from_trigger: Annotated[
        bool, _added(v.flag, "", "a deferred task that succeeds ends in the triggerer, without a second worker slot")
    ] = False
    controller_timeout: Annotated[
        int | None,
        _added(
            v.number,
            "",
            "seconds until a PodTask that is not reconciled fails; default: [podtask] controller_timeout, 300",
        ),
    ] = None
    api_outage_tolerance: Annotated[
        int | None,
        _added(
            v.number, "", "seconds that the API server may be unavailable; default: [podtask] api_outage_tolerance, 900"
        ),
    ] = None

    # BaseOperator's own, which the PodTask reflects
    task_id: Annotated[str | None, _of_base(v.text)] = None
    retries: Annotated[int | None, _of_base(v.number)] = None
    execution_timeout: Annotated[dt.timedelta | None, _of_base(v.duration)] = None


@dataclasses.dataclass(frozen=True)
class _Renamed:
    """An older argument, and the current one that replaces it."""

    new: str
    note: str
    value: Callable[[Any], Any] = lambda value: value


_RENAMED = {
    "resources": _Renamed(
        "container_resources", "the old dict with request_memory or limit_gpu, or V1ResourceRequirements"
    ),
    "is_delete_operator_pod": _Renamed(
        "on_finish_action",
        "True: delete_pod, False: keep_pod; KubernetesPodOperator 10.25 ignores it",
        lambda value: "delete_pod" if value else "keep_pod",
    ),
    "durable": _Renamed("reattach_on_restart", "False: a try never reattaches to the PodTask of an earlier one"),
    "node_selectors": _Renamed("node_selector", "the old spelling"),
    "xcom_push": _Renamed("do_xcom_push", "the old spelling"),
}

_OF_KPO = ("is_delete_operator_pod", "durable")
_DESCRIBED: dict[str, _Described] = {
    name: annotation.__metadata__[0] for name, annotation in Arguments.__annotations__.items()
}
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    # A label may be empty, as with KubernetesPodOperator; elsewhere None means absent.
    "labels": lambda value: (
        {key: "" if entry is None else entry for key, entry in value.items()} if isinstance(value, dict) else value
    ),
    "env_vars": v.as_variables,
    "pod_runtime_info_envs": v.as_variables,
    "secrets": lambda value: [secret.as_data(entry) for entry in value] if isinstance(value, (list, tuple)) else value,
}
"""Conversions before Jinja renders a value."""
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
"""The operator's template_fields."""


def prepare(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments under their current names, as plain data. Raises ArgumentError while the DAG is parsed.

    Values that are not final yet are validated by `parse` when the task runs.
    """
    prepared = {name: _to_data(name, value) for name, value in _translate(given).items()}
    concrete = {name: value for name, value in prepared.items() if name in _IN_PROCESS or converters.is_concrete(value)}
    found = {name: _validate(name, value) for name, value in concrete.items() if value is not None}
    for rule in _RULES:
        if all(name in concrete for name in rule.reads if name in prepared):
            rule.check(Arguments(**found))
    return prepared


def parse(given: Mapping[str, Any]) -> Arguments:
    """Validate the rendered arguments. Raises ArgumentError."""
    found = {
        name: _validate(name, _to_data(name, value)) for name, value in _translate(given).items() if value is not None
    }
    arguments = Arguments(**found)
    for rule in _RULES:
        rule.check(arguments)
    return arguments


def _translate(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(name for name in given if name not in _DESCRIBED and name not in _RENAMED)
    if unknown:
        raise ArgumentError(f"{unknown[0]} is not an argument of PodTaskOperator; see help(PodTaskOperator)")
    result = {name: value for name, value in given.items() if name in _DESCRIBED}
    for old, renamed in _RENAMED.items():
        if given.get(old) is None:
            continue
        value = renamed.value(given[old])
        if given.get(renamed.new, value) not in (value, DEFAULTS[renamed.new]):
            raise ArgumentError(f"{old} and {renamed.new} contradict each other; remove {old}, the older name")
        result[renamed.new] = value
    return result


def _to_data(name: str, value: Any) -> Any:
    if name in _IN_PROCESS or isinstance(value, dt.timedelta):
        return value
    return converters.to_dict(_CONVERSIONS.get(name, lambda found: found)(value), nulls=name in _WITH_NULLS)


def _validate(name: str, value: Any) -> Any:
    return _validated(name, _DESCRIBED[name].validate, value)


def _validated(what: str, validate: v.Validator, value: Any) -> Any:
    try:
        return validate(value)
    except ValueError as error:
        raise ArgumentError(f"{what} {error}") from error


@dataclasses.dataclass(frozen=True)
class _Rule:
    """A condition on several arguments."""

    reads: tuple[str, ...]
    check: Callable[[Arguments], None]


def _one_template(arguments: Arguments) -> None:
    if arguments.pod_template_file is not None and arguments.pod_template_dict is not None:
        raise ArgumentError(
            "pod_template_file and pod_template_dict exclude each other; keep one, and pass the other as full_pod_spec"
        )


def _required_result_is_collected(arguments: Arguments) -> None:
    if arguments.xcom_required and not arguments.do_xcom_push:
        raise ArgumentError("xcom_required=True needs do_xcom_push=True: without it no result is collected")


def _end_from_trigger_is_deferred(arguments: Arguments) -> None:
    if arguments.end_from_trigger and not arguments.deferrable:
        raise ArgumentError("end_from_trigger=True needs deferrable=True: without it no trigger waits for the task")


def _one_mount_a_path(arguments: Arguments) -> None:
    """Reject what Kubernetes would reject: merged by path or name, one of two entries would silently be lost."""
    injected = secret.inject(arguments.secrets or [])
    for name, given, added, key in (
        ("volumes", arguments.volumes or [], injected.volumes, "name"),
        ("volume_mounts", arguments.volume_mounts or [], injected.volume_mounts, "mountPath"),
        ("init_containers", arguments.init_containers or [], [], "name"),
    ):
        what = name if not added else f"{name}, with secrets," if given else "secrets"
        _validated(what, functools.partial(v.without_repeats, key=key), [*given, *added])


_RULES = (
    _Rule(("volumes", "volume_mounts", "secrets", "init_containers"), _one_mount_a_path),
    _Rule(("pod_template_file", "pod_template_dict"), _one_template),
    _Rule(("xcom_required", "do_xcom_push"), _required_result_is_collected),
    _Rule(("end_from_trigger", "deferrable"), _end_from_trigger_is_deferred),
)
