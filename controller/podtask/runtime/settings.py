"""All configuration of the controller: one frozen value, from flags or PODTASK_… variables, each documented once."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from ..core import plan


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
        default=60, metadata={"help": "for so long after the start each PodTask is read live before its Pod is created"}
    )
    relist_seconds: int = field(default=2700, metadata={"help": "everything is listed anew this often, give or take"})
    log_level: str = field(default="INFO", metadata={"help": "DEBUG, INFO, WARNING or ERROR"})
    log_format: str = field(default="json", metadata={"help": "json or plain"})

    def for_core(self) -> plan.Settings:
        """Give the part that decisions depend on."""
        return plan.Settings(
            sidecar_image=self.sidecar_image,
            image_pull_policy=self.sidecar_pull_policy,
            pod_hold_seconds=self.pod_hold_seconds,
        )


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read flags over variables over defaults. Exits with a message for what cannot be understood."""
    parser = argparse.ArgumentParser(prog="podtask", description="Run the PodTask controller.")
    for item in fields(Settings):
        variable = f"PODTASK_{item.name.upper()}"
        kind = type(item.default)
        default = environment.get(variable, item.default)
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            default=default,
            help=f"{item.metadata['help']} (default {item.default!r}, variable {variable})",
        )
    return Settings(**vars(parser.parse_args(list(arguments))))
