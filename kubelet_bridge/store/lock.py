"""Two bridges on one state directory would promise the same Pods twice, so a directory is locked while one uses it."""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from kubelet_bridge.errors import SettingsError, Terminal

LOCK_NAME = "bridge.lock"


class StateLock:
    """An ``flock`` on a file in the directory: the kernel drops it when the process dies, however it dies.

    The file holds the owner's pid for people, and stays when the lock is released: removing it would let two others
    each lock a file of that name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Make the directory, private, and lock it. Blocks on disk: not for the event loop.

        Raises:
            Terminal: another process has it (``StateDirInUse``).
            SettingsError: the directory cannot be made or used.
        """
        try:
            _make_private(self._directory)
            descriptor = os.open(self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"state directory {self._directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            message = f"state directory {self._directory} is in use by process {owner or '(unknown)'}"
            raise Terminal(message, reason="StateDirInUse") from error
        except OSError as error:  # a file system without locks
            os.close(descriptor)
            raise SettingsError(f"state directory {self._directory} cannot be locked: {error.strerror}") from error
        with contextlib.suppress(OSError):  # the pid is a courtesy: a full disk must not keep us from serving
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have the directory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        directory.chmod(0o700)
