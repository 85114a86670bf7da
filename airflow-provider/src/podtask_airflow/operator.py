"""PodTaskOperator: KubernetesPodOperator's arguments, a PodTask instead of a Pod.

It creates the object, waits, shows logs and turns the outcome into a return value or an exception. Rules about Pods
are the controller's; how one leg of the task goes is leg.py's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import access, manifest, mutation, plain, reading, redact, version_compat
from . import arguments as arguments_module
from . import callbacks as callbacks_module
from .arguments import Arguments
from .identity import Identity
from .leg import Leg
from .links import PodTaskLink
from .version_compat import BaseOperator

if TYPE_CHECKING:
    from .client import Client

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
"""Today's arguments and their defaults; older names are translated to these."""
_OF_BASE_OPERATOR = ("task_id", "retries", "execution_timeout")
_DEFERRABLE = bool(version_compat.conf.getboolean("operators", "default_deferrable", fallback=False))


class PodTaskOperator(BaseOperator):  # type: ignore[misc]
    """Run one containerised task in a Kubernetes cluster and wait for it.

    docs/airflow/arguments.md says of every argument what becomes of it. Made to be subclassed: `make_client`,
    `make_core_api` and `build_podtask` are small and may be replaced.
    """

    template_fields: Sequence[str] = tuple(name for name in arguments_module.TEMPLATED if name != "do_xcom_push")
    template_fields_renderers: ClassVar[dict[str, str]] = {"env_vars": "py"}
    operator_extra_links = (PodTaskLink(),)
    ui_color = "#cde8f6"

    def __init__(
        self,
        *,
        name: Any = None,
        random_name_suffix: bool = True,
        namespace: Any = None,
        labels: Any = None,
        annotations: Any = None,
        hostname: Any = None,
        subdomain: Any = None,
        image: Any = None,
        image_pull_policy: Any = None,
        image_pull_secrets: Any = None,
        cmds: Any = None,
        arguments: Any = None,
        ports: Any = None,
        base_container_name: Any = None,
        init_containers: Any = None,
        termination_message_policy: Any = None,
        env_vars: Any = None,
        env_from: Any = None,
        configmaps: Any = None,
        secrets: Any = None,
        pod_runtime_info_envs: Any = None,
        container_resources: Any = None,
        priority_class_name: Any = None,
        runtime_class_name: Any = None,
        volumes: Any = None,
        volume_mounts: Any = None,
        node_selector: Any = None,
        affinity: Any = None,
        tolerations: Any = None,
        schedulername: Any = None,
        hostnetwork: Any = None,
        host_aliases: Any = None,
        dnspolicy: Any = None,
        dns_config: Any = None,
        service_account_name: Any = None,
        automount_service_account_token: Any = None,
        security_context: Any = None,
        container_security_context: Any = None,
        xcom_sidecar_container_security_context: Any = None,
        startup_timeout_seconds: int = 120,
        schedule_timeout_seconds: Any = None,
        startup_check_interval_seconds: int = 5,
        base_container_status_polling_interval: int = 1,
        active_deadline_seconds: Any = None,
        termination_grace_period: Any = None,
        on_finish_action: str = "delete_pod",
        on_kill_action: str = "delete_pod",
        reattach_on_restart: bool = True,
        skip_on_exit_code: Any = None,
        get_logs: bool = True,
        container_logs: Any = None,
        init_container_logs: Any = None,
        log_events_on_startup: bool = True,
        log_events_on_failure: bool = False,
        log_pod_spec_on_failure: bool = True,
        container_name_log_prefix_enabled: bool = True,
        log_formatter: Any = None,
        progress_callback: Any = None,
        logging_interval: Any = None,
        do_xcom_push: bool = False,
        deferrable: bool = _DEFERRABLE,
        poll_interval: int = 2,
        trigger_kwargs: Any = None,
        callbacks: Any = None,
        kubernetes_conn_id: str | None = access.DEFAULT_CONNECTION,
        in_cluster: Any = None,
        cluster_context: Any = None,
        config_file: Any = None,
        pod_template_file: Any = None,
        pod_template_dict: Any = None,
        full_pod_spec: Any = None,
        xcom_required: Any = None,
        xcom_max_bytes: Any = None,
        xcom_path: Any = None,
        xcom_mode: Any = None,
        backoff_limit: Any = None,
        disruption_limit: Any = None,
        failure_policy: Any = None,
        deadlines: Any = None,
        queue_name: Any = None,
        ttl_seconds_after_succeeded: Any = None,
        ttl_seconds_after_failed: Any = None,
        pod_ttl_seconds: Any = None,
        spec: Any = None,
        deployment: Any = None,
        end_from_trigger: bool = False,
        controller_timeout: Any = None,
        api_outage_tolerance: Any = None,
        resources: Any = None,
        is_delete_operator_pod: Any = None,
        durable: Any = None,
        node_selectors: Any = None,
        xcom_push: Any = None,
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
            [] if self.callbacks is None else reading.callables(self.callbacks),
            deferrable=bool(self.deferrable),
            get_logs=bool(self.get_logs),
            end_from_trigger=bool(self.end_from_trigger),
        )
        self._leg: Leg | None = None
        self._is_built = True

    if TYPE_CHECKING:
        # Set from the table of arguments, see __init__.
        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # Airflow sets the rendered fields just before it stores them for its UI, mapped operators' as well.
        if name in self.template_fields and self.__dict__.get("_is_built") and value:
            _mask(value)

    # What Airflow calls

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Run the task, or hand it to the triggerer."""
        self._leg = Leg(self, context, self.read_arguments())
        return self._leg.launch()

    def resume(self, context: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Go on after the trigger's event."""
        self._leg = Leg(self, context, self.read_arguments())
        return self._leg.resume(event)

    def on_kill(self) -> None:
        """Ask the leg to end. This runs inside of a signal handler."""
        if self._leg is not None:
            self._leg.kill()

    def dry_run(self) -> None:
        """Print the PodTask that would be created, and the Pod that would come of it."""
        import yaml

        body = self.request({}, self.read_arguments(), None, 0, [])
        for title, shown in (
            ("The PodTask", body),
            ("Its Pod, but for names and the result's sidecar", mutation.pod_of(body)),
        ):
            print(f"# {title}\n{yaml.safe_dump(redact.redact(shown), sort_keys=False)}")  # noqa: T201

    # What a subclass may replace

    def make_client(self, arguments: Arguments) -> Client:
        """Make the client of the task's cluster."""
        from .client import Client

        return Client(self._resolve(arguments).api_client_factory)

    def make_core_api(self, arguments: Arguments) -> Any:
        """Make the CoreV1Api that callbacks get."""
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self._resolve(arguments).api_client_factory())

    def build_podtask(
        self, context: Mapping[str, Any], arguments: Arguments, identity: Identity | None, extension: int = 0
    ) -> dict[str, Any]:
        """Build the whole object. `extension` is for a name that was taken."""
        resolved = self._resolve(arguments)
        return manifest.build(
            arguments,
            identity,
            render=lambda text: self.render_template(text, context),
            sidecar=resolved.sidecar,
            in_cluster=resolved.in_cluster,
            namespace=_fallback_namespace(resolved),
            extension=extension,
        )

    # What a leg calls

    def request(
        self,
        context: Mapping[str, Any],
        arguments: Arguments,
        identity: Identity | None,
        extension: int,
        hooks: Sequence[Callable[[Any], Any]],
    ) -> dict[str, Any]:
        """Give the object to be created, after everybody who may change its Pod has seen it."""
        body = self.build_podtask(context, arguments, identity, extension)
        policy = version_compat.pod_mutation_hook()
        wanted = [*([policy] if policy is not None else []), *hooks]
        return mutation.mutated(body, wanted) if wanted else body

    def read_arguments(self) -> Arguments:
        """Read the rendered arguments, and fill the gaps from [podtask] in airflow.cfg."""
        given = {name: getattr(self, name) for name in (*_ARGUMENTS, *_OF_BASE_OPERATOR)}
        read = arguments_module.parse(given)
        configured: dict[str, Any] = {
            name: int(version_compat.conf_get("podtask", name) or default)
            for name, default in _CONFIGURED.items()
            if getattr(read, name) is None
        }
        # Read, None means the default; as the name of a connection it means none.
        configured["kubernetes_conn_id"] = read.kubernetes_conn_id if self.kubernetes_conn_id is not None else None
        configured["deployment"] = read.deployment or version_compat.conf_get("podtask", "deployment_id")
        return dataclasses.replace(read, **configured)

    def defer_to_trigger(self, arguments: Arguments, **pointer: Any) -> None:
        """Leave the worker; the trigger goes on."""
        from .trigger import PodTaskTrigger

        trigger = PodTaskTrigger(
            **dataclasses.asdict(_access(arguments)),
            **pointer,
            end_from_trigger=bool(arguments.end_from_trigger),
            do_xcom_push=bool(arguments.do_xcom_push),
            multiple_outputs=bool(self.multiple_outputs),
        )
        self.defer(trigger=trigger, method_name="resume")

    def _resolve(self, arguments: Arguments) -> access.Resolved:
        return access.resolve(_access(arguments), version_compat.BaseHook.get_connection)


KubernetesPodOperator = PodTaskOperator


def _access(arguments: Arguments) -> access.Access:
    return access.Access(
        conn_id=arguments.kubernetes_conn_id,
        in_cluster=arguments.in_cluster,
        config_file=arguments.config_file,
        cluster_context=arguments.cluster_context,
    )


def _fallback_namespace(resolved: access.Resolved) -> str:
    return (
        resolved.namespace
        or access.service_account_namespace()
        or version_compat.conf_get("kubernetes_executor", "namespace")
        or "default"
    )


def _mask(value: Any) -> None:
    """Tell Airflow's own masker what looks secret, so that rendered fields and logs show *** instead."""
    if not plain.is_concrete(value):
        return
    options = (("podtask", "sensitive_keys"), ("core", "sensitive_var_conn_names"))
    sensitive = ",".join(version_compat.conf_get(*option) or "" for option in options).split(",")
    for secret in redact.hidden(value, sensitive):
        version_compat.mask_secret(secret)
