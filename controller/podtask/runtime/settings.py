"""All configuration of the controller: one frozen value, from flags or PODTASK_… variables, each documented once."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from msgspec import structs

from ..core import plan
from ..core.policy import Policy


def _list(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _positive(text: str) -> int | None:
    number = int(text) if text else None
    if number is not None and number < 1:
        raise ValueError(text)
    return number


def _true_or_false(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


def _election(text: str) -> str:
    if text not in {"on", "off", "auto"}:
        raise ValueError(text)
    return text


def _allowed(what: str) -> tuple[str, ...]:
    return field(default=(), metadata={"help": f"policy: {what}, separated by commas; empty for all", "kind": _list})


def _limit(what: str, default: int | None = None) -> int | None:
    return field(default=default, metadata={"help": f"policy: {what}; empty for none", "kind": _positive})


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set from outside."""

    namespace: str = field(default="", metadata={"help": "follow only this namespace; empty for all"})
    workers: int = field(default=64, metadata={"help": "tasks that are worked on at once"})
    sidecar_image: str = field(
        default="localhost/podtask/sidecar:dev", metadata={"help": "image of the container that delivers results"}
    )
    sidecar_pull_policy: str = field(default="IfNotPresent", metadata={"help": "imagePullPolicy of that image"})
    pod_hold_seconds: int = field(default=60, metadata={"help": "a finished Pod stays this long at least"})
    live_read_seconds: int = field(
        default=60,
        metadata={"help": "for so long after the work is taken up each PodTask is read live before its Pod is created"},
    )
    relist_seconds: int = field(default=2700, metadata={"help": "everything is listed anew this often, give or take"})
    leader_election: str = field(
        default="auto",
        metadata={"help": "on, off, or auto: on inside a cluster, off outside", "kind": _election},
    )
    leader_election_namespace: str = field(
        default="", metadata={"help": "namespace of the Lease; empty for the controller's own"}
    )
    http_port: int = field(default=8080, metadata={"help": "port of /healthz, /readyz and /metrics; 0 for none"})
    http_address: str = field(default="", metadata={"help": "address that port is bound to; empty for all"})
    log_level: str = field(default="INFO", metadata={"help": "DEBUG, INFO, WARNING or ERROR"})
    log_format: str = field(default="json", metadata={"help": "json or plain"})

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

    def for_core(self) -> plan.Settings:
        """Give the part that decisions depend on."""
        return plan.Settings(
            sidecar_image=self.sidecar_image,
            image_pull_policy=self.sidecar_pull_policy,
            pod_hold_seconds=self.pod_hold_seconds,
            policy=Policy(**{item.name: getattr(self, f"policy_{item.name}") for item in structs.fields(Policy)}),
        )


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read flags over variables over defaults. Exits with a message for what cannot be understood."""
    parser = argparse.ArgumentParser(prog="podtask", description="Run the PodTask controller.")
    for item in fields(Settings):
        variable = f"PODTASK_{item.name.upper()}"
        kind = item.metadata.get("kind", type(item.default))
        default = environment.get(variable, item.default)
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            default=default,
            help=f"{item.metadata['help']} (default {item.default!r}, variable {variable})",
        )
    settings = Settings(**vars(parser.parse_args(list(arguments))))
    for what in ("run", "total", "ttl"):
        default, most = (getattr(settings, f"policy_{kind}_{what}_seconds") for kind in ("default", "max"))
        if default is not None and most is not None and default > most:
            parser.error(f"--policy-default-{what}-seconds {default} is over --policy-max-{what}-seconds {most}")
    return settings
