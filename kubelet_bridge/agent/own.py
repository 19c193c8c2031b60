"""What the agent is itself: its version, its file and that file's digest."""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path

from kubelet_bridge import __version__

VERSION = __version__


@functools.lru_cache(maxsize=1)
def own_file() -> Path | None:
    """The zip file this runs from; None when it runs from a source tree."""
    path = Path(sys.argv[0])
    if path.suffix != ".pyz" or not path.is_file():
        return None
    return path.resolve()


@functools.lru_cache(maxsize=1)
def own_digest() -> str:
    """Its SHA-256, as it was when the agent started; empty when it runs from a source tree."""
    path = own_file()
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
