"""PodTaskOperator: KubernetesPodOperator's arguments, a PodTask instead of a Pod.

The operator reads its arguments, builds the PodTask, and creates a run, which waits for the end, shows the log and
returns the result or raises. The controller knows the rules of Pods. Parsing a DAG imports neither the kubernetes
package nor KubernetesPodOperator.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .. import callbacks as callbacks_module
from .. import version_compat
from ..api_types import JsonObject, PodTask
from ..hooks import cluster_config as cluster_configs
from ..hooks.cluster_config import ClusterConfig, ClusterRef
from ..links.podtask import PodTaskLink
from ..utils import arguments as arguments_module
from ..utils import converters, manifest, pod_mutation, redact, validators
from ..utils.arguments import Arguments
from ..utils.identity import Identity
from ..version_compat import BaseOperator
from .run import PodTaskRun, RunContext

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api
    from kubernetes.client import models as k8s

    from ..callbacks import CallbackClass
    from ..hooks.podtask import PodTaskClient
    from ..secret import Secret

_CONFIGURED = {
    "ttl_seconds_after_succeeded": 86_400,
    "ttl_seconds_after_failed": 604_800,
    "pod_ttl_seconds": 900,
    "controller_timeout": 300,
    "api_outage_tolerance": 900,
}
"""Arguments whose default is an option of section [podtask], and that option's own default."""
_ARGUMENTS = {
    field.name: arguments_module.DEFAULTS[field.name]
    for field in dataclasses.fields(Arguments)
    if field.name in arguments_module.DEFAULTS
}
"""The current arguments and their defaults; older names are mapped to these."""
_OF_BASE_OPERATOR = ("task_id", "retries", "execution_timeout")
_DEFERRABLE = bool(version_compat.conf.getboolean("operators", "default_deferrable", fallback=False))


class PodTaskOperator(BaseOperator):  # type: ignore[misc]
    """Run a container in a Kubernetes cluster as a PodTask and wait for its end.

    Kubernetes objects may be given as models of the kubernetes package, as dicts in the API's spelling, or as YAML
    text. docs/airflow/arguments.md lists the arguments as a table. A subclass may override `make_client`,
    `make_core_api` and `build_podtask`.

    :param name: stem of the PodTask's name, from which the names of its Pods are made; with random_name_suffix=False
        the name of the Pod (metadata.name)
    :param random_name_suffix: True: the suffix is computed from the task instance, so that a repeated request finds its
        object; False: the Pod has exactly this name, and another Pod with it fails the task
        (spec.template.metadata.name)
    :param namespace: default: of the template, of the connection, of the service account, `default`
        (metadata.namespace)
    :param labels: labels of the Pod; earlier tries are not found by them (spec.template.metadata.labels)
    :param annotations: annotations of the Pod (spec.template.metadata.annotations)
    :param hostname: spec.hostname
    :param subdomain: spec.subdomain
    :param image: may be set in the template instead (spec.image)
    :param image_pull_policy: spec.imagePullPolicy
    :param image_pull_secrets: objects, names, or one string of names separated by commas (spec.imagePullSecrets)
    :param cmds: an empty list clears the template's (spec.command)
    :param arguments: an empty list clears the template's (spec.args)
    :param ports: added to the template's (spec.ports)
    :param base_container_name: name of the container that is the task, `base` by default; the only container of a
        template is renamed to it (spec.containerName)
    :param init_containers: merged by name with the template's (spec.initContainers)
    :param termination_message_policy: by default FallbackToLogsOnError, or the template's; KubernetesPodOperator forces
        File (spec.terminationMessagePolicy)
    :param env_vars: the last of a name wins, unless it extends the other; names are rendered, too; numbers become text
        (spec.env)
    :param env_from: added to the template's (spec.envFrom)
    :param configmaps: names of ConfigMaps (spec.envFrom)
    :param secrets: Secret of Airflow, or podtask_airflow.secret.Secret, which can keep the case of a variable's name;
        for other containers use the template (spec.env, envFrom, volumes, volumeMounts)
    :param pod_runtime_info_envs: added after env_vars, so these win (spec.env)
    :param container_resources: also in the old form with request_memory or limit_gpu; fractions become text
        (spec.resources)
    :param priority_class_name: spec.priorityClassName
    :param runtime_class_name: spec.runtimeClassName
    :param volumes: merged by name with the template's (spec.volumes)
    :param volume_mounts: merged by mountPath with the template's (spec.volumeMounts)
    :param node_selector: merged by key with the template's (spec.nodeSelector)
    :param affinity: replaces the template's (spec.affinity)
    :param tolerations: replace the template's (spec.tolerations)
    :param schedulername: spec.schedulerName
    :param hostnetwork: an explicit False wins over the template (spec.hostNetwork)
    :param host_aliases: replace the template's (spec.hostAliases)
    :param dnspolicy: spec.dnsPolicy
    :param dns_config: replaces the template's (spec.dnsConfig)
    :param service_account_name: spec.serviceAccountName
    :param automount_service_account_token: an explicit False wins over the template (spec.automountServiceAccountToken)
    :param security_context: merged over the template's (spec.securityContext)
    :param container_security_context: merged over the template's (spec.containerSecurityContext)
    :param xcom_sidecar_container_security_context: overrides the connection's; needs do_xcom_push
        (spec.xcom.sidecar.securityContext)
    :param startup_timeout_seconds: from the scheduling to the start of the container, image pulls and init containers
        included (spec.deadlines.startSeconds)
    :param schedule_timeout_seconds: None: as startup_timeout_seconds (spec.deadlines.scheduleSeconds)
    :param startup_check_interval_seconds: no effect: the status is watched, not polled
    :param base_container_status_polling_interval: no effect: the status is watched, not polled
    :param active_deadline_seconds: run time of the task's container, per attempt; fails with RunDeadlineExceeded
        (spec.deadlines.runSeconds)
    :param termination_grace_period: 0 wins over the template (spec.terminationGracePeriodSeconds)
    :param on_finish_action: Delete, DeleteSucceeded, Keep, Keep; a running Pod is stopped in any case
        (spec.podRetention)
    :param on_kill_action: delete_pod: a user's kill cancels the PodTask, a shutdown of the worker does not; keep_pod:
        neither does
    :param reattach_on_restart: False: a try never reattaches to the PodTask of an earlier one
    :param skip_on_exit_code: becomes the first rule, with action Skip (spec.failurePolicy.rules)
    :param get_logs: shows the log of the task's container
    :param container_logs: further containers whose logs are shown: a name, several, or True for all
    :param init_container_logs: init containers whose logs are shown
    :param log_events_on_startup: logs reason and message of the status when they change; no Events are read
    :param log_events_on_failure: logs the PodTask's Events after a failure
    :param log_pod_spec_on_failure: no effect: exceptions contain no Pod, because its environment may be secret: use
        `kubectl get podtask NAME -o yaml`
    :param container_name_log_prefix_enabled: prefixes each line with the name of its container
    :param log_formatter: called with the container and the line, returns the text to log
    :param progress_callback: no effect: KubernetesPodOperator does not call it either; use the method of `callbacks`
    :param logging_interval: if deferred: None shows the log at the end, a number follows it in the triggerer's log
    :param do_xcom_push: pushes /airflow/xcom/return.json, of a failed task too (spec.xcom)
    :param deferrable: waits in the triggerer; default: [operators] default_deferrable
    :param poll_interval: no effect: the status is watched, not polled
    :param trigger_kwargs: unsupported: the trigger's event only says which task has ended
    :param callbacks: one callback class or several, see the operator's page
    :param kubernetes_conn_id: connection of type kubernetes, with its extras
    :param in_cluster: overrides the connection's
    :param cluster_context: overrides the connection's
    :param config_file: overrides the connection's
    :param pod_template_file: read when the task runs; path and content are rendered, except {% raw %} … {% endraw %};
        not with pod_template_dict (spec.template)
    :param pod_template_dict: a model, a dict or YAML text; not with pod_template_file (spec.template)
    :param full_pod_spec: a model, a dict or YAML text; merged by name over the file or the dict (spec.template)
    :param xcom_required: True: a missing or blank result file fails the task (spec.xcom.required)
    :param xcom_max_bytes: largest result in bytes; default 65536, at most 524288 (spec.xcom.maxBytes)
    :param xcom_path: path of the result file (spec.xcom.path)
    :param xcom_mode: Direct: without a sidecar, up to 4 kB (spec.xcom.mode)
    :param backoff_limit: further attempts by the controller after a failure of the task; Airflow's retries come on top
        (spec.backoffLimit)
    :param disruption_limit: further attempts after eviction, preemption or node loss; default 3 if retries > 0, else 0
        (spec.disruptionLimit)
    :param failure_policy: an object with rules, or the list of rules (spec.failurePolicy)
    :param deadlines: by field name, overrides the timeouts above; None removes one (spec.deadlines)
    :param queue_name: LocalQueue of Kueue (spec.queueName)
    :param ttl_seconds_after_succeeded: default: [podtask] ttl_seconds_after_succeeded, a day
        (spec.ttlSecondsAfterSucceeded)
    :param ttl_seconds_after_failed: default: [podtask] ttl_seconds_after_failed, a week (spec.ttlSecondsAfterFailed)
    :param pod_ttl_seconds: keeps the finished Pod until the task has read its log; default: [podtask] pod_ttl_seconds,
        900; no effect if on_finish_action keeps the Pod (spec.podTTLSecondsAfterFinished)
    :param spec: any part of a PodTask's spec, merged over all other arguments; None removes a field (spec)
    :param deployment: id of this Airflow, if several share a namespace; default: [podtask] deployment_id
    :param end_from_trigger: a deferred task that succeeds ends in the triggerer, without a second worker slot
    :param controller_timeout: seconds until a PodTask that is not reconciled fails; default: [podtask]
        controller_timeout, 300
    :param api_outage_tolerance: seconds that the API server may be unavailable; default: [podtask]
        api_outage_tolerance, 900
    :param resources: container_resources: the old dict with request_memory or limit_gpu, or V1ResourceRequirements
        (spec.resources)
    :param is_delete_operator_pod: on_finish_action: True: delete_pod, False: keep_pod; KubernetesPodOperator 10.25
        ignores it (spec.podRetention)
    :param durable: reattach_on_restart: False: a try never reattaches to the PodTask of an earlier one
    :param node_selectors: node_selector: the old spelling (spec.nodeSelector)
    :param xcom_push: do_xcom_push: the old spelling (spec.xcom)
    """

    template_fields: Sequence[str] = tuple(name for name in arguments_module.TEMPLATED if name != "do_xcom_push")
    template_fields_renderers: ClassVar[dict[str, str]] = {"env_vars": "py"}
    operator_extra_links = (PodTaskLink(),)
    ui_color = "#cde8f6"

    def __init__(
        self,
        *,
        name: str | None = None,
        random_name_suffix: bool = True,
        namespace: str | None = None,
        labels: Mapping[str, str | None] | str | None = None,
        annotations: Mapping[str, str] | str | None = None,
        hostname: str | None = None,
        subdomain: str | None = None,
        image: str | None = None,
        image_pull_policy: str | None = None,
        image_pull_secrets: Sequence[k8s.V1LocalObjectReference | JsonObject | str] | str | None = None,
        cmds: Sequence[str] | str | None = None,
        arguments: Sequence[str] | str | None = None,
        ports: Sequence[k8s.V1ContainerPort | JsonObject] | str | None = None,
        base_container_name: str | None = None,
        init_containers: Sequence[k8s.V1Container | JsonObject] | str | None = None,
        termination_message_policy: str | None = None,
        env_vars: Sequence[k8s.V1EnvVar | JsonObject] | Mapping[str, str | None] | str | None = None,
        env_from: Sequence[k8s.V1EnvFromSource | JsonObject] | str | None = None,
        configmaps: Sequence[str] | str | None = None,
        secrets: Sequence[Secret | JsonObject] | str | None = None,
        pod_runtime_info_envs: Sequence[k8s.V1EnvVar | JsonObject] | str | None = None,
        container_resources: k8s.V1ResourceRequirements | JsonObject | str | None = None,
        priority_class_name: str | None = None,
        runtime_class_name: str | None = None,
        volumes: Sequence[k8s.V1Volume | JsonObject] | str | None = None,
        volume_mounts: Sequence[k8s.V1VolumeMount | JsonObject] | str | None = None,
        node_selector: Mapping[str, str] | str | None = None,
        affinity: k8s.V1Affinity | JsonObject | str | None = None,
        tolerations: Sequence[k8s.V1Toleration | JsonObject] | str | None = None,
        schedulername: str | None = None,
        hostnetwork: bool | None = None,
        host_aliases: Sequence[k8s.V1HostAlias | JsonObject] | str | None = None,
        dnspolicy: str | None = None,
        dns_config: k8s.V1PodDNSConfig | JsonObject | str | None = None,
        service_account_name: str | None = None,
        automount_service_account_token: bool | None = None,
        security_context: k8s.V1PodSecurityContext | JsonObject | str | None = None,
        container_security_context: k8s.V1SecurityContext | JsonObject | str | None = None,
        xcom_sidecar_container_security_context: k8s.V1SecurityContext | JsonObject | str | None = None,
        startup_timeout_seconds: int | dt.timedelta | None = 120,
        schedule_timeout_seconds: int | dt.timedelta | None = None,
        startup_check_interval_seconds: float = 5,
        base_container_status_polling_interval: float = 1,
        active_deadline_seconds: int | dt.timedelta | None = None,
        termination_grace_period: int | dt.timedelta | None = None,
        on_finish_action: str = "delete_pod",
        on_kill_action: str = "delete_pod",
        reattach_on_restart: bool = True,
        skip_on_exit_code: int | Sequence[int] | None = None,
        get_logs: bool = True,
        container_logs: bool | str | Sequence[str] | None = None,
        init_container_logs: bool | str | Sequence[str] | None = None,
        log_events_on_startup: bool = True,
        log_events_on_failure: bool = False,
        log_pod_spec_on_failure: bool = True,
        container_name_log_prefix_enabled: bool = True,
        log_formatter: Callable[[str, str], str] | None = None,
        progress_callback: Callable[[str], object] | None = None,
        logging_interval: int | dt.timedelta | None = None,
        do_xcom_push: bool = False,
        deferrable: bool = _DEFERRABLE,
        poll_interval: float = 2,
        trigger_kwargs: Mapping[str, object] | None = None,
        callbacks: CallbackClass | Sequence[CallbackClass] | None = None,
        kubernetes_conn_id: str | None = cluster_configs.DEFAULT_CONNECTION,
        in_cluster: bool | None = None,
        cluster_context: str | None = None,
        config_file: str | None = None,
        pod_template_file: str | None = None,
        pod_template_dict: k8s.V1Pod | JsonObject | str | None = None,
        full_pod_spec: k8s.V1Pod | JsonObject | str | None = None,
        xcom_required: bool | None = None,
        xcom_max_bytes: int | None = None,
        xcom_path: str | None = None,
        xcom_mode: str | None = None,
        backoff_limit: int | None = None,
        disruption_limit: int | None = None,
        failure_policy: JsonObject | Sequence[JsonObject] | str | None = None,
        deadlines: Mapping[str, int | None] | str | None = None,
        queue_name: str | None = None,
        ttl_seconds_after_succeeded: int | dt.timedelta | None = None,
        ttl_seconds_after_failed: int | dt.timedelta | None = None,
        pod_ttl_seconds: int | dt.timedelta | None = None,
        spec: JsonObject | str | None = None,
        deployment: str | None = None,
        end_from_trigger: bool = False,
        controller_timeout: int | dt.timedelta | None = None,
        api_outage_tolerance: int | dt.timedelta | None = None,
        resources: k8s.V1ResourceRequirements | JsonObject | str | None = None,
        is_delete_operator_pod: bool | None = None,
        durable: bool | None = None,
        node_selectors: Mapping[str, str] | str | None = None,
        xcom_push: bool | None = None,
        **kwargs: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in arguments_module.DEFAULTS}
        super().__init__(**kwargs)
        known = {name: kwargs[name] for name in _OF_BASE_OPERATOR if kwargs.get(name) is not None}
        prepared = arguments_module.prepare(
            {**known, **{name: value for name, value in given.items() if value is not None}}
        )
        # Among these is do_xcom_push: True in BaseOperator, False here.
        for key in _ARGUMENTS:
            setattr(self, key, prepared.get(key))
        callbacks_module.check(
            [] if self.callbacks is None else validators.callables(self.callbacks),
            deferrable=bool(self.deferrable),
            get_logs=bool(self.get_logs),
            end_from_trigger=bool(self.end_from_trigger),
        )
        self._run: PodTaskRun | None = None
        self._is_built = True

    if TYPE_CHECKING:
        # Set from the table of arguments, see __init__: plain data, or what Jinja made of it.
        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # Airflow sets the rendered fields just before it stores them for its UI, those of mapped operators as well.
        if name in self.template_fields and self.__dict__.get("_is_built") and value:
            _mask(value)

    # What Airflow calls

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Create the PodTask or reattach to one; then wait and return the result, or defer."""
        self._run = self._make_run(context)
        return self._run.execute()

    def execute_complete(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Continue after the trigger's event: fetch the log, release the PodTask, return the result or raise."""
        self._run = self._make_run(context)
        return self._run.execute_complete(event)

    def on_kill(self) -> None:
        """Signal the waiting thread, which decides whether to cancel, defer or leave. Called in a signal handler."""
        if self._run is not None:
            self._run.kill()

    def dry_run(self) -> None:
        """Print the PodTask and its Pod, with secrets hidden. Nothing is created."""
        import yaml

        body = self._build({}, self.read_arguments(), None, 0, [])
        for title, shown in (
            ("The PodTask", body),
            (
                "Its Pod, without the names that the controller gives and the result's sidecar",
                pod_mutation.pod_of(body),
            ),
        ):
            print(f"# {title}\n{yaml.safe_dump(redact.redact(shown), sort_keys=False)}")  # noqa: T201

    # What a subclass may override

    def make_client(self, arguments: Arguments) -> PodTaskClient:
        """Return a new client of the task's cluster."""
        from ..hooks.podtask import PodTaskClient

        return PodTaskClient(self._cluster_config(arguments).api_client_factory)

    def make_core_api(self, arguments: Arguments) -> CoreV1Api:
        """Return a new CoreV1Api of the task's cluster, for callbacks."""
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self._cluster_config(arguments).api_client_factory())

    def build_podtask(
        self, context: Mapping[str, Any], arguments: Arguments, identity: Identity | None, suffix: int = 0
    ) -> PodTask:
        """Return the manifest of the PodTask. `suffix` is a number for the name if it is taken, 0 for none."""
        config = self._cluster_config(arguments)
        return manifest.build(
            arguments,
            identity,
            render=lambda text: self.render_template(text, context),
            sidecar=config.sidecar,
            in_cluster=config.in_cluster,
            namespace=_default_namespace(config),
            suffix=suffix,
        )

    def read_arguments(self) -> Arguments:
        """Return the rendered arguments, completed by the options of section [podtask]."""
        given = {name: getattr(self, name) for name in (*_ARGUMENTS, *_OF_BASE_OPERATOR)}
        arguments = arguments_module.parse(given)
        configured: dict[str, Any] = {
            name: int(version_compat.conf_get("podtask", name) or default)
            for name, default in _CONFIGURED.items()
            if getattr(arguments, name) is None
        }
        # parse() takes None for the default; as a connection's name it means no connection.
        configured["kubernetes_conn_id"] = arguments.kubernetes_conn_id if self.kubernetes_conn_id is not None else None
        configured["deployment"] = arguments.deployment or version_compat.conf_get("podtask", "deployment_id")
        return dataclasses.replace(arguments, **configured)

    # The run

    def _make_run(self, context: Mapping[str, Any]) -> PodTaskRun:
        arguments = self.read_arguments()
        identity = Identity(deployment=arguments.deployment or "", **version_compat.facts(context))
        callbacks = callbacks_module.Callbacks(
            arguments.callbacks or [],
            core_api=functools.partial(self.make_core_api, arguments),
            mode="async" if arguments.deferrable else "sync",
            operator=self,
            context=context,
        )
        return PodTaskRun(
            RunContext(
                context=context,
                arguments=arguments,
                identity=identity,
                client=self.make_client(arguments),
                callbacks=callbacks,
                build=lambda suffix: self._build(context, arguments, identity, suffix, callbacks.manifest_hooks()),
                defer=functools.partial(self._defer_to_trigger, arguments),
                retry_delay_seconds=version_compat.next_retry_seconds(self, identity.try_number),
                multiple_outputs=bool(self.multiple_outputs),
                log=self.log,
            )
        )

    def _build(
        self,
        context: Mapping[str, Any],
        arguments: Arguments,
        identity: Identity | None,
        suffix: int,
        hooks: Sequence[Callable[[k8s.V1Pod], object]],
    ) -> PodTask:
        """Return the manifest after pod_mutation_hook and the callbacks' hooks have changed its Pod."""
        body = self.build_podtask(context, arguments, identity, suffix)
        policy = version_compat.pod_mutation_hook()
        wanted = [*([policy] if policy is not None else []), *hooks]
        return pod_mutation.mutated(body, wanted) if wanted else body

    def _defer_to_trigger(self, arguments: Arguments, **pointer: Any) -> NoReturn:
        """Leave the worker; `execute_complete` continues after the trigger's event."""
        from ..triggers.podtask import PodTaskTrigger

        trigger = PodTaskTrigger(
            **dataclasses.asdict(_cluster_ref(arguments)),
            **pointer,
            end_from_trigger=bool(arguments.end_from_trigger),
            do_xcom_push=bool(arguments.do_xcom_push),
            multiple_outputs=bool(self.multiple_outputs),
        )
        self.defer(trigger=trigger, method_name="execute_complete")
        raise AssertionError("BaseOperator.defer always raises")

    def _cluster_config(self, arguments: Arguments) -> ClusterConfig:
        return cluster_configs.resolve(_cluster_ref(arguments), version_compat.BaseHook.get_connection)


KubernetesPodOperator = PodTaskOperator


def _cluster_ref(arguments: Arguments) -> ClusterRef:
    return ClusterRef(
        conn_id=arguments.kubernetes_conn_id,
        in_cluster=arguments.in_cluster,
        config_file=arguments.config_file,
        cluster_context=arguments.cluster_context,
    )


def _default_namespace(config: ClusterConfig) -> str:
    return (
        config.namespace
        or cluster_configs.service_account_namespace()
        or version_compat.conf_get("kubernetes_executor", "namespace")
        or "default"
    )


def _mask(value: Any) -> None:
    """Register values with secret-looking names at Airflow's masker, so that rendered fields and logs show ***."""
    if not converters.is_concrete(value):
        return
    options = (("podtask", "sensitive_keys"), ("core", "sensitive_var_conn_names"))
    sensitive = ",".join(version_compat.conf_get(*option) or "" for option in options).split(",")
    for secret in redact.hidden(value, sensitive):
        version_compat.mask_secret(secret)
