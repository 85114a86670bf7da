"""The controller's configuration: one frozen value, from flags or environment variables (PODTASK_…)."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NoReturn

from msgspec import structs

from ..core.policy import Policy
from ..core.settings import Settings
from ..kube.http import DEFAULT_LIMITS
from . import election

MIN_HOLD_SECONDS = election.DURATION_SECONDS + int(DEFAULT_LIMITS.write_seconds)
"""A former leader's last create arrives within this time. The finished Pod must still exist, so that the create fails
(docs/design/0003)."""


def _list(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _integer(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    def kind(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer") from None
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{number} is less than {minimum}")
        if maximum is not None and number > maximum:
            raise argparse.ArgumentTypeError(f"{number} is more than {maximum}")
        return number

    return kind


def _positive(text: str) -> int | None:
    return _integer(1)(text) if text else None


def _hold(text: str) -> int:
    return _integer(MIN_HOLD_SECONDS)(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def kind(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return kind


def _true_or_false(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _resources(text: str) -> str:
    given = json.loads(text)
    if not isinstance(given, dict) or not given.keys() <= {"requests", "limits"}:
        raise ValueError(text)
    if not all(isinstance(amounts, dict) and all(map(_is_amount, amounts.values())) for amounts in given.values()):
        raise ValueError(text)
    kept = {kind: {name: one for name, one in of.items() if one is not None} for kind, of in given.items()}
    return json.dumps(kept, sort_keys=True)


def _is_amount(value: object) -> bool:
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


_PORT = _integer(0, 65535)


def _allow_list(values: str) -> tuple[str, ...]:
    return field(
        default=(), metadata={"help": f"policy: {values}, separated by commas; empty allows all", "kind": _list}
    )


def _limit(value: str, default: int | None = None) -> int | None:
    return field(default=default, metadata={"help": f"policy: {value}; empty sets none", "kind": _positive})


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the controller."""

    namespace: str = field(default="", metadata={"help": "watch only this namespace; empty for all namespaces"})
    workers: int = field(
        default=64, metadata={"help": "number of tasks that are reconciled at once", "kind": _integer(1)}
    )
    sidecar_image: str = field(
        default="localhost/podtask/sidecar:dev", metadata={"help": "image of the sidecar that delivers results"}
    )
    sidecar_pull_policy: str = field(
        default="IfNotPresent",
        metadata={"help": "imagePullPolicy of the sidecar", "kind": _one_of("Always", "IfNotPresent", "Never")},
    )
    sidecar_resources: str = field(
        default='{"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}',
        metadata={"help": "resource requests and limits of the sidecar, as JSON; {} sets none", "kind": _resources},
    )
    sidecar_security_context: str = field(
        default="auto",
        metadata={
            "help": "auto: the sidecar runs as the user of the task's container, or as root if that is unknown; none:"
            " no runAsUser is set unless the task's container sets one (for OpenShift, which assigns it)",
            "kind": _one_of("auto", "none"),
        },
    )
    pod_hold_seconds: int = field(
        default=60,
        metadata={
            "help": f"a finished Pod is kept at least this long; {MIN_HOLD_SECONDS} or more (docs/design/0003)",
            "kind": _hold,
        },
    )
    live_read_seconds: int = field(
        default=60,
        metadata={
            "help": "for this long after a replica becomes the leader, each PodTask is read from the API server before"
            " its Pod is created",
            "kind": _integer(0),
        },
    )
    relist_seconds: int = field(
        default=2700, metadata={"help": "interval of full lists, with jitter", "kind": _integer(1)}
    )
    leader_election: str = field(
        default="auto",
        metadata={"help": "on, off, or auto (on inside a cluster, off outside)", "kind": _one_of("on", "off", "auto")},
    )
    leader_election_namespace: str = field(
        default="", metadata={"help": "namespace of the Lease; empty for the controller's namespace"}
    )
    http_port: int = field(default=8080, metadata={"help": "port of /healthz and /readyz; 0 opens none", "kind": _PORT})
    metrics_port: int = field(default=8081, metadata={"help": "port of /metrics; 0 opens none", "kind": _PORT})
    http_address: str = field(
        default="", metadata={"help": "address that both ports are opened on; empty for all addresses"}
    )
    log_level: str = field(
        default="INFO", metadata={"help": "log level", "kind": _one_of("DEBUG", "INFO", "WARNING", "ERROR")}
    )
    log_format: str = field(default="json", metadata={"help": "log format", "kind": _one_of("json", "plain")})

    policy_namespaces: tuple[str, ...] = _allow_list("namespaces that may have PodTasks, as shell patterns")
    policy_service_accounts: tuple[str, ...] = _allow_list("service accounts that a Pod may use, as shell patterns")
    policy_image_prefixes: tuple[str, ...] = _allow_list("prefixes of allowed images, matched in whole path components")
    policy_priority_classes: tuple[str, ...] = _allow_list("priority classes that a Pod may use, as shell patterns")
    policy_host_access: bool = field(
        default=True,
        metadata={
            "help": "policy: whether Pods may access their node (privileged, hostPath, host network), true or false",
            "kind": _true_or_false,
        },
    )
    policy_default_run_seconds: int | None = _limit("default of spec.deadlines.runSeconds")
    policy_default_total_seconds: int | None = _limit("default of spec.deadlines.totalSeconds")
    policy_default_ttl_seconds: int | None = _limit("default of spec.ttlSecondsAfterFinished")
    policy_max_run_seconds: int | None = _limit("maximum of spec.deadlines.runSeconds")
    policy_max_total_seconds: int | None = _limit("maximum of spec.deadlines.totalSeconds")
    policy_max_ttl_seconds: int | None = _limit("maximum of the fields spec.ttlSecondsAfter…")
    policy_max_result_bytes: int | None = _limit("maximum of spec.xcom.maxBytes")
    policy_max_spec_bytes: int | None = _limit("maximum size of a spec, in bytes of JSON", 512 * 1024)
    policy_max_running_pods: int | None = _limit("maximum number of live Pods of tasks in a namespace")

    def elects(self, environment: Mapping[str, str] = os.environ) -> bool:
        """Return whether this process takes part in leader election."""
        if self.leader_election == "auto":
            return "KUBERNETES_SERVICE_HOST" in environment
        return self.leader_election == "on"

    def for_core(self) -> Settings:
        """Return the settings that decisions depend on."""
        amounts = json.loads(self.sidecar_resources)
        return Settings(
            sidecar_image=self.sidecar_image,
            image_pull_policy=self.sidecar_pull_policy,
            sidecar_requests=amounts.get("requests", {}),
            sidecar_limits=amounts.get("limits", {}),
            sidecar_security_context=self.sidecar_security_context,
            pod_hold_seconds=self.pod_hold_seconds,
            policy=Policy(**{item.name: getattr(self, f"policy_{item.name}") for item in structs.fields(Policy)}),
        )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with one line for the error, without the usage text."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Read the options: a flag wins over a variable, a variable over the default. Exits with 2 for an invalid value."""
    parser = _Parser(prog="podtask", description="Run the PodTask controller.")
    for item in fields(Options):
        variable = f"PODTASK_{item.name.upper()}"
        kind = item.metadata.get("kind", type(item.default))
        default = environment.get(variable, item.default)
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            default=default,
            help=f"{item.metadata['help']} (default {item.default!r}, variable {variable})",
        )
    options = Options(**vars(parser.parse_args(list(arguments))))
    for name in ("run", "total", "ttl"):
        default, maximum = (getattr(options, f"policy_{kind}_{name}_seconds") for kind in ("default", "max"))
        if default is not None and maximum is not None and default > maximum:
            parser.error(
                f"--policy-default-{name}-seconds {default} is greater than --policy-max-{name}-seconds {maximum}"
            )
    return options
