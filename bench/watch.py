"""`python -m bench.watch`: cost and correctness of two ways to follow PodTasks, kopf's event handler and our informer.

It starts an API server and prints for each way: CPU per event, memory, and the number of objects that it knows after
objects were deleted while its watch was down and its resourceVersion had expired. docs/design/0002 quotes the figures.
"""

import asyncio
import json
import resource
import subprocess
import sys
import urllib.request
from pathlib import Path

from cluster import Form, up
from podtask.runtime import decode
from tests.harness import crd

OBJECTS = 2000
ROOT = Path(__file__).resolve().parents[1]


def follow_with_kopf() -> None:
    """Follow PodTasks with one event handler of kopf, with kopf's own storages switched off."""
    import kopf  # noqa: PLC0415 - the other way must not load it

    known: set[str] = set()

    class NoDiff(kopf.AnnotationsDiffBaseStorage):
        def build(self, **_: object) -> kopf.BodyEssence:
            return kopf.BodyEssence({})

        def fetch(self, **_: object) -> None:
            return None

    @kopf.on.startup()
    def configure(settings: kopf.OperatorSettings, **_: object) -> None:
        settings.persistence.diffbase_storage = NoDiff()
        settings.queueing.idle_timeout = 0.05
        settings.watching.chunk_size = 500
        settings.posting.enabled = False

    @kopf.on.event("podtask.dev", "v1alpha1", "podtasks")
    async def on_event(event: dict[str, object], uid: str, **_: object) -> None:
        (known.discard if event["type"] == "DELETED" else known.add)(uid)
        _Reporter.count += 1

    async def run() -> None:
        reporter = asyncio.create_task(_report(lambda: len(known)))
        try:
            await kopf.operator(clusterwide=True, standalone=True)
        finally:
            print(json.dumps({"ended": True}), flush=True)
            reporter.cancel()

    import logging  # noqa: PLC0415

    logging.disable(logging.ERROR)
    asyncio.run(run())


def follow_with_informer() -> None:
    """Follow PodTasks with the informer of the controller."""
    import os  # noqa: PLC0415

    from podtask.kube.http import HttpClient  # noqa: PLC0415
    from podtask.kube.informer import Informer  # noqa: PLC0415
    from tests.kubeconfig import connect  # noqa: PLC0415

    where = connect(Path(os.environ["KUBECONFIG"]))

    async def run() -> None:
        informer = Informer(
            HttpClient(where),
            decode.PODTASKS,
            decode=decode.decode_task,
            codec=decode.TASK_CODEC,
            meta=decode.task_meta,
            index=lambda _: None,
            on_change=lambda *_: _Reporter.add(),
            on_undecodable=lambda *_: None,
        )
        await asyncio.gather(informer.run(), _report(lambda: len(informer)))

    asyncio.run(run())


class _Reporter:
    count = 0

    @classmethod
    def add(cls) -> None:
        cls.count += 1


async def _report(known: object) -> None:
    """Answer each line on standard input with the number of known objects and events, CPU and memory."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        used = resource.getrusage(resource.RUSAGE_SELF)
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024  # noqa: ASYNC240 - memory, not disk
        facts = {"known": known(), "events": _Reporter.count, "cpu": used.ru_utime + used.ru_stime, "rss_mib": rss}  # type: ignore[operator]
        print(json.dumps(facts), flush=True)


class Follower:
    """One way to follow, as a process of its own."""

    def __init__(self, way: str, kubeconfig: Path) -> None:
        command = [sys.executable, "-m", "bench.watch", way]
        environment = {"KUBECONFIG": str(kubeconfig), "PYTHONPATH": "controller:hack:.", "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def facts(self) -> dict[str, float]:
        """Ask for its figures; `{"ended": 1}` where the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"ended": 1}
        facts: dict[str, float] = json.loads(self.process.stdout.readline() or '{"ended": 1}')
        return facts

    async def until(self, events: int, seconds: float = 60) -> dict[str, float]:
        """Ask until it has received `events` events."""
        facts: dict[str, float] = {}
        for _ in range(int(seconds * 10)):
            facts = self.facts()
            if "ended" in facts or facts["events"] >= events:
                break
            await asyncio.sleep(0.1)
        return facts


async def measure() -> None:
    """Compare the ways, one after another, on the same API server."""
    cluster = up("bench-watch", Form.LIGHT)
    crd.install(cluster)
    try:
        for way in ("informer", "kopf", "informer", "kopf"):
            print(way, json.dumps(await _one(way, cluster)), flush=True)
    finally:
        cluster.down()


async def _one(way: str, cluster: object) -> dict[str, object]:
    kubectl = cluster.kubectl  # type: ignore[attr-defined]
    follower = Follower(way, cluster.kubeconfig)  # type: ignore[attr-defined]
    await asyncio.sleep(2)
    begin = await follower.until(0)
    kubectl("apply", "--server-side", "-f", "-", stdin=_manifests())
    filled = await follower.until(int(begin["events"]) + OBJECTS)
    per_event = (filled["cpu"] - begin["cpu"]) / (filled["events"] - begin["events"]) * 1000
    result: dict[str, object] = {"cpu_ms_per_event": round(per_event, 3), "rss_mib": filled["rss_mib"]}
    # The follower is stopped; half of the objects are deleted, the history is compacted, and it continues.
    follower.process.send_signal(19)
    kubectl("delete", "podtasks", "-l", "half=a", "--wait=false")
    _compact(cluster)
    cluster.restart("apiserver")  # type: ignore[attr-defined]
    cluster.wait_ready()  # type: ignore[attr-defined]
    follower.process.send_signal(18)
    await asyncio.sleep(20)
    after = follower.facts()
    result["after_gap"] = "the process ended" if "ended" in after else f"{after['known']:.0f} of {OBJECTS // 2} real"
    follower.process.kill()
    follower.process.wait()
    kubectl("delete", "podtasks", "--all", "--wait=false")
    return result


def _manifests() -> str:
    return "\n---\n".join(
        json.dumps(
            {
                "apiVersion": "podtask.dev/v1alpha1",
                "kind": "PodTask",
                "metadata": {"name": f"t{i}", "labels": {"half": "ab"[i % 2]}},
                "spec": {"image": "i", "env": [{"name": f"E{n}", "value": "x" * 40} for n in range(10)]},
            }
        )
        for i in range(OBJECTS)
    )


def _compact(cluster: object) -> None:
    """Compact etcd's history, so that every older resourceVersion has expired."""
    command = Path(f"/proc/{cluster.pid('etcd')}/cmdline").read_text().split("\0")  # type: ignore[attr-defined]
    etcd = next(w.split("=", 1)[1] for w in command if w.startswith("--listen-client-urls"))

    def call(path: str, body: dict[str, object]) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(etcd + path, json.dumps(body).encode(), method="POST")  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as reply:  # noqa: S310
            found: dict[str, dict[str, str]] = json.load(reply)
            return found

    revision = call("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
    call("/v3/kv/compaction", {"revision": revision, "physical": True})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["kopf"]:
            follow_with_kopf()
        case ["informer"]:
            follow_with_informer()
        case _:
            asyncio.run(measure())
