"""What can go wrong, told apart by what to do about it: try again (``Transient``), or say why not (``Terminal``)."""


class BridgeError(Exception):
    """Root of every error this project raises on purpose.

    Attributes:
        reason: UpperCamelCase, as in Kubernetes events and conditions.
    """

    def __init__(self, message: str, *, reason: str = "Error") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


class Transient(BridgeError):
    """Worth another try, after ``retry_after`` seconds when the other side named them."""

    def __init__(self, message: str, *, reason: str = "Transient", retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after


class Terminal(BridgeError):
    """Will not get better by itself: somebody has to change something."""


class SettingsError(Terminal):
    """A setting is unknown, missing or of the wrong form; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="InvalidSettings")


class InvalidName(Terminal):
    """No object can have this name, and put into a URL it would lead somewhere else: it was not sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="InvalidName")


class ApiError(BridgeError):
    """The API server answered with ``status`` >= 400 and a metav1.Status of ``reason`` and ``message``."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, reason=reason or "ApiError")
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


class NotFound(ApiError):
    """404."""


class AlreadyExists(ApiError):
    """409 with reason AlreadyExists."""


class Conflict(ApiError):
    """409: a precondition (uid, resourceVersion, field ownership) does not hold."""


class Gone(ApiError):
    """410: the resourceVersion is too old to watch from."""


class Unauthorized(ApiError):
    """401."""


class Forbidden(ApiError):
    """403: RBAC, quota or an admission policy; the message tells which."""


class Invalid(ApiError):
    """400 or 422: the API server or a webhook refused the object itself."""


class TooManyRequests(ApiError, Transient):
    """429, with the delay the server asked for."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        ApiError.__init__(self, status, reason, message, retry_after=retry_after or 1.0)


class ApiUnavailable(ApiError, Transient):
    """No answer, or 5xx: nothing may be concluded from it about what exists."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        ApiError.__init__(self, status, reason, message, retry_after=retry_after)


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def api_error(status: int, reason: str, message: str, *, retry_after: float | None = None) -> ApiError:
    """The error class for an HTTP status, as a metav1.Status gives it (status 0: no answer at all)."""
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message)
    if status == 0 or status >= 500:
        return ApiUnavailable(status, reason or "Unavailable", message, retry_after=retry_after)
    return _BY_STATUS.get(status, ApiError)(status, reason, message, retry_after=retry_after)
