"""Logs: structlog over the standard library, rendered and written by a thread: nobody waits for a disk or a pipe.

Records of libraries go through the same renderer. What is bound with ``bound`` appears on every line of that task, on
theirs too.
"""

import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

import msgspec
import structlog
from structlog.contextvars import bound_contextvars, get_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor

from kubelet_bridge.telemetry.redact import redact

QUEUE_LIMIT = 20_000
_QUIET = ("asyncio", "aiohttp.access", "aiosqlite", "kubernetes_asyncio")


class LogFormat(StrEnum):
    """How lines look: for people, or for a log collector."""

    CONSOLE = "console"
    JSON = "json"


def bound(**values: str) -> AbstractContextManager[None]:
    """Put ``values`` (pod, uid, vm, …) on every log line of the current task until the context is left."""
    return bound_contextvars(**values)


@contextmanager
def logging_to(
    stream: TextIO | None = None, *, level: int = logging.INFO, form: LogFormat = LogFormat.CONSOLE
) -> Iterator[None]:
    """Send all logs of the process to ``stream`` (standard error) until the context is left; then they are flushed.

    Flushing waits for the writing thread: enter and leave it outside the event loop.
    """
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    writer = logging.StreamHandler(stream or sys.stderr)
    writer.setFormatter(_formatter(form, colors=writer.stream.isatty()))
    listener = logging.handlers.QueueListener(lines, writer)
    handler = _ContextQueueHandler(lines)
    root, before = logging.getLogger(), _Before()
    _configure_structlog()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    listener.start()
    try:
        yield
    finally:
        before.restore()
        listener.stop()


class _Before:
    """The logging set-up as it was, so that leaving leaves nothing behind."""

    def __init__(self) -> None:
        root = logging.getLogger()
        self._handlers, self._level = list(root.handlers), root.level
        self._others = {name: logging.getLogger(name).level for name in _QUIET}
        self._structlog = structlog.get_config()

    def restore(self) -> None:
        logging.captureWarnings(capture=False)
        root = logging.getLogger()
        root.handlers[:] = self._handlers
        root.setLevel(self._level)
        for name, level in self._others.items():
            logging.getLogger(name).setLevel(level)
        structlog.configure(**self._structlog)


class _ContextQueueHandler(logging.handlers.QueueHandler):
    """Hands records over as they are; the standard one renders them at once, on the caller's thread.

    The bound values live in context variables, which the writing thread cannot see: they travel with the record.
    """

    def __init__(self, lines: "queue.SimpleQueue[logging.LogRecord]") -> None:
        super().__init__(lines)
        self._lines = lines
        self._lost = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        if not isinstance(record.msg, dict):
            record.msg, record.args = record.getMessage(), None  # its arguments may change before they are rendered
            record.bound = get_contextvars()
        elif record.exc_info:
            record.msg["exc_info"] = record.exc_info  # it says only True, which means nothing on another thread
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        # A reader that has stopped must cost lines, not memory without end.
        if self._lines.qsize() >= QUEUE_LIMIT:
            self._lost += 1
            return
        if self._lost:
            record.lost, self._lost = self._lost, 0
        self._lines.put(record)


def _configure_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers are made at import, before this is called
    )


def _formatter(form: LogFormat, *, colors: bool) -> logging.Formatter:
    shared: list[Processor] = [
        _from_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
    ]
    match form:
        case LogFormat.JSON:
            shared.append(structlog.processors.JSONRenderer(serializer=_to_json))
        case LogFormat.CONSOLE:
            # The default exception formatter prints local variables, tokens among them, where ``rich`` is installed.
            plain = structlog.dev.plain_traceback
            shared.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain))
    return structlog.stdlib.ProcessorFormatter(processors=shared)


def _from_record(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The time of the record, not of its rendering, and the values bound where it was made."""
    record: logging.LogRecord = event["_record"]
    moment = datetime.fromtimestamp(round(record.created, 3), UTC).isoformat(timespec="milliseconds")
    found = {"timestamp": moment, **getattr(record, "bound", {}), **event}
    if (lost := getattr(record, "lost", 0)) > 0:
        found["lines_lost_before"] = lost
    return found


def _to_json(event: EventDict, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
