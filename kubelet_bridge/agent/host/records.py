"""A run's files, and how they are written: what a shim and its agent, and the agent after that, tell each other.

In the run's directory, which survives a boot: ``run.json`` (by the driver, before anything runs), ``started.json`` or
``error.json``, and ``exit.json`` (by the shim). In memory: the order itself, with secrets in its environment; whoever
removes that file owns the run, so an order is carried out once or never.
"""

# ruff: noqa: PTH105, PTH108, PTH118, PTH123 - a shim has no room for pathlib

from __future__ import annotations

import json
import os

RUN = "run.json"
STARTED = "started.json"
ERROR = "error.json"
EXIT = "exit.json"
TERMINATION = "termination-log"
SPEC_SUFFIX = ".spec"
SOCKET_SUFFIX = ".sock"

# No record of an end is larger.
_ROOM = 1024

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def write(directory: str, name: str, document: dict[str, object]) -> None:
    """Write a JSON object in one step, readable by its owner only; it survives a power cut."""
    staged = _write_beside(directory, name, json.dumps(document).encode())
    os.replace(staged, os.path.join(directory, name))


def reserve(directory: str, name: str) -> None:
    """Take the space for what ``write`` will have to say, while there is some: a disk may be full by then."""
    try:
        _write_beside(directory, name, b" " * _ROOM)
    except OSError:
        pass  # it is full already


def _write_beside(directory: str, name: str, content: bytes) -> str:
    """Write over what is there, so that space that was taken before is enough."""
    staged = os.path.join(directory, "." + name)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return staged


def read(directory: str, name: str) -> dict[str, object] | None:
    """A JSON object; None when it is not there, or is none."""
    try:
        with open(os.path.join(directory, name), "rb") as file:
            document = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def claim(path: str) -> bool:
    """Take the order that is in this file; False when somebody else has."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def boot_id() -> str:
    """The kernel's number of this boot; empty where it tells none."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
