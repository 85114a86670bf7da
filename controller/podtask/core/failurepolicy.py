"""The failure policy: ordered rules, the first match decides (as podFailurePolicy of a Job, KEP-3329)."""

from ..api.v1alpha1.values import FailurePolicyAction, Operator
from .pod import Pod
from .snapshot import FailurePolicySpec, RuleSpec
from .termination import Termination


def match(
    policy: FailurePolicySpec, pod: Pod | None, termination: Termination, container: str
) -> FailurePolicyAction | None:
    """Return the action of the first rule that matches the end of an attempt, or None."""
    known = {str(action): action for action in FailurePolicyAction}
    for rule in policy.rules:
        # A rule with an action of a newer API version is skipped.
        if rule.action in known and _matches(rule, pod, termination, container):
            return known[rule.action]
    return None


def _matches(rule: RuleSpec, pod: Pod | None, termination: Termination, container: str) -> bool:
    if rule.on_exit_codes is not None:
        code = _exit_code(pod, termination, rule.on_exit_codes.container_name or container, container)
        listed = code in rule.on_exit_codes.values
        return bool(code) and listed == (rule.on_exit_codes.operator == Operator.IN)
    if rule.on_reasons is not None:
        return termination.reason in rule.on_reasons.values
    if pod is None:
        return False
    found = {(c.type, c.status) for c in pod.status.conditions}
    return any((c.type, c.status) in found for c in rule.on_pod_conditions)


def _exit_code(pod: Pod | None, termination: Termination, wanted: str, container: str) -> int | None:
    if wanted == container:
        return termination.exit_code
    status = pod.container(wanted) if pod else None
    terminated = status.state.terminated if status else None
    return terminated.exit_code if terminated else None
