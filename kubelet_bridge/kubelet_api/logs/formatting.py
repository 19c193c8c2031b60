"""Records of a log as the client gets them: what is too old left out, timestamps, pieces of a line put together.

Source: ``ReadLogs`` and ``logWriter`` in ``k8s.io/cri-client/pkg/logs``: the last records are counted first (whoever
reads the files does), then those before ``since`` are left out, then the bytes are counted.
"""

import time

from kubelet_bridge.kubelet_api.logs.options import LogOptions, Stream
from kubelet_bridge.model import logrecord

_UNWANTED = {Stream.ALL: b"", Stream.STDOUT: logrecord.STDERR, Stream.STDERR: logrecord.STDOUT}


class LogFormatter:
    """Fed with blocks of whole records, in order (see ``model.logrecord``).

    Args:
        since: records before this moment are left out (ns since the epoch).

    Attributes:
        full: the client has as many bytes as it asked for.
    """

    def __init__(self, options: LogOptions, *, since: int = 0) -> None:
        self._timestamps, self._stream, self._since = options.timestamps, options.stream, since
        self._room = options.limit_bytes
        self._line_goes_on = False
        self._second, self._prefix = b"", b""

    @property
    def full(self) -> bool:
        """Nothing more will be given out."""
        return self._room == 0

    def feed(self, block: bytes) -> bytes:
        """What the client gets for ``block``."""
        plain = not (self._timestamps or self._since) and self._stream is Stream.ALL
        text = logrecord.text(block) if plain else None
        if text is None:
            text = self._chosen(block)
        else:
            self._line_goes_on = False
        if self._room is not None:
            text = text[: self._room]
            self._room -= len(text)
        return text

    def _chosen(self, block: bytes) -> bytes:
        since, goes_on = self._since, self._line_goes_on
        unwanted = _UNWANTED[self._stream]
        text = list[bytes]()
        for moment, stream, flag, data in logrecord.records(block):
            if int(moment) >= since and stream != unwanted:
                if self._timestamps and not goes_on:
                    text.append(self._timestamp(moment))
                text.append(data)
                if flag != logrecord.PARTIAL:
                    text.append(b"\n")
            goes_on = flag == logrecord.PARTIAL and data != b""
        self._line_goes_on = goes_on
        return b"".join(text)

    def _timestamp(self, moment: bytes) -> bytes:
        """RFC 3339 with nine digits, in UTC, and a blank; ``moment`` in ns since the epoch."""
        second, rest = moment[:-9], moment[-9:]
        if second != self._second or not self._prefix:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(int(second or 0))).encode()
        return b"%b%bZ " % (self._prefix, rest.rjust(9, b"0"))
