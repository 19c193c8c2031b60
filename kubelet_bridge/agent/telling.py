"""What the agent says on standard error: one line per event, without tokens and values of variables."""

from __future__ import annotations

import logging
import sys

LONGEST = 16 * 1024
"""Bytes of what is told the bridge in one message of an event or a state: a probe's output is the largest."""

_log = logging.getLogger("kubelet_bridge.agent")


class _OneLine(logging.Formatter):
    """systemd and OpenRC add the time; a traceback becomes one line too."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return " | ".join(plain(line.strip()) for line in text.splitlines() if line.strip())


def set_up() -> None:
    """Make ``logging`` write to standard error in our form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # a full disk behind standard error must not end the agent
    for talkative in ("asyncio", "grpclib", "hpack", "h2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def plain(text: str) -> str:
    """Without what a terminal would obey: the text may come from the bridge, a registry or a container."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def clip(message: str) -> str:
    """At most ``LONGEST`` bytes of it."""
    data = message.encode()
    return message if len(data) <= LONGEST else data[:LONGEST].decode("utf-8", "ignore")


def tell(message: str) -> None:
    """Say one line."""
    _log.info("%s", message)
