"""Who reached into which guest: a line when a session begins and one when it ends, and the figures of both.

Arguments, input and output never appear: they hold secrets. The API server calls with its own certificate on behalf of
everybody, so for what came through it ``user`` is the API server; its own audit log says for whom.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from kubelet_bridge.errors import BridgeError
from kubelet_bridge.kubelet_api.gate import USER
from kubelet_bridge.model.access import User

log = structlog.get_logger("kubelet_bridge.audit")

ObserveSession = Callable[[str, int, int, int], None]
"""Told of what is done, +1 or -1 open sessions, and at the end of the bytes received from and sent to the client."""
OBSERVE_SESSION = web.AppKey[ObserveSession]("observe-session")

_LONGEST = 200  # characters of what a client chose
_numbers = itertools.count(1)


@dataclass(eq=False)
class Transfer:
    """What has gone through a session so far; whoever moves the bytes counts them.

    Attributes:
        received: bytes from the client (input), without framing.
        sent: bytes to the client (output), without framing.
        result: how it ended, where that is more than that it ended: ``exit code 7``.
    """

    received: int = 0
    sent: int = 0
    result: str = ""


@contextmanager
def audited(request: web.Request, what: str, subject: str, command: Sequence[str] = ()) -> Iterator[Transfer]:
    """Note that ``what`` (exec, attach, port-forward, …) is done to ``subject`` (namespace/pod/container).

    Of ``command`` the first word is noted.
    """
    user = request.get(USER) or User()
    line = log.bind(
        session=next(_numbers), what=what, subject=shown(subject), user=shown(user.name),
        groups=[shown(group) for group in user.groups], method=request.method, peer=request.remote or "",
    )  # fmt: skip
    if command:
        line = line.bind(command=shown(_word(command[0])))
    if forwarded := request.headers.get("X-Forwarded-For"):
        line = line.bind(forwarded_for=shown(forwarded))
    observe = request.config_dict.get(OBSERVE_SESSION, _unobserved)
    transfer, begun, ended = Transfer(), time.monotonic(), "error"
    line.info("audit", stage="begin")
    observe(what, 1, 0, 0)
    try:
        yield transfer
        ended = transfer.result or "ok"
    except asyncio.CancelledError:
        ended = transfer.result or "cancelled"
        raise
    except BridgeError as error:
        ended = error.reason
        raise
    finally:
        observe(what, -1, transfer.received, transfer.sent)
        line.info(
            "audit", stage="end", ended=ended, seconds=round(time.monotonic() - begun, 3),
            received_bytes=transfer.received, sent_bytes=transfer.sent,
        )  # fmt: skip


def shown(text: str) -> str:
    """``text`` as a log may show it: one line, bounded, nothing that a terminal would obey."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return "".join(one if one.isprintable() else "�" for one in cut)


def _word(argument: str) -> str:
    """The first word: some put a whole command into one argument. Of ``PASSWORD=…`` the name."""
    return "".join(argument.split(maxsplit=1)[:1]).partition("=")[0]


def _unobserved(_what: str, _opened: int, _received: int, _sent: int) -> None:
    return
