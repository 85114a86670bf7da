"""The errors of requests, as a tree of classes. Errors that callers handle alike have the same class.

    ApiError                     the API server refused the request, or was not reached
    ├── BadRequest         400   the object cannot be understood (strict field validation names the field)
    ├── Unauthorized       401   the token is gone or expired
    ├── Forbidden          403   RBAC, quota, Pod Security, LimitRange, webhooks: only the message differs
    ├── NotFound           404
    ├── Conflict           409   the object exists, or has another resourceVersion or uid
    ├── Gone               410   the resourceVersion or page token is too old: list again
    ├── Invalid            422   the object is understood and not valid
    ├── TooManyRequests    429   retry after `retry_after` seconds
    ├── ServerError        5xx   retry later
    ├── NotLeader                not sent, because this process may not be the leader
    └── TransportError           no HTTP status at all
        ├── ReplyLost            the request was sent and the reply did not arrive: the write may have been applied
        └── WatchSilent          a watch without an event or bookmark for too long

Messages are the server's, cut at 1,024 characters. Bodies that are not a Kubernetes `Status` are not included.
"""

from typing import ClassVar

MESSAGE_LIMIT = 1024


class ApiError(Exception):
    """A request failed. `reason` and `message` are those of the server's `Status` object, if it sent one."""

    status: ClassVar[int] = 0

    def __init__(self, message: str, *, reason: str = "", code: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message[:MESSAGE_LIMIT])
        self.message = message[:MESSAGE_LIMIT]
        self.reason = reason
        self.code = code or self.status
        self.retry_after = retry_after
        """The server's Retry-After in seconds, or None."""


class BadRequest(ApiError):
    """400."""

    status = 400


class Unauthorized(ApiError):
    """401."""

    status = 401


class Forbidden(ApiError):
    """403."""

    status = 403


class NotFound(ApiError):
    """404."""

    status = 404


class Conflict(ApiError):
    """409: `reason` is AlreadyExists or Conflict."""

    status = 409


class Gone(ApiError):
    """410."""

    status = 410


class Invalid(ApiError):
    """422."""

    status = 422


class TooManyRequests(ApiError):
    """429."""

    status = 429


class ServerError(ApiError):
    """Any 5xx."""

    status = 500


class NotLeader(ApiError):
    """Nothing was sent, because this process does not hold the Lease, or not for long enough."""


class TransportError(ApiError):
    """No HTTP status. A write that ends with exactly this class was not sent. A read's reply may also be unreadable."""


class ReplyLost(TransportError):
    """The request was sent, and its reply did not arrive. A write may have been applied."""


class WatchSilent(TransportError):
    """A watch without an event or bookmark for longer than `Limits.watch_silence_seconds`."""


_BY_STATUS: dict[int, type[ApiError]] = {
    kind.status: kind
    for kind in (BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Gone, Invalid, TooManyRequests)
}


def from_status(code: int, reason: str, message: str, retry_after: float | None = None) -> ApiError:
    """Return the error of an HTTP status."""
    kind = _BY_STATUS.get(code, ServerError if code >= 500 else ApiError)
    return kind(message, reason=reason, code=code, retry_after=retry_after)
