"""How a guest's stream ends."""

from enum import StrEnum


class Status(StrEnum):
    """With which gRPC status a stream ends."""

    OK = "OK"
    UNAVAILABLE = "UNAVAILABLE"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"


class SessionEnd(Exception):
    """The stream is over; ``status`` and ``message`` are what the agent is told."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Overrun(Exception):
    """The guest sent more than it may."""
