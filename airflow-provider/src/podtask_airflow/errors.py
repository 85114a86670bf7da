"""Every way a request to the cluster can fail, as a tree, each with the one sentence that tells a person what to do.

    ApiError                     what stands in a task's log is `str(error)`
    ├── AccessError              the connection itself: no kubeconfig, no such context, a credential plugin that fails
    ├── Unauthorized       401   the credentials are not accepted, and fresh ones neither (also a 403 to nobody)
    ├── Forbidden          403   RBAC, quota, a webhook, a namespace that is going
    ├── NotFound           404   the object or its namespace is not there
    │   └── CrdMissing     404   the cluster does not know what a PodTask is
    ├── Conflict           409   the name is taken
    ├── Expired            410   the resourceVersion is too old to go on from: read anew
    ├── Invalid            400, 422   the API server refuses what the object says
    │   └── PatchTestFailed      a JSON patch's `test` did not hold: somebody else is the waiter now
    ├── TooManyRequests    429
    ├── Unreachable        5xx, or no answer at all
    │   └── Untrusted            the certificate is not the one that the connection names; waiting does not help
    └── Unexpected               anything else that went wrong on the way: a defect, here or in the client

The caller's reaction decides the class, and `lasting` says whether trying again can help.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

MESSAGE_LIMIT = 1024


class ApiError(Exception):
    """A request failed. `reason` and `message` are the server's own, where it sent a Kubernetes `Status`."""

    lasting: ClassVar[bool] = True
    """Whether the same request will fail again until somebody changes something."""

    def __init__(
        self, message: str, *, doing: str = "", status: int = 0, reason: str = "", retry_after: float | None = None
    ) -> None:
        self.message = message.strip()[:MESSAGE_LIMIT]
        self.doing = doing or "speak to the cluster"
        """What was tried, to follow "may not" or "trying to"."""
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        """Seconds that the server asked for, or None."""
        super().__init__(self.message)

    @property
    def sentence(self) -> str:
        """What happened and what to do, in one sentence."""
        return f"The API server answered {self.status} on trying to {self.doing}: {self.message}"

    def __str__(self) -> str:
        return self.sentence


class AccessError(ApiError):
    """The connection leads nowhere; the message is a sentence already."""

    @property
    def sentence(self) -> str:
        return self.message


class Unauthorized(ApiError):
    """401, also with fresh credentials; or 403 because none were sent."""

    @property
    def sentence(self) -> str:
        return (
            "The API server does not accept the connection's credentials "
            f"({self.status} on trying to {self.doing}): renew the token or repair the credential plugin of the "
            "Airflow connection, and check that it names this cluster."
        )


class Forbidden(ApiError):
    """403."""

    @property
    def sentence(self) -> str:
        if " cannot " in self.message:
            return (
                f"The connection's account may not {self.doing}: give it PodTask's role for Airflow in that namespace "
                f"(docs/airflow/connections.md lists the rights); the API server says: {self.message}"
            )
        return f"The cluster refuses to {self.doing} (403): {self.message}"


class NotFound(ApiError):
    """404 of an object, or of the namespace it would live in."""

    @property
    def sentence(self) -> str:
        if self.message.startswith("namespaces "):
            return f"That namespace does not exist (on trying to {self.doing}): create it, or correct the task's."
        return f"There is nothing there on trying to {self.doing}, or it was deleted meanwhile: {self.message}"


class CrdMissing(NotFound):
    """404 of the collection: PodTask is not installed there."""

    @property
    def sentence(self) -> str:
        return (
            "This cluster does not know PodTasks (podtask.dev/v1alpha1): install PodTask's Helm chart in it, or point "
            "the Airflow connection at the cluster that has it."
        )


class Conflict(ApiError):
    """409."""

    @property
    def sentence(self) -> str:
        return f"Somebody else was faster on trying to {self.doing}: {self.message}"


class Expired(ApiError):
    """410."""

    lasting = False

    @property
    def sentence(self) -> str:
        return f"The version to go on from is too old on trying to {self.doing}: {self.message}"


class Invalid(ApiError):
    """400 and 422."""

    @property
    def sentence(self) -> str:
        return f"The API server refuses what the task's arguments made (on trying to {self.doing}): {self.message}"


class PatchTestFailed(Invalid):
    """422 of a JSON patch whose `test` did not hold."""

    @property
    def sentence(self) -> str:
        return f"Nothing was changed on trying to {self.doing}, as the object is not as expected: {self.message}"


class TooManyRequests(ApiError):
    """429."""

    lasting = False

    @property
    def sentence(self) -> str:
        return f"The API server is too busy to {self.doing} (429): give it more room, or run fewer tasks at once."


class Unreachable(ApiError):
    """5xx, a connection that could not be made or was cut, or silence."""

    lasting = False

    @property
    def sentence(self) -> str:
        return (
            f"The API server gave no usable answer on trying to {self.doing}: check that it is up and that the "
            f"connection's address can be reached from here ({self.message})."
        )


class Untrusted(Unreachable):
    """TLS was refused."""

    lasting = True

    @property
    def sentence(self) -> str:
        return (
            "The API server's certificate does not fit the connection: correct the address or the certificate "
            f"authority in its kubeconfig ({self.message})."
        )


class Unexpected(ApiError):
    """A failure that nobody thought of. Whoever waits shall hear of it, instead of waiting for a thread that died."""

    @property
    def sentence(self) -> str:
        return f"A defect kept this process from trying to {self.doing}: {self.message}; its log has the traceback."


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
    """The error that a Kubernetes `Status` object stands for: a reply's body, or a watch's ERROR event."""
    status = int(document.get("code") or 0)
    message = str(document.get("message") or document.get("reason") or "no reason given")
    kind = _class_of(status, message)
    return kind(message, doing=doing, status=status, reason=str(document.get("reason") or ""), retry_after=retry_after)


def of_reply(status: int, body: bytes, *, doing: str, retry_after: float | None = None) -> ApiError:
    """The error that a reply stands for. A body that is no `Status` is a front end's own, and is not repeated."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        return of_status({**document, "code": status}, doing=doing, retry_after=retry_after)
    if status == 404 and body.strip() == b"404 page not found":
        return CrdMissing("404 page not found", doing=doing, status=status)
    kind = _class_of(status, "")
    return kind(f"HTTP {status} from something in front of it", doing=doing, status=status, retry_after=retry_after)


def _class_of(status: int, message: str) -> type[ApiError]:
    if status == 404 and "could not find the requested resource" in message:
        return CrdMissing
    if status == 403 and '"system:anonymous"' in message:
        return Unauthorized
    if status >= 500:
        return Unreachable
    return _CLASSES.get(status, ApiError)
