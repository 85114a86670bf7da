"""Every way a request can fail, as a tree; the caller's reaction decides the class, not the number.

    ApiError                     anything the API server, or the way to it, refused
    ├── BadRequest         400   the object cannot be understood (strict field validation names the field)
    ├── Unauthorized       401   the token is gone or expired
    ├── Forbidden          403   RBAC, quota, Pod Security, LimitRange, webhooks: told apart by the message
    ├── NotFound           404
    ├── Conflict           409   the object exists, or has another resourceVersion or uid
    ├── Gone               410   the resourceVersion or page token is too old: list again
    ├── Invalid            422   the object is understood and not valid
    ├── TooManyRequests    429   come back after `retry_after` seconds
    ├── ServerError        5xx   come back later
    ├── NotLeader                refused by ourselves before anything was sent: another process may be at work
    └── TransportError           no HTTP status at all
        ├── ReplyLost            the request was sent, the reply never came: the write may have happened
        └── WatchSilent          a watch that said nothing for too long

Messages are the server's own, cut at 1,024 characters; bodies that are not a Kubernetes `Status` are not repeated.
"""

from typing import ClassVar

MESSAGE_LIMIT = 1024


class ApiError(Exception):
    """A request failed. `reason` and `message` are those of the server's `Status` object, where it sent one."""

    status: ClassVar[int] = 0

    def __init__(self, message: str, *, reason: str = "", code: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message[:MESSAGE_LIMIT])
        self.message = message[:MESSAGE_LIMIT]
        self.reason = reason
        self.code = code or self.status
        self.retry_after = retry_after
        """Seconds the server asked us to wait, or None."""


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
    """The Lease is not ours, or not for long enough: nothing was sent."""


class TransportError(ApiError):
    """No HTTP status. A write that ends with this very class was not sent; a read's answer may also be unreadable."""


class ReplyLost(TransportError):
    """The request was sent and its reply never came. A write may have happened."""


class WatchSilent(TransportError):
    """A watch on which nothing came, not even a bookmark, for longer than it may be silent."""


_BY_STATUS: dict[int, type[ApiError]] = {
    kind.status: kind
    for kind in (BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Gone, Invalid, TooManyRequests)
}


def from_status(code: int, reason: str, message: str, retry_after: float | None = None) -> ApiError:
    """Choose the class for an HTTP status."""
    kind = _BY_STATUS.get(code, ServerError if code >= 500 else ApiError)
    return kind(message, reason=reason, code=code, retry_after=retry_after)
