"""Build the PodTask of a task instance from its arguments. The only I/O is reading the template file.

The Pod template goes into `spec.template`, the operator's other arguments into fields of `spec`; the controller merges
the two. The same arguments and identity always give the same object.
"""

from collections.abc import Mapping
from typing import Any

from .. import constants, secret
from ..api_types import JsonObject, ObjectMeta, PodTask
from . import arguments as arguments_module
from . import identity as identities
from . import pod_template, validators
from .arguments import ArgumentError, Arguments

_RETENTION = {
    "delete_pod": "Delete",
    "delete_succeeded_pod": "DeleteSucceeded",
    "delete_active_pod": "Keep",
    "keep_pod": "Keep",
}
_DISRUPTION_LIMIT = 3
"""The default where retries > 0. Without retries it is 0, because the work must not start twice."""
_BACKSTOP_SECONDS = 60
"""How much later than Airflow the controller enforces execution_timeout, in case the worker has died."""


def build(
    arguments: Arguments,
    identity: identities.Identity | None,
    *,
    render: pod_template.Render | None = None,
    sidecar: Mapping[str, Any] | None = None,
    in_cluster: bool | None = None,
    namespace: str | None = None,
    suffix: int = 0,
) -> PodTask:
    """Return the PodTask. Raises ArgumentError, whose message says what to change.

    `render` renders the content of the template file by Jinja, `sidecar` holds the connection's extras, `namespace` is
    the default, and `suffix` is a number for the name where another PodTask has it.
    """
    base = _base(arguments, render)
    stem = arguments.name or base["metadata"].get("name") or arguments.task_id or _task_id(identity) or "task"
    metadata: ObjectMeta = {"name": constants.slug(stem)[:63].strip("-")}
    if identity is not None:
        metadata = {**identities.metadata(identity), "name": identities.name(identity, stem, suffix)}
    wanted_namespace = arguments.namespace or base["metadata"].get("namespace") or namespace
    if wanted_namespace:
        metadata["namespace"] = wanted_namespace
    spec = _spec(arguments, base, stem, _pod_labels(arguments, base, identity, in_cluster), sidecar or {})
    return {"apiVersion": constants.API_VERSION, "kind": constants.KIND, "metadata": metadata, "spec": spec}


def _task_id(identity: identities.Identity | None) -> str | None:
    return None if identity is None else identity.task_id


def _base(arguments: Arguments, render: pod_template.Render | None) -> JsonObject:
    try:
        base = pod_template.base_template(
            arguments.pod_template_file, arguments.pod_template_dict, arguments.full_pod_spec, render
        )
    except pod_template.TemplateError as error:
        raise ArgumentError(str(error)) from error
    base["spec"] = _with_main_container(base["spec"], _main_container(arguments))
    return base


def _main_container(arguments: Arguments) -> str:
    return arguments.base_container_name or constants.DEFAULT_CONTAINER


def _with_main_container(spec: JsonObject, main: str) -> JsonObject:
    """Rename the template's only container to the task's name; of several, one must have it.

    KubernetesPodOperator renames the first, which with several containers may be the wrong one.
    """
    containers = spec.get("containers", [])
    found = [container["name"] for container in containers]
    if not containers or main in found:
        return spec
    if len(containers) > 1:
        raise ArgumentError(
            f"base_container_name: the template has the containers {', '.join(found)}, and none is called {main!r};"
            " name the one that is the task"
        )
    return {**spec, "containers": [{**containers[0], "name": main}]}


def _pod_labels(
    arguments: Arguments, base: JsonObject, identity: identities.Identity | None, in_cluster: bool | None
) -> dict[str, str]:
    labels = {**base["metadata"].get("labels", {}), **(arguments.labels or {})}
    if in_cluster is not None:
        labels.setdefault(constants.POD_LABEL_IN_CLUSTER, str(in_cluster))
    return labels | (identities.pod_labels(identity) if identity is not None else {})


def _spec(
    arguments: Arguments, base: JsonObject, stem: str, labels: dict[str, str], sidecar: Mapping[str, Any]
) -> JsonObject:
    spec = {
        **_copied(arguments),
        **_given({"initContainers": _once(arguments.init_containers, "name")}),
        **_container(arguments, base["spec"]),
        **_template(arguments, base, stem, labels),
        **_xcom(arguments, sidecar),
        **_failure(arguments),
        **_deadlines(arguments),
        **_retention(arguments),
    }
    spec = pod_template.overlay(spec, arguments.spec or {})
    _require_image(spec)
    return spec


def _copied(arguments: Arguments) -> JsonObject:
    values = {
        argument.field.removeprefix("spec."): getattr(arguments, argument.name)
        for argument in arguments_module.ARGUMENTS
        if argument.copied
    }
    return _given(values)


def _container(arguments: Arguments, base: JsonObject) -> JsonObject:
    """Return the lists to which several arguments contribute.

    The controller merges variables, volumes and mounts with the template's. It replaces envFrom and ports, which have
    no name to merge by; KubernetesPodOperator adds them to the template's, so that is done here.
    """
    injected = secret.inject(arguments.secrets or [])
    maps = [{"configMapRef": {"name": name}} for name in arguments.configmaps or []]
    main = _named(base.get("containers", []), _main_container(arguments))
    lists = {
        "env": _joined(arguments.env_vars, arguments.pod_runtime_info_envs, injected.env),
        "envFrom": _added(main.get("envFrom"), _joined(arguments.env_from, maps, injected.env_from)),
        "ports": _added(main.get("ports"), arguments.ports),
        "volumes": _once(_joined(arguments.volumes, injected.volumes), "name"),
        "volumeMounts": _once(_joined(arguments.volume_mounts, injected.volume_mounts), "mountPath"),
    }
    return _given({**lists, "containerName": arguments.base_container_name})


def _joined(given: list[JsonObject] | None, *more: list[JsonObject] | None) -> list[JsonObject] | None:
    """Concatenate lists. An empty list that was given is kept: it clears the template's."""
    rest = [entry for entries in more for entry in entries or []]
    return given if not rest else [*(given or []), *rest]


def _once(entries: list[JsonObject] | None, key: str) -> list[JsonObject] | None:
    return entries and validators.without_repeats(entries, key)


def _added(below: list[JsonObject] | None, given: list[JsonObject] | None) -> list[JsonObject] | None:
    return given if not below or not given else [*below, *(entry for entry in given if entry not in below)]


def _template(arguments: Arguments, base: JsonObject, stem: str, labels: dict[str, str]) -> JsonObject:
    annotations = {**base["metadata"].get("annotations", {}), **(arguments.annotations or {})}
    metadata: JsonObject = {} if arguments.random_name_suffix else {"name": constants.slug(stem)}
    metadata |= {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
    pod = {key: value for key, value in (("metadata", metadata), ("spec", base["spec"])) if value}
    return {"template": pod} if pod else {}


def _xcom(arguments: Arguments, sidecar: Mapping[str, Any]) -> JsonObject:
    if not arguments.do_xcom_push:
        return {}
    xcom = {
        "path": arguments.xcom_path,
        "required": arguments.xcom_required,
        "maxBytes": arguments.xcom_max_bytes,
        "mode": arguments.xcom_mode,
        "onFailure": "Keep",  # KubernetesPodOperator pushes the result of a failed task, too
        "sidecar": _sidecar(arguments, sidecar) or None,
    }
    return {"xcom": _given(xcom)}


def _sidecar(arguments: Arguments, extras: Mapping[str, Any]) -> JsonObject:
    context = arguments.xcom_sidecar_container_security_context
    if context is None:
        context = _extra(extras, "xcom_sidecar_container_security_context", validators.mapping)
    return _given(
        {
            "resources": _extra(extras, "xcom_sidecar_container_resources", validators.resources),
            "securityContext": context,
        }
    )


def _extra(extras: Mapping[str, Any], name: str, read: validators.Validator) -> Any:
    value = extras.get(name)
    if value in (None, "", {}):
        return None
    try:
        return read(value)
    except ValueError as error:
        raise ArgumentError(f"the connection's extra {name} {error}") from error


def _failure(arguments: Arguments) -> JsonObject:
    policy = arguments.failure_policy
    if arguments.skip_on_exit_code:
        skip = {"action": "Skip", "onExitCodes": {"operator": "In", "values": arguments.skip_on_exit_code}}
        policy = {**(policy or {}), "rules": [skip, *(policy or {}).get("rules", [])]}
    limit = arguments.disruption_limit
    if limit is None:
        limit = _DISRUPTION_LIMIT if arguments.retries else 0
    return _given({"disruptionLimit": limit, "failurePolicy": policy})


def _deadlines(arguments: Arguments) -> JsonObject:
    deadlines: dict[str, int | None] = {
        "scheduleSeconds": arguments.schedule_timeout_seconds or arguments.startup_timeout_seconds,
        "startSeconds": arguments.startup_timeout_seconds,
        "runSeconds": arguments.active_deadline_seconds,
        "totalSeconds": _total_seconds(arguments),
    }
    deadlines |= arguments.deadlines or {}
    return {"deadlines": found} if (found := _given(deadlines)) else {}


def _total_seconds(arguments: Arguments) -> int | None:
    if arguments.execution_timeout is None:
        return None
    total = max(1, validators.number(arguments.execution_timeout))
    return total if arguments.deferrable else total + _BACKSTOP_SECONDS


def _retention(arguments: Arguments) -> JsonObject:
    retention = _RETENTION[arguments.on_finish_action]
    # The API rejects a TTL for a Pod that is kept.
    return _given(
        {
            "podRetention": retention,
            "podTTLSecondsAfterFinished": None if retention == "Keep" else arguments.pod_ttl_seconds,
        }
    )


def _require_image(spec: JsonObject) -> None:
    containers = spec.get("template", {}).get("spec", {}).get("containers", [])
    main = _named(containers, spec.get("containerName", constants.DEFAULT_CONTAINER))
    if not spec.get("image") and not main.get("image"):
        raise ArgumentError("image is missing: set it, or set it in the template for the container that is the task")


def _named(containers: list[JsonObject], name: str) -> JsonObject:
    return next((container for container in containers if container.get("name") == name), {})


def _given(values: Mapping[str, Any]) -> JsonObject:
    return {key: value for key, value in values.items() if value is not None}
