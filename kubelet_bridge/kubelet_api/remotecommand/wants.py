"""Which streams a request asks for."""

from collections.abc import Mapping

import msgspec


class NoStreams(ValueError):
    """A request for nothing; worded as a kubelet words it, and answered with 400."""


class Wants(msgspec.Struct, frozen=True):
    """The streams of one exec or attach; with a terminal there is no ``stderr`` of its own."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


def wanted(query: Mapping[str, str]) -> Wants:
    """What the kubelet API's query asks for (cri-streaming ``NewOptions``): ``1`` is the only yes.

    Raises:
        NoStreams: none of the three.
    """
    stdin, stdout, stderr, tty = (query.get(name) == "1" for name in ("input", "output", "error", "tty"))
    stderr = stderr and not tty
    if not (stdin or stdout or stderr):
        raise NoStreams("you must specify at least 1 of stdin, stdout, stderr")
    return Wants(stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)
