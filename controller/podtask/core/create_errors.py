"""What an error of the API server for the create of a Pod means: retry, fail the task, or stop creating.

Most errors are 403 Forbidden and differ only by their message, so this is one table. A test compares it with a real
API server and its admission plugins. The create is retried after an error that is not in the table, until the schedule
deadline; the status has the error's message.
"""

import enum
import re
from typing import NamedTuple

from ..api.reasons import Reason
from .snapshot import CreateError


class Decision(enum.Enum):
    """What to do after an error."""

    WAIT = "wait"
    FAIL = "fail"
    STOP = "stop"


class Classified(NamedTuple):
    """The decision, and the reason for the status."""

    decision: Decision
    reason: Reason


class _Row(NamedTuple):
    code: int
    """HTTP status code; 0 matches any."""
    pattern: re.Pattern[str]
    classified: Classified


_WAIT_CONFIG = Classified(Decision.WAIT, Reason.CONFIG_ERROR)
_DENIED = Classified(Decision.FAIL, Reason.ADMISSION_DENIED)
_INVALID = Classified(Decision.FAIL, Reason.INVALID_POD_TEMPLATE)
_POLICY = Classified(Decision.FAIL, Reason.POLICY_DENIED)
_STOPPED = Classified(Decision.STOP, Reason.CREATE_REFUSED)
_UNKNOWN = Classified(Decision.WAIT, Reason.CREATE_REFUSED)


def _row(code: int, pattern: str, classified: Classified) -> _Row:
    return _Row(code, re.compile(pattern, re.IGNORECASE | re.DOTALL), classified)


_TABLE: tuple[_Row, ...] = (
    # The chart's own ValidatingAdmissionPolicy, installed for another service account. The task is not the cause.
    _row(0, r"ValidatingAdmissionPolicy 'pod-marks\.[^']*\.podtask\.dev' .* denied request", _UNKNOWN),
    # Webhooks and policies choose the code and the message. A webhook that sets no code answers 400.
    _row(0, r"admission webhook .* denied the request", _DENIED),
    _row(0, r"(Validating|Mutating)AdmissionPolicy .* denied request", _DENIED),
    _row(403, r"because it is being terminated", _STOPPED),
    _row(403, r"exceeded quota", Classified(Decision.WAIT, Reason.QUOTA_EXCEEDED)),
    # "failed quota: q: must specify limits.memory": a retry cannot succeed.
    _row(403, r"failed quota", _DENIED),
    _row(403, r"error looking up service account|serviceaccount .* not found", _WAIT_CONFIG),
    _row(403, r"no PriorityClass with name", _WAIT_CONFIG),
    _row(403, r"RuntimeClass .* not found", _WAIT_CONFIG),
    _row(403, r"violates PodSecurity", _DENIED),
    _row(403, r"(maximum|minimum) .* usage per|max limit to request ratio", _DENIED),
    _row(403, r"the (integer|string) value of \w+ .* must not be provided", _DENIED),
    _row(403, r"unable to validate against any security context constraint", _DENIED),
    _row(403, r"image policy webhook backend denied", _DENIED),
    _row(403, r"conflicts? with its namespace", _DENIED),
    _row(404, r"namespaces? .* not found", _STOPPED),
    # Our own message: `no_pod` has checked before that the conflict is temporary.
    _row(409, r"still has the name", Classified(Decision.WAIT, Reason.NAME_TAKEN)),
    _row(400, r".*", _INVALID),
    _row(413, r".*", _INVALID),
    _row(422, r".*", _INVALID),
)


def is_refusal(code: int, message: str) -> bool:
    """Return whether an HTTP error concerns the Pod (a refusal), and not the API server's own state.

    A webhook that fails is a 500, but concerns the Pod. 401 and 429 are retried.
    """
    if code >= 500:
        return "webhook" in message
    return code >= 400 and code not in {401, 429}


def classify_create_error(error: CreateError) -> Classified:
    """Return the first matching row of the table, or the decision to wait."""
    # Our own error, made without a request. Its message quotes the task, so it is not matched against the table.
    if error.reason == Reason.POLICY_DENIED:
        return _POLICY
    for row in _TABLE:
        if row.code in {0, error.code} and row.pattern.search(error.message):
            return row.classified
    return _UNKNOWN
