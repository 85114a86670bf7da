"""Messages of the API server, and the decision that follows."""

import pytest

from podtask.api.reasons import Reason
from podtask.core.create_errors import Decision, classify_create_error
from podtask.core.snapshot import CreateError
from tests.builders import at

POD = 'pods "etl-1" is forbidden: '
ANSWERS = {
    "quota used up": (
        403,
        POD + "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        "wait",
        "QuotaExceeded",
    ),
    "quota wants limits": (
        403,
        POD + "failed quota: q: must specify limits.memory for: base",
        "fail",
        "AdmissionDenied",
    ),
    "no ServiceAccount": (
        403,
        POD + 'error looking up service account default/x: serviceaccount "x" not found',
        "wait",
        "ConfigError",
    ),
    "no PriorityClass": (403, POD + "no PriorityClass with name high was found", "wait", "ConfigError"),
    "no RuntimeClass": (403, POD + 'pod rejected: RuntimeClass "gvisor" not found', "wait", "ConfigError"),
    "Pod Security": (
        403,
        POD + 'violates PodSecurity "restricted:latest": runAsNonRoot != true',
        "fail",
        "AdmissionDenied",
    ),
    "LimitRange maximum": (
        403,
        POD + "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        "fail",
        "AdmissionDenied",
    ),
    "LimitRange without a limit": (
        403,
        POD + "maximum cpu usage per Pod is 1.  No limit is specified",
        "fail",
        "AdmissionDenied",
    ),
    "LimitRange ratio": (
        403,
        POD + "cpu max limit to request ratio per Container is 2, but provided ratio is 4",
        "fail",
        "AdmissionDenied",
    ),
    "priority by number": (
        403,
        POD + "the integer value of priority (5) must not be provided in pod spec",
        "fail",
        "AdmissionDenied",
    ),
    "OpenShift's constraints": (
        403,
        POD + "unable to validate against any security context constraint: []",
        "fail",
        "AdmissionDenied",
    ),
    "node selector of the namespace": (
        403,
        POD + "pod node label selector conflicts with its namespace node label selector",
        "fail",
        "AdmissionDenied",
    ),
    "image policy": (
        403,
        POD + "image policy webhook backend denied one or more images: no",
        "fail",
        "AdmissionDenied",
    ),
    "webhook with its default code": (400, 'admission webhook "a.b" denied the request: no', "fail", "AdmissionDenied"),
    "webhook with a code of its own": (
        403,
        'admission webhook "a.b" denied the request: no',
        "fail",
        "AdmissionDenied",
    ),
    "webhook that fails": (
        500,
        'Internal error occurred: failed calling webhook "a.b": connection refused',
        "wait",
        "CreateRefused",
    ),
    "policy, by default 422": (
        422,
        POD + "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        "fail",
        "AdmissionDenied",
    ),
    "our own policy, for another account than this controller's": (
        403,
        POD + "ValidatingAdmissionPolicy 'pod-marks.a.b.podtask.dev' with binding 'c' denied request: only PodTask's",
        "wait",
        "CreateRefused",
    ),
    "our own policy, for a closed namespace": (
        403,
        POD + "ValidatingAdmissionPolicy 'controller-pods.a.b.podtask.dev' with binding 'c' denied request: no PodTask",
        "fail",
        "AdmissionDenied",
    ),
    "policy, as forbidden": (
        403,
        POD + "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        "fail",
        "AdmissionDenied",
    ),
    "namespace goes": (
        403,
        POD + "unable to create new content in namespace x because it is being terminated",
        "stop",
        "CreateRefused",
    ),
    "namespace gone": (404, 'namespaces "x" not found', "stop", "CreateRefused"),
    "unknown field": (
        400,
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo"',
        "fail",
        "InvalidPodTemplate",
    ),
    "invalid value": (
        422,
        'Pod "x" is invalid: spec.containers[0].image: Required value',
        "fail",
        "InvalidPodTemplate",
    ),
    "too large": (413, "Request entity too large: limit is 3145728", "fail", "InvalidPodTemplate"),
    "no right to create": (403, 'pods is forbidden: User "u" cannot create resource "pods"', "wait", "CreateRefused"),
    "unknown 403": (403, "who knows", "wait", "CreateRefused"),
    "unknown 404": (404, "who knows", "wait", "CreateRefused"),
}


@pytest.mark.parametrize(("code", "message", "verdict", "reason"), ANSWERS.values(), ids=ANSWERS)
def test_judge(code: int, message: str, verdict: str, reason: str) -> None:
    got = classify_create_error(CreateError(attempt=1, code=code, reason="", message=message, at=at(0)))
    assert got == (Decision(verdict), Reason(reason))
