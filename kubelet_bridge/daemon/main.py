"""The life of the process: logging, signals, exit code."""

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator

import structlog

from kubelet_bridge import __version__
from kubelet_bridge.aio import failpoints
from kubelet_bridge.aio.parts import run_parts
from kubelet_bridge.daemon.assembly import assemble
from kubelet_bridge.errors import BridgeError
from kubelet_bridge.settings import Settings
from kubelet_bridge.telemetry.logging import LogFormat, logging_to

log = structlog.get_logger(__name__)


def main(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (0), or until a part fails (1)."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    failed: list[BridgeError] = []
    with logging_to(level=level, form=LogFormat(settings.log_format)):
        try:
            asyncio.run(_run(settings))
        except* BridgeError as group:
            failed = list(leaves(group))
            for error in failed:
                log.error("stopped", reason=error.reason, error=str(error))
    for error in failed:
        print(f"kubelet-bridge: {error}", file=sys.stderr)  # noqa: T201 - one line for whoever started us
    return 1 if failed else 0


async def _run(settings: Settings) -> None:
    if misspelt := failpoints.undeclared():
        log.warning("no such fail points", names=misspelt)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("kubelet-bridge", version=__version__, node=settings.node_name)
    assembly = await assemble(settings)
    await run_parts(assembly.parts(), stop)
    log.info("stopped cleanly; virtual machines keep running")


def leaves(group: BaseExceptionGroup[BridgeError]) -> Iterator[BridgeError]:
    """The errors in a group, however deep."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error
