"""Costs of a run: CPU and memory of processes from /proc, requests from the API server's metrics."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_REQUESTS = re.compile(r"^apiserver_request_total\{([^}]*)\} (\S+)$", re.MULTILINE)
_ALLOCATED = re.compile(r"^go_memstats_alloc_bytes_total (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_LONG = {"WATCH", "CONNECT"}


def cpu_seconds(pid: int | None) -> float:
    """Return the user and system time so far of a process and its children, in seconds; 0 for None."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS + sum(map(cpu_seconds, _children(pid)))


def rss_mib(pid: int | None) -> float:
    """Return the resident memory of a process and its children (shared pages counted for each); 0 for None."""
    if pid is None:
        return 0.0
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE / 2**20 + sum(map(rss_mib, _children(pid)))


def peak_rss_mib(pid: int | None) -> float:
    """Return the peak resident memory of a process; 0 for None."""
    if pid is None:
        return 0.0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def allocated_bytes(metrics: str) -> float:
    """Return the bytes that a Go program has allocated so far, which unlike CPU time do not depend on the machine."""
    (found,) = _ALLOCATED.findall(metrics)
    return float(found)


def _children(pid: int) -> list[int]:
    return [int(child) for one in Path(f"/proc/{pid}/task").iterdir() for child in _words(one / "children")]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except FileNotFoundError:  # a thread may end meanwhile
        return []


def samples(metrics: str) -> Iterator[tuple[dict[str, str], int]]:
    """Yield labels and count of each kind of request that the API server has answered."""
    for labels, count in _REQUESTS.findall(metrics):
        yield dict(_LABEL.findall(labels)), int(float(count))


def requests(metrics: str, resources: frozenset[str]) -> Counter[str]:
    """Count successful requests on `resources` by `VERB resource[/subresource]`, without watches."""
    found: Counter[str] = Counter()
    for label, count in samples(metrics):
        if label["resource"] not in resources or label["verb"] in _LONG or not label["code"].startswith("2"):
            continue
        what = "/".join(filter(None, (label["resource"], label["subresource"])))
        found[f"{label['verb']} {what}"] += count
    return found
