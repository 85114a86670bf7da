"""The end of a life, judged: every task is over, all is tidied away, and the status reports what happened."""

from podtask.api import names
from podtask.api.v1alpha1.values import TERMINAL
from podtask.core import xcom_collection

from . import oracle
from .draws import TaskScript
from .etcd import Object
from .fate import result_of
from .faults import Faults
from .laws import Laws
from .model import Server
from .truth import Run, Truth

_GIVES_UP = {"TotalDeadlineExceeded", "ScheduleDeadlineExceeded", "NameConflict", "PodDeleted"}
"""Reasons that end a task whatever its budget."""


class Verdict:
    """Judges one task at the end of its life."""

    def __init__(self, laws: Laws, truth: Truth, faults: Faults, script: TaskScript, task: Object) -> None:
        self._laws = laws
        self._truth = truth
        self._faults = faults
        self._script = script
        self._task = task
        self._spec: Object = task["spec"]
        self._status: Object = task.get("status", {})
        self._uid: str = task["metadata"]["uid"]
        self._skewed = script.habits.skew != 0

    def judge(self, *, exists: bool) -> None:
        """Judge everything that can be judged; of a task that was deleted under way, little can."""
        phase = self._status.get("phase")
        if phase not in TERMINAL:
            if exists:
                self._breach(f"never ended: {phase}/{self._status.get('reason')}")
            return
        entries: list[Object] = self._status.get("attempts", [])
        self._judge_numbers(entries)
        for entry in entries:
            self._judge_entry(entry)
        self._judge_phase(entries)
        self._judge_result(entries)

    def _breach(self, sentence: str) -> None:
        self._laws.breach(f"{self._script.name} {sentence}")

    # ---- counting ----

    def _judge_numbers(self, entries: list[Object]) -> None:
        count = self._status.get("attemptCount", 0)
        numbers = [entry["number"] for entry in entries]
        if numbers != list(range(max(1, count - 19), count + 1)):
            self._breach(f"counts {count} attempts and lists {numbers}")
        made = {run.attempt for run in self._truth.of(self._uid) if not (run.overtaken or run.stripped)}
        if self._may_miss_last:
            made -= {count + 1}
        if made - set(range(1, count + 1)):
            self._breach(f"counts {count} attempts, and had {sorted(made)}")
        if len(numbers) == count:
            self._judge_tally("failureCount", sum(e.get("outcome") == "Failed" for e in entries))
            self._judge_tally(
                "disruptionCount", sum(map(self._is_costly, entries)), sum(map(self._is_blurred, entries))
            )

    @property
    def _may_miss_last(self) -> bool:
        """Whether a task may have been ended by a controller that could not know of its newest Pod.

        Another controller made it a moment ago, or its create's reply was lost. It is stopped when the watch brings it.
        """
        faults = self._faults
        in_doubt = (
            faults.controllers > 1 or faults.deaths or faults.reply_lost or faults.reply_lost_late or faults.timed_out
        )
        return bool(in_doubt) and (self._status["phase"] == "Cancelled" or self._status["reason"] in _GIVES_UP)

    def _judge_tally(self, name: str, expected: int, blurred: int = 0) -> None:
        if not expected - blurred <= self._status.get(name, 0) <= expected:
            self._breach(f"{name} is {self._status.get(name, 0)} and should be {expected}")

    def _is_costly(self, entry: Object) -> bool:
        """A disruption costs budget where the API had told that the main container ran."""
        run = self._truth.runs.get(entry.get("podUID", ""))
        told = run is not None and run.told_started
        return entry.get("outcome") == "Disrupted" and told and entry.get("reason") != "QueueEvicted"

    def _is_blurred(self, entry: Object) -> bool:
        """Whether it may have been told only after the end was recorded, the Pod having been given up by force."""
        return self._is_costly(entry) and self._truth.runs[entry["podUID"]].forced

    # ---- each attempt ----

    def _judge_entry(self, entry: Object) -> None:
        run = self._truth.runs.get(entry.get("podUID", ""))
        if run is None or run.is_foreign:
            self._breach(f"reports attempt {entry['number']}, which had no Pod")
            return
        allowed = oracle.by_policy(oracle.outcomes(run, skewed=self._skewed), entry, self._spec)
        if self._was_lost(run) and self._spec.get("xcom", {}).get("onLost") == "Retry" and "Succeeded" in allowed:
            allowed |= {"Disrupted"}
        if entry.get("outcome") not in allowed:
            self._breach(
                f"tells attempt {entry['number']} as {entry.get('outcome')}/{entry.get('reason')}, "
                f"and it was one of {sorted(allowed)}: {run}"
            )
        if entry.get("outcome") == "NoResult" and not self._may_lack_result(run):
            self._breach(f"says {entry.get('reason')} of a result that was there: {run}")

    # ---- the phase ----

    def _judge_phase(self, entries: list[Object]) -> None:
        phase, reason = self._status["phase"], self._status.get("reason")
        last: Object = entries[-1] if entries else {}
        succeeded = [entry["number"] for entry in entries if entry.get("outcome") == "Succeeded"]
        if bool(succeeded) != (phase == "Succeeded") or (succeeded and succeeded[-1] != last["number"]):
            self._breach(f"is {phase}, and attempts {succeeded} succeeded")
        if phase == "Cancelled" and self._uid not in self._truth.cancels and "cancelTime" not in self._spec:
            self._breach("is Cancelled, and no user asked for it")
        if phase == "Skipped" and not oracle.has_action(last, self._spec, "Skip"):
            self._breach("is Skipped, and no rule says so")
        if phase == "Failed" and not self._may_give_up(last):
            self._breach(f"gave up with budget left: {reason}, {last}")

    def _may_give_up(self, last: Object) -> bool:
        status, spec = self._status, self._spec
        return (
            status.get("failureCount", 0) > spec.get("backoffLimit", 0)
            or status.get("disruptionCount", 0) > spec.get("disruptionLimit", 3)
            or status.get("reason") in _GIVES_UP
            or (status.get("reason") == "AdmissionDenied" and self._script.habits.denied)
            or last.get("outcome") == "NoResult"
            or oracle.has_action(last, spec, "Fail")
        )

    # ---- the result ----

    def _judge_result(self, entries: list[Object]) -> None:
        xcom: Object | None = self._status.get("xcom")
        if self._status["phase"] != "Succeeded":
            return
        wanted = "xcom" in self._spec
        if wanted != (xcom is not None):
            self._breach(f"has the result {xcom}")
            return
        if xcom is None:
            return
        run = self._truth.runs[entries[-1]["podUID"]]
        if xcom["state"] == "Collected":
            written = (result_of(self._script.habits, run.attempt) or b"").decode()
            if (xcom["value"], xcom["attempt"]) != (written, run.attempt):
                self._breach(
                    f"collected {xcom['value'][:80]!r} of attempt {xcom['attempt']}, and {written[:80]!r} was written"
                )
        elif xcom["state"] == "Empty":
            if run.result and run.exit_code == 0:
                self._breach("says that there is no result, and there was one")
        elif not self._may_lack_result(run):
            self._breach(f"lost a result that was there: {xcom}, {run}")

    def _may_lack_result(self, run: Run) -> bool:
        required = self._spec.get("xcom", {}).get("required") and not run.result
        return bool(required or self._was_lost(run))

    def _was_lost(self, run: Run) -> bool:
        """Whether the result did not reach the API, or not in the time that is allowed by a clock that may jump."""
        jumps = any(by > 0 for _, by in self._faults.jumps)
        interrupted = run.forced or bool(run.disrupted) or run.stopped_at is not None
        unread = run.log_lost or run.log_failures >= xcom_collection.LOG_READS
        return run.sidecar_failed or unread or run.delivered_at is None or jumps or interrupted


def _is_the_users(server: Server, run: Run, pod: Object) -> bool:
    """Whether no watch can bring a Pod to its controller: its label is off, and its task is over or gone.

    Until then the status says that the Pod is there, and it gets its labels back.
    """
    if not run.unmarked or names.LABEL_TASK_UID in pod["metadata"].get("labels", {}):
        return False
    phases = (
        t.get("status", {}).get("phase") for t in server.etcd.scan("podtasks") if t["metadata"]["uid"] == run.task_uid
    )
    return next(phases, None) in {None, *TERMINAL}


def judge_life(
    laws: Laws, server: Server, truth: Truth, faults: Faults, tasks: list[tuple[TaskScript, Object]]
) -> None:
    """Judge every task, and what is left in the cluster."""
    for script, task in tasks:
        exists = server.etcd.get(("podtasks", task["metadata"]["namespace"], task["metadata"]["name"])) is not None
        Verdict(laws, truth, faults, script, task).judge(exists=exists)
    for pod in server.etcd.scan("pods"):
        meta = pod["metadata"]
        run = truth.runs[meta["uid"]]
        if run.is_foreign or _is_the_users(server, run, pod):
            continue
        if meta.get("finalizers"):
            laws.breach(f"Pod {meta['name']} was never let go")
        elif pod["status"]["phase"] not in {"Succeeded", "Failed"} and "ownerReferences" in meta:
            laws.breach(f"Pod {meta['name']} was left running")
