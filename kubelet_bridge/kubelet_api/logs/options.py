"""The query of ``/containerLogs``: v1.PodLogOptions, parsed and validated as a kubelet does.

Sources: ``getContainerLogs`` in ``pkg/kubelet/server/server.go``, the conversions in apimachinery's
``pkg/runtime/conversion.go``, ``ValidatePodLogOptions`` in ``pkg/apis/core/v1/validation``.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from kubelet_bridge.kubelet_api.logs.refused import LogsRefused

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LARGEST = 2**63 - 1
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1  # of years 1 and 9999, in UTC


class Stream(StrEnum):
    """Which output of the container; by the API server's default nobody may ask for one of the two."""

    ALL = "All"
    STDOUT = "Stdout"
    STDERR = "Stderr"


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What of a log is wanted, and how.

    Attributes:
        tail_lines: so many of the last records; None for all.
        since_seconds: not older than so many seconds.
        since_time: not before this moment, in ns since the epoch; never together with the former.
        limit_bytes: of the answer, timestamps included.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: int | None = None
    limit_bytes: int | None = None
    stream: Stream = Stream.ALL

    def since(self, now: int) -> int:
        """The moment before which nothing is wanted; both in ns since the epoch."""
        if self.since_seconds is not None:
            return max(0, now - self.since_seconds * 10**9)
        return max(0, self.since_time or 0)

    def query(self) -> dict[str, str]:
        """The options as the API server's ``pods/log`` takes them."""
        flags = {"follow": self.follow, "previous": self.previous, "timestamps": self.timestamps}
        numbers = {
            "tailLines": self.tail_lines, "sinceSeconds": self.since_seconds, "limitBytes": self.limit_bytes,
        }  # fmt: skip
        found = {name: "true" for name, value in flags.items() if value}
        found |= {name: str(value) for name, value in numbers.items() if value is not None}
        if self.since_time is not None:
            found["sinceTime"] = rfc3339(self.since_time)
        if self.stream is not Stream.ALL:
            found["stream"] = self.stream.value
        return found


def parse(query: Mapping[str, str]) -> LogOptions:
    """The options in a query, of which each name counts once.

    Raises:
        LogsRefused: 400 for what cannot be read, 422 for what cannot be.
    """
    query = {**query}
    if tail := query.get("tail"):
        query["tailLines"] = tail
        if tail == "all":
            del query["tailLines"]
    options = LogOptions(
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        tail_lines=_integer(query, "tailLines"),
        since_seconds=_integer(query, "sinceSeconds"),
        since_time=_time(query, "sinceTime"),
        limit_bytes=_integer(query, "limitBytes"),
        stream=_stream(query),
    )
    if not _is_valid(options):
        raise _invalid()
    return options


def rfc3339(time: int) -> str:
    """A moment in ns since the epoch, as RFC 3339 with all its nanoseconds; at most a year of four digits."""
    seconds, rest = divmod(min(max(time, _FIRST), _LAST), 10**9)
    moment = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
    return f"{moment.isoformat()}.{rest:09}Z"


def _is_valid(options: LogOptions) -> bool:
    tail, seconds, limit = options.tail_lines, options.since_seconds, options.limit_bytes
    if (tail is not None and tail < 0) or (limit is not None and limit < 1) or (seconds is not None and seconds < 1):
        return False
    if seconds is not None and options.since_time is not None:
        return False
    return options.stream is Stream.ALL or tail is None


def _flag(query: Mapping[str, str], name: str) -> bool:
    """Only absence, ``0`` and ``false`` are false; an empty value is true."""
    return name in query and query[name] != "0" and query[name].lower() != "false"


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if _INTEGER.fullmatch(text) is None or len(text) > 20 or not -_LARGEST - 1 <= int(text) <= _LARGEST:
        raise _unreadable()
    return int(text)


def _time(query: Mapping[str, str], name: str) -> int | None:
    """An empty value, and ``null`` of old clients, is the zero time: nothing is before it."""
    text = query.get(name)
    if text is None:
        return None
    if text in ("", "null"):
        return 0
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise _unreadable()
    whole, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(whole + zone.replace("Z", "+00:00"))
    except ValueError as error:
        raise _unreadable() from error
    since_epoch = moment - _EPOCH
    return (since_epoch.days * 86400 + since_epoch.seconds) * 10**9 + int((fraction or "").ljust(9, "0")[:9])


def _stream(query: Mapping[str, str]) -> Stream:
    try:
        return Stream(query.get("stream", Stream.ALL))
    except ValueError as error:
        raise _invalid() from error


def _unreadable() -> LogsRefused:
    return LogsRefused(400, '{"message": "Unable to decode query."}')


def _invalid() -> LogsRefused:
    return LogsRefused(422, '{"message": "Invalid request."}')
