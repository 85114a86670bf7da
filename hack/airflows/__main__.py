"""`python -m airflows`: lock, build and use the Airflow environments."""

from __future__ import annotations

import argparse
import sys
import time

from cluster.errors import ClusterError

from . import environments, inside, packages, versions
from .versions import Environment


def main() -> int:
    """Run the command that the arguments name."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.act(arguments))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airflows", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, act, what in (
        ("list", _list, "list the versions, what is tested with each, and their directories"),
        ("lock", _lock, "resolve the lock files again"),
        ("build", _build, "create the environments that are missing"),
    ):
        command = commands.add_parser(name, help=what)
        command.set_defaults(act=act)
        command.add_argument("names", nargs="*", default=["all"], metavar="VERSION")
    run = commands.add_parser("pytest", help="run pytest in an environment: airflows pytest VERSION -- ARGUMENTS")
    run.set_defaults(act=_pytest)
    run.add_argument("names", nargs=1, metavar="VERSION")
    run.add_argument("arguments", nargs="*")
    return parser


def _chosen(arguments: argparse.Namespace) -> list[Environment]:
    if arguments.names == ["all"]:
        return list(versions.ENVIRONMENTS)
    try:
        return [versions.find(name) for name in arguments.names]
    except KeyError as error:
        known = " ".join(environment.name for environment in versions.ENVIRONMENTS)
        raise ClusterError(f"there is no environment {error}", f"there are: {known}") from error


def _list(arguments: argparse.Namespace) -> int:
    for environment in _chosen(arguments):
        place = environments.directory(environment)
        state = str(place) if (place / ".ready").exists() else "not built"
        print(f"{environment.name:10} {environment.depth.value:5} {state}")
    return 0


def _lock(arguments: argparse.Namespace) -> int:
    for environment in _chosen(arguments):
        packages.lock(environment)
        print(environment.lock)
    return 0


def _build(arguments: argparse.Namespace) -> int:
    begun = time.monotonic()
    environments.build(_chosen(arguments))
    print(f"Airflow {', '.join(e.name for e in _chosen(arguments))}: ready after {time.monotonic() - begun:.1f} s")
    return 0


def _pytest(arguments: argparse.Namespace) -> int:
    (environment,) = _chosen(arguments)
    environments.ensure(environment)
    print(f"--- Airflow {environment.name}", flush=True)
    return inside.run_pytest(environment, inside.resolve(arguments.arguments))


if __name__ == "__main__":
    sys.exit(main())
