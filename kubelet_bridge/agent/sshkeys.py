"""SSH keys of the platform's in a user's ``authorized_keys``; the user's own stay.

The user owns the directory, and we are root: so every step goes by an open directory, follows no link, and touches no
file of anybody else's. Whatever the user puts in the way, the worst that happens is that the keys are refused.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from kubelet_bridge.agent.defaultuser import default_user
from kubelet_bridge.agent.marked import BEGIN, END, with_block
from kubelet_bridge.agent.v1 import agent_pb2 as pb

NAME = "authorized_keys"
# Nobody has so many keys.
MAX_BYTES = 1024 * 1024
_STAGED = ".authorized_keys.kubelet-bridge"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class KeysRefused(Exception):
    """The keys were not written; the message says why."""


def apply_keys(wanted: pb.SshKeys) -> pb.KeysApplied:
    """Put the keys in place; never raises. Blocks: call it in a thread."""
    answer = pb.KeysApplied(revision=wanted.revision)
    try:
        write_keys(pwd.getpwnam(wanted.user or default_user()), list(wanted.lines))
    except KeyError:
        answer.error = f"the guest has no user {wanted.user or default_user()}"
    except KeysRefused as error:
        answer.error = str(error)
    except OSError as error:
        answer.error = f"authorized_keys cannot be written: {error}"
    return answer


def write_keys(user: pwd.struct_passwd, lines: list[str]) -> None:
    """Replace the platform's lines of this user; nothing is written when they are there already.

    Raises:
        KeysRefused: a line is no key, or something in the user's home is not what it should be.
        OSError: it cannot be written.
    """
    keys = [check_line(line) for line in lines if line.strip()]
    try:
        home = os.open(user.pw_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysRefused(f"{user.pw_name} has no home directory: {error.strerror}") from error
    try:
        if os.fstat(home).st_uid not in {user.pw_uid, 0}:
            raise KeysRefused(f"{user.pw_dir} belongs to somebody else")
        directory = _open_directory(home, user, make=bool(keys))
        if directory is None:
            return
        try:
            _replace(directory, user, keys)
        finally:
            os.close(directory)
    finally:
        os.close(home)
    _label(Path(user.pw_dir) / ".ssh")


def check_line(line: str) -> str:
    """One line of ``authorized_keys``.

    Raises:
        KeysRefused: it would be more than one, or a mark of ours.
    """
    text = line.strip()
    if text in {BEGIN, END} or any(ord(character) < 32 and character != "\t" for character in text):
        raise KeysRefused("a key has characters that no key has")
    return text


def _open_directory(home: int, user: pwd.struct_passwd, *, make: bool) -> int | None:
    """``.ssh``, as it should be; None when it is not there and need not be."""
    try:
        directory = os.open(".ssh", _DIRECTORY, dir_fd=home)
    except FileNotFoundError:
        if not make:
            return None
        os.mkdir(".ssh", 0o700, dir_fd=home)
        os.chown(".ssh", user.pw_uid, user.pw_gid, dir_fd=home, follow_symlinks=False)
        directory = os.open(".ssh", _DIRECTORY, dir_fd=home)
    except OSError as error:
        raise KeysRefused(f"{user.pw_dir}/.ssh is not a directory of the user's: {error.strerror}") from error
    try:
        _must_be_theirs(os.fstat(directory), user, f"{user.pw_dir}/.ssh")
        _give(directory, user, 0o700)
    except BaseException:
        os.close(directory)
        raise
    return directory


def _replace(directory: int, user: pwd.struct_passwd, keys: list[str]) -> None:
    before = _read(directory, user)
    after = with_block(_without(before or "", keys), keys)
    if after == (before or ""):
        return
    try:
        os.unlink(_STAGED, dir_fd=directory)
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(_STAGED, flags, 0o600, dir_fd=directory), "wb") as file:
        _give(file.fileno(), user, 0o600)
        file.write(after.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fsync(file.fileno())
    os.replace(_STAGED, NAME, src_dir_fd=directory, dst_dir_fd=directory)


def _without(text: str, keys: list[str]) -> str:
    """The text less these very lines: cloud-init wrote them at the first boot, and they must go when their key goes."""
    ours = set(keys)
    return "".join(line for line in text.splitlines(keepends=True) if line.strip() not in ours)


def _read(directory: int, user: pwd.struct_passwd) -> str | None:
    """What is in the file; None when there is none.

    Raises:
        KeysRefused: it is a link, a device, somebody else's, or has another name too.
    """
    path = f"{user.pw_dir}/.ssh/{NAME}"
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(NAME, flags, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeysRefused(f"{path} is not a file of the user's: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1 or state.st_size > MAX_BYTES:
            raise KeysRefused(f"{path} is not a plain file")
        _must_be_theirs(state, user, path)
        return file.read(MAX_BYTES).decode("utf-8", "surrogateescape")


def _must_be_theirs(state: os.stat_result, user: pwd.struct_passwd, path: str) -> None:
    """Root's own is not theirs: they can rename what root left in their home, and would be given it."""
    if state.st_uid != user.pw_uid:
        raise KeysRefused(f"{path} belongs to somebody else")


def _give(handle: int, user: pwd.struct_passwd, mode: int) -> None:
    """By its handle: a name could lead elsewhere by now."""
    state = os.fstat(handle)
    if (state.st_uid, state.st_gid) != (user.pw_uid, user.pw_gid):
        os.fchown(handle, user.pw_uid, user.pw_gid)
    if stat.S_IMODE(state.st_mode) != mode:
        os.fchmod(handle, mode)


def _label(directory: Path) -> None:
    """Under SELinux sshd reads only what has the right label; ``restorecon`` follows no links."""
    if Path("/sys/fs/selinux/enforce").exists() and shutil.which("restorecon"):
        command = ["restorecon", "-R", str(directory)]
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
