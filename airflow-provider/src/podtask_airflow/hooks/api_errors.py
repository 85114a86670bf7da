"""The ways in which a request to the API server fails. `str(error)` is the sentence that a task's log shows.

    ApiError
    ├── ClusterConfigError       the connection: no kubeconfig, no such context, a credential plugin that fails
    ├── Unauthorized       401   credentials rejected, renewed ones too (also a 403 for an anonymous request)
    ├── Forbidden          403   RBAC, quota, an admission webhook, a terminating namespace
    ├── NotFound           404   no such object or namespace
    │   └── CrdMissing     404   the cluster does not have the PodTask CRD
    ├── Conflict           409   the name is taken
    ├── Expired            410   resourceVersion too old: list again
    ├── Invalid            400, 422   the object was rejected
    │   └── PatchTestFailed      a `test` of a JSON patch failed: another try is the owner now
    ├── TooManyRequests    429
    ├── Unreachable        5xx, or no reply
    │   └── Untrusted            the server's certificate does not match the connection; waiting does not help
    └── Unexpected               any other exception: a bug in this package or in the kubernetes package

A class exists where callers react differently. `is_permanent` says whether a retry of the same request is useless.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

MESSAGE_LIMIT = 1024


class ApiError(Exception):
    """A request failed. `reason` and `message` are the server's, if it sent a Kubernetes `Status`."""

    is_permanent: ClassVar[bool] = True
    """Whether the same request fails again until something is changed in the cluster or the connection."""

    def __init__(
        self, message: str, *, doing: str = "", status: int = 0, reason: str = "", retry_after: float | None = None
    ) -> None:
        self.message = message.strip()[:MESSAGE_LIMIT]
        self.doing = doing or "send a request"
        """What was tried, as a verb phrase: "create PodTask n/x"."""
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        """Seconds that the server asked to wait, or None."""
        super().__init__(self.message)

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        return f"The API server answered {self.status} while trying to {self.doing}: {self.message}"

    def __str__(self) -> str:
        return self.sentence


class ClusterConfigError(ApiError):
    """No client can be made from the connection. The message is complete."""

    @property
    def sentence(self) -> str:
        return self.message


class Unauthorized(ApiError):
    """401, also with renewed credentials; or 403 because none were sent."""

    @property
    def sentence(self) -> str:
        return (
            f"The API server rejected the connection's credentials ({self.status} while trying to {self.doing}): renew "
            "the token, or repair the credential plugin of the Airflow connection, and check that it names the cluster."
        )


class Forbidden(ApiError):
    """403."""

    @property
    def sentence(self) -> str:
        if " cannot " in self.message:
            return (
                f"The connection's account may not {self.doing}: bind PodTask's role for Airflow in that namespace "
                f"(docs/airflow/connections.md lists the rights). API server: {self.message}"
            )
        return f"The API server denied the request to {self.doing} (403): {self.message}"


class NotFound(ApiError):
    """404 of an object, or of its namespace."""

    @property
    def sentence(self) -> str:
        if self.message.startswith("namespaces "):
            return f"The namespace does not exist (while trying to {self.doing}): create it, or correct the task's."
        return (
            f"Not found while trying to {self.doing}. It may have been deleted (kubectl delete, or its TTL). "
            f"API server: {self.message}"
        )


class CrdMissing(NotFound):
    """404 of the collection: PodTask is not installed."""

    @property
    def sentence(self) -> str:
        return (
            "The cluster does not have the PodTask CRD (podtask.dev/v1alpha1): install PodTask's Helm chart there, or "
            "point the Airflow connection at the cluster that has it."
        )


class Conflict(ApiError):
    """409."""

    @property
    def sentence(self) -> str:
        return f"The object exists already or was changed (409 while trying to {self.doing}): {self.message}"


class Expired(ApiError):
    """410."""

    is_permanent = False

    @property
    def sentence(self) -> str:
        return f"resourceVersion expired (410 while trying to {self.doing}); listing again: {self.message}"


class Invalid(ApiError):
    """400 and 422."""

    @property
    def sentence(self) -> str:
        return (
            f"The API server rejected the request to {self.doing} ({self.status}). Fix the task's arguments behind the "
            f"field it names: {self.message}"
        )


class PatchTestFailed(Invalid):
    """422 of a JSON patch one of whose `test` operations failed."""

    @property
    def sentence(self) -> str:
        return f"The PodTask has another owner or was replaced, so nothing was changed ({self.doing}): {self.message}"


class TooManyRequests(ApiError):
    """429."""

    is_permanent = False

    @property
    def sentence(self) -> str:
        return (
            f"The API server is overloaded (429 while trying to {self.doing}): give it more resources, or run fewer "
            "tasks at once."
        )


class Unreachable(ApiError):
    """5xx, a connection that could not be opened or was cut, or a timeout."""

    is_permanent = False

    @property
    def sentence(self) -> str:
        return (
            f"The API server did not give a usable reply while trying to {self.doing}: check that it is up and that "
            f"its address can be reached from here ({self.message})."
        )


class Untrusted(Unreachable):
    """TLS verification failed."""

    is_permanent = True

    @property
    def sentence(self) -> str:
        return (
            "The API server's certificate does not match the connection: correct the address or the certificate "
            f"authority in its kubeconfig ({self.message})."
        )


class Unexpected(ApiError):
    """Any other exception, raised to the waiting caller instead of ending a background thread silently."""

    @property
    def sentence(self) -> str:
        return (
            f"Internal error of airflow-provider-podtask while trying to {self.doing}: {self.message}. This is a bug; "
            "please report the traceback in this process's log."
        )


_CLASSES: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: TooManyRequests,
}


def of_status(document: dict[str, Any], *, doing: str, retry_after: float | None = None) -> ApiError:
    """Return the error for a Kubernetes `Status`: the body of a reply, or the object of a watch's ERROR event."""
    status = int(document.get("code") or 0)
    message = str(document.get("message") or document.get("reason") or "no reason given")
    kind = _class_of(status, message)
    return kind(message, doing=doing, status=status, reason=str(document.get("reason") or ""), retry_after=retry_after)


def of_reply(status: int, body: bytes, *, doing: str, retry_after: float | None = None) -> ApiError:
    """Return the error for a reply. A body that is not a `Status` comes from a proxy, and is not repeated."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        return of_status({**document, "code": status}, doing=doing, retry_after=retry_after)
    if status == 404 and body.strip() == b"404 page not found":
        return CrdMissing("404 page not found", doing=doing, status=status)
    kind = _class_of(status, "")
    return kind(f"HTTP {status} from a proxy in front of it", doing=doing, status=status, retry_after=retry_after)


def text_of(error: BaseException) -> str:
    """Return the message of an exception, or its class where it has none."""
    return str(error) or type(error).__name__


def _class_of(status: int, message: str) -> type[ApiError]:
    if status == 404 and "could not find the requested resource" in message:
        return CrdMissing
    if status == 403 and '"system:anonymous"' in message:
        return Unauthorized
    if status >= 500:
        return Unreachable
    return _CLASSES.get(status, ApiError)
