"""All configuration of the controller: one frozen value, from flags or PODTASK_… variables, each documented once."""

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

LEAST_HOLD_SECONDS = election.DURATION_SECONDS + int(DEFAULT_LIMITS.write_seconds)
"""A deposed controller's last create arrives within this time, and has to find the finished Pod (docs/design/0003)."""


def _list(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def kind(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"{number} is more than {most}")
        return number

    return kind


def _positive(text: str) -> int | None:
    return _whole(1)(text) if text else None


def _hold(text: str) -> int:
    return _whole(LEAST_HOLD_SECONDS)(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def kind(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(words)}")
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


_PORT = _whole(0, 65535)


def _allowed(what: str) -> tuple[str, ...]:
    return field(default=(), metadata={"help": f"policy: {what}, separated by commas; empty for all", "kind": _list})


def _limit(what: str, default: int | None = None) -> int | None:
    return field(default=default, metadata={"help": f"policy: {what}; empty for none", "kind": _positive})


@dataclass(frozen=True, slots=True)
class Options:
    """What can be set from outside."""

    namespace: str = field(default="", metadata={"help": "follow only this namespace; empty for all"})
    workers: int = field(default=64, metadata={"help": "tasks that are worked on at once", "kind": _whole(1)})
    sidecar_image: str = field(
        default="localhost/podtask/sidecar:dev", metadata={"help": "image of the container that delivers results"}
    )
    sidecar_pull_policy: str = field(
        default="IfNotPresent",
        metadata={"help": "imagePullPolicy of that image", "kind": _one_of("Always", "IfNotPresent", "Never")},
    )
    sidecar_resources: str = field(
        default='{"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}',
        metadata={"help": "requests and limits of that container, as JSON; {} sets none", "kind": _resources},
    )
    sidecar_security_context: str = field(
        default="auto",
        metadata={
            "help": "auto: that container runs as the user of the task's, or as root where that is not known; none: no"
            " user is set but the one that the task's container names (OpenShift gives one)",
            "kind": _one_of("auto", "none"),
        },
    )
    pod_hold_seconds: int = field(
        default=60,
        metadata={"help": "a finished Pod stays this long at least; 40 or more (docs/design/0003)", "kind": _hold},
    )
    live_read_seconds: int = field(
        default=60,
        metadata={
            "help": "for so long after the work is taken up each PodTask is read live before its Pod is created",
            "kind": _whole(0),
        },
    )
    relist_seconds: int = field(
        default=2700, metadata={"help": "everything is listed anew this often, give or take", "kind": _whole(1)}
    )
    leader_election: str = field(
        default="auto",
        metadata={"help": "on, off, or auto: on inside a cluster, off outside", "kind": _one_of("on", "off", "auto")},
    )
    leader_election_namespace: str = field(
        default="", metadata={"help": "namespace of the Lease; empty for the controller's own"}
    )
    http_port: int = field(default=8080, metadata={"help": "port of /healthz and /readyz; 0 for none", "kind": _PORT})
    metrics_port: int = field(default=8081, metadata={"help": "port of /metrics; 0 for none", "kind": _PORT})
    http_address: str = field(default="", metadata={"help": "address both ports are bound to; empty for all"})
    log_level: str = field(
        default="INFO", metadata={"help": "how much is logged", "kind": _one_of("DEBUG", "INFO", "WARNING", "ERROR")}
    )
    log_format: str = field(default="json", metadata={"help": "how it is logged", "kind": _one_of("json", "plain")})

    policy_namespaces: tuple[str, ...] = _allowed("namespaces that may run tasks, as shell patterns")
    policy_service_accounts: tuple[str, ...] = _allowed("service accounts that a Pod may have, as shell patterns")
    policy_image_prefixes: tuple[str, ...] = _allowed("what images may begin with, in whole parts of a name")
    policy_priority_classes: tuple[str, ...] = _allowed("priority classes that a Pod may have, as shell patterns")
    policy_host_access: bool = field(
        default=True,
        metadata={"help": "policy: whether Pods may reach into their node, true or false", "kind": _true_or_false},
    )
    policy_default_run_seconds: int | None = _limit("runSeconds of tasks that set none")
    policy_default_total_seconds: int | None = _limit("totalSeconds of tasks that set none")
    policy_default_ttl_seconds: int | None = _limit("ttlSecondsAfterFinished of tasks that set none")
    policy_max_run_seconds: int | None = _limit("ceiling of runSeconds")
    policy_max_total_seconds: int | None = _limit("ceiling of totalSeconds")
    policy_max_ttl_seconds: int | None = _limit("ceiling of the ttlSecondsAfter… fields")
    policy_max_result_bytes: int | None = _limit("ceiling of xcom.maxBytes")
    policy_max_spec_bytes: int | None = _limit("ceiling of a whole spec, in bytes of JSON", 512 * 1024)
    policy_max_running_pods: int | None = _limit("Pods of tasks that live at once in a namespace")

    def elects(self, environment: Mapping[str, str] = os.environ) -> bool:
        """Whether this process works only while it holds the Lease."""
        if self.leader_election == "auto":
            return "KUBERNETES_SERVICE_HOST" in environment
        return self.leader_election == "on"

    def for_core(self) -> Settings:
        """Give the part that decisions depend on."""
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
        """Say what is wrong, without the page of usage before it."""
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Read flags over variables over defaults. Exits with 2 and one sentence for what makes no sense."""
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
    for what in ("run", "total", "ttl"):
        default, most = (getattr(options, f"policy_{kind}_{what}_seconds") for kind in ("default", "max"))
        if default is not None and most is not None and default > most:
            parser.error(f"--policy-default-{what}-seconds {default} is over --policy-max-{what}-seconds {most}")
    return options
