"""How the end of one Pod may be told in the status, given what really happened to it.

Mostly there is one answer. Where two things happened within the second to which Kubernetes' times are cut, or nodes'
clocks are off, either answer is true; where one of them never reached the API, only the other can be known.
"""

from collections.abc import Iterable

from .etcd import Object
from .truth import Run

_BLUR_SECONDS = 1.0
"""Times in the API are cut to seconds."""
_LAST_DELETE_SECONDS = 90.0
"""When the kubelet deletes a Pod for good the API server moves the time of the DELETE before to that moment: within a
minute and the grace an end and a deletion cannot be told apart by then."""
_BY_KUBELET = frozenset({"evict", "shutdown"})
_BY_STOP = {
    "RunDeadlineExceeded": "Failed",
    "StartDeadlineExceeded": "Failed",
    "ImagePullDeadlineExceeded": "Failed",
    "NodeLost": "Disrupted",
}
"""Outcomes of our own stops, where they are not Stopped."""


def outcomes(run: Run, *, skewed: bool) -> set[str]:
    """Give every outcome that tells the truth, before the failure policy."""
    if run.forced:
        return {"Succeeded", "Failed", "Disrupted", "Stopped", "NoResult"}
    if run.told_end_at is not None and run.by_itself:
        return _by_itself(run, skewed=skewed)
    allowed = _interrupted(run)
    late = (
        run.told_end_at is not None
        and run.ended_at is not None
        and run.told_end_at > run.ended_at + _LAST_DELETE_SECONDS
    )
    if run.deleted_for_good and run.exit_code and late:
        allowed |= {"Failed"}  # the node was silent for so long that the last DELETE came well after the end
    if run.unmarked:
        allowed |= {"Stopped"}
    if run.by_itself or (run.exit_code == 0 and not run.cut_off):
        # It ended while its node was silent, or cleanly on request: it may never be observed.
        allowed |= {"Succeeded", "NoResult"} if run.exit_code == 0 else {"Failed"}
    if skewed and run.ended_at is not None:
        allowed |= {"Failed"}
    return allowed


def _by_itself(run: Run, *, skewed: bool) -> set[str]:
    assert run.ended_at is not None
    own = {"Succeeded", "NoResult"} if run.exit_code == 0 and not run.oom else {"Failed"}
    moments = [*run.disrupted.values(), *([run.stopped_at] if run.stopped_at is not None else [])]
    blur = _LAST_DELETE_SECONDS if own == {"Failed"} and run.deleted_for_good else _BLUR_SECONDS
    before = [at for at in moments if skewed or at <= run.ended_at + blur]
    # Who asks a task to stop that has failed already, unseen, may be told that it was stopped. A success is lost only
    # where the kubelet had not told of it yet.
    told = run.told_end_at or 0.0
    unseen = run.stopped_at is not None and (own == {"Failed"} or told > run.stopped_at)
    # What the kubelet says of an eviction or a shutdown has no time: an end shortly before it looks the same.
    timeless = run.cut_off or (own == {"Failed"} and not _BY_KUBELET.isdisjoint(run.disrupted))
    if run.unmarked:
        own |= {"Stopped"}  # labels that do not stay on: the task ends when it is to, whatever its Pod has come to
    return own | _interrupted(run) if before or unseen or timeless else own


def _interrupted(run: Run) -> set[str]:
    allowed: set[str] = set()
    if run.disrupted or run.refused:
        allowed |= {"Disrupted"}
    if run.init_failed or run.start_error:
        allowed |= {"Failed"}
    for reason in run.stop_reasons:
        allowed |= {_BY_STOP.get(reason, "Stopped")}
    return allowed


def by_policy(allowed: set[str], entry: Object, spec: Object) -> set[str]:
    """Give what the failure policy makes of these outcomes."""
    actions = set(_actions(entry, spec.get("failurePolicy", {}).get("rules", [])))
    result = set(allowed)
    if allowed & {"Failed", "Disrupted", "NoResult"}:
        result |= {"Ignored"} if "Ignore" in actions else set()
        result |= {"Failed"} if "Retry" in actions else set()
    return result


def has_action(entry: Object, spec: Object, action: str) -> bool:
    """Whether a rule with this action may have matched the end of an attempt."""
    return action in set(_actions(entry, spec.get("failurePolicy", {}).get("rules", [])))


def _actions(entry: Object, rules: list[Object]) -> Iterable[str]:
    for rule in rules:
        codes = rule.get("onExitCodes", {}).get("values", ())
        reasons = rule.get("onReasons", {}).get("values", ())
        if entry.get("exitCode") in codes or entry.get("reason") in reasons:
            yield rule["action"]
