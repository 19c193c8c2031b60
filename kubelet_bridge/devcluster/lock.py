"""One `dev up` or `dev down` at a time on a cluster's directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kubelet_bridge.devcluster.layout import Layout
from kubelet_bridge.errors import Terminal


@contextmanager
def exclusive(layout: Layout) -> Iterator[None]:
    """Hold the cluster's lock, which also marks the directory as ours to delete.

    Raises:
        Terminal: somebody else holds it, or the directory is somebody else's.
    """
    _check_ours(layout)
    layout.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with layout.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Terminal(f"another `kubelet-bridge dev up` or `down` is at work in {layout.directory}") from None
        if not _is_still(layout, file.fileno()):
            raise Terminal(f"{layout.directory} was removed just now by another `kubelet-bridge dev down`")
        layout.make()
        yield


def is_ours(layout: Layout) -> bool:
    """Whether the directory holds a development cluster, whole or not."""
    return layout.lock.exists()


def _check_ours(layout: Layout) -> None:
    if layout.directory.exists() and not is_ours(layout) and any(layout.directory.iterdir()):
        raise Terminal(f"{layout.directory} is not empty and holds no development cluster; choose another --directory")


def _is_still(layout: Layout, handle: int) -> bool:
    try:
        return os.path.samestat(layout.lock.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
