"""The command line `python -m cluster …`. Each command makes one call of the Python API and prints the result."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from . import build, clusters, paths
from .binaries import BINARIES, CONTROL_PLANE
from .errors import ClusterError
from .images import build as image_build
from .images import load, table
from .spec import Form

DEFAULT_NAME = "podtask"
Command = Callable[[argparse.Namespace], None]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code."""
    own, handed_on = _split(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(own)
    if handed_on:
        options.arguments = handed_on
    command: Command = options.command
    try:
        command(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Split the arguments into ours and kubectl's (all that follow the name): argparse would parse `-n` as ours."""
    if words[:1] != ["kubectl"] or words[1:2] in (["-h"], ["--help"]):
        return words, []
    end = 1
    if words[1:2] == ["--name"]:
        end = 3
    elif words[1:2] and words[1].startswith("--name="):
        end = 2
    return words[:end], words[end:]


def report(line: str) -> None:
    """Log progress to stderr without buffering, so that stdout can be piped."""
    print(line, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser with all commands and their options."""
    top = argparse.ArgumentParser(prog="python -m cluster", description="A real Kubernetes for development and tests.")
    commands_ = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, what: str) -> argparse.ArgumentParser:
        one = commands_.add_parser(name, help=what, description=what)
        one.set_defaults(command=command)
        return one

    def add_for_one(name: str, command: Command, what: str) -> argparse.ArgumentParser:
        one = add(name, command, what)
        one.add_argument("--name", default=DEFAULT_NAME, help="name of the cluster (default: %(default)s)")
        return one

    up = add_for_one("up", _up, "start a cluster, or its missing programs")
    up.add_argument("--form", type=Form, choices=list(Form), default=Form.NODE, help="default: %(default)s")
    up.add_argument("--nodes", type=int, default=10, help="number of simulated nodes (default: %(default)s)")
    down = add_for_one("down", _down, "stop a cluster and delete it")
    down.add_argument("--all", action="store_true", help="all clusters of this cache")
    down.add_argument("--keep", action="store_true", help="keep its files, so that the next up has the same objects")
    add_for_one("status", _status, "list the clusters and their programs")
    add_for_one("kubeconfig", _kubeconfig, "print the path of the admin's kubeconfig")
    kubectl = add_for_one(
        "kubectl", _kubectl, "run kubectl against the cluster; all arguments after the name are kubectl's"
    )
    kubectl.add_argument("arguments", nargs="*")
    add_for_one("logs", _logs, "print the log of a program").add_argument("program")
    _add_program_commands(add_for_one)
    _add_image_commands(add, add_for_one)
    binaries = add("build", _build, "build binaries into the cache")
    binaries.add_argument("binaries", nargs="*", default=list(CONTROL_PLANE), help=", ".join(BINARIES))
    return top


def _add_program_commands(add_for_one: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    for verb, what in (("start", "start a stopped program"), ("stop", "stop a program"), ("restart", "stop and start")):
        one = add_for_one(verb, _program, what)
        one.set_defaults(verb=verb)
        one.add_argument("program")
    signal = add_for_one("signal", _signal, "send a program a signal, e.g. KILL, STOP, CONT")
    signal.add_argument("program")
    signal.add_argument("signal")


def _add_image_commands(
    add: Callable[[str, Command, str], argparse.ArgumentParser],
    add_for_one: Callable[[str, Command, str], argparse.ArgumentParser],
) -> None:
    names = f"{', '.join(table.IMAGES)}, or all"
    images = add("images", _images, "build images into the cache, and print their archives")
    images.add_argument("images", nargs="*", default=list(table.DEFAULT), help=names)
    loading = add_for_one("load", _load, "load images on the node: by name, or NAME=ARCHIVE for your own")
    loading.add_argument("images", nargs="+", help=names)


def _up(options: argparse.Namespace) -> None:
    cluster = clusters.up(options.name, options.form, report=report, nodes=options.nodes)
    report(f"export KUBECONFIG={cluster.kubeconfig}")


def _down(options: argparse.Namespace) -> None:
    for name in paths.all_cluster_names() if options.all else [options.name]:
        clusters.down(name, keep=options.keep, report=report)
        report(f"cluster {name} is down")


def _status(_: argparse.Namespace) -> None:
    names = paths.all_cluster_names()
    if not names:
        print("no cluster exists; `python -m cluster up` creates one")
    for name in names:
        try:
            cluster = clusters.get(name, report=report)
        except ClusterError:
            print(f"{name}: half-made; `python -m cluster up` or `down` with --name {name} puts that right")
            continue
        print(f"{name}: {cluster.form} by {cluster.record.provider}, {cluster.server}")
        print(f"  kubeconfig {cluster.kubeconfig}")
        for program, state in cluster.status().items():
            print(f"  {program:<20}{state}")


def _kubeconfig(options: argparse.Namespace) -> None:
    print(clusters.get(options.name, report=report).kubeconfig)


def _kubectl(options: argparse.Namespace) -> None:
    cluster = clusters.get(options.name, report=report)
    binary = cluster.record.binaries["kubectl"]
    # Not through `commands` but with the caller's terminal, so that `exec -it` and `logs -f` work.
    done = subprocess.run([binary, f"--kubeconfig={cluster.kubeconfig}", *options.arguments], check=False)
    raise SystemExit(done.returncode)


def _logs(options: argparse.Namespace) -> None:
    print(clusters.get(options.name, report=report).log(options.program), end="")


def _program(options: argparse.Namespace) -> None:
    cluster = clusters.get(options.name, report=report)
    {"start": cluster.start, "stop": cluster.stop, "restart": cluster.restart}[options.verb](options.program)


def _signal(options: argparse.Namespace) -> None:
    clusters.get(options.name, report=report).signal(options.program, options.signal)


def _load(options: argparse.Namespace) -> None:
    cluster = clusters.get(options.name, report=report)
    own = [word.partition("=") for word in options.images if "=" in word]
    for reference, _, archive in own:
        cluster.load(reference, Path(archive))
    load.load(cluster, [word for word in options.images if "=" not in word])


def _images(options: argparse.Namespace) -> None:
    for archive in image_build.ensure(table.named(options.images), report).values():
        print(archive)


def _build(options: argparse.Namespace) -> None:
    unknown = [name for name in options.binaries if name not in BINARIES]
    if unknown:
        raise ClusterError(f"no binary has the name {', '.join(unknown)}", f"there are: {', '.join(BINARIES)}")
    for name, path in build.ensure(options.binaries, report).items():
        print(f"{name}\t{path}")
