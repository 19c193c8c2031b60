"""What a shim is told to run."""

from __future__ import annotations

import json


class Spec:
    """An order, as the driver writes it; every field is described where it is read.

    Attributes:
        argv, env, cwd, uid, gid, groups: the command, complete; nothing is taken from the shim's own environment.
        tty, stdin, stdin_once: as in a container.
        log, log_bytes, log_files: where the log goes, and how large each of how many files may be.
        cgroups: directories made for the command, to be joined; empty: it stays in the shim's own.
        memory_events: the directory that counts OOM kills, and no others than ours; empty: none does.
        grace: seconds the command has when the shim itself is told to end.
        no_new_privileges, drop_capabilities, read_only_root: what the kernel is to forbid.
        termination_path: where the command may leave a message; it is led to the run's own file.
    """

    __slots__ = (
        "argv",
        "cgroups",
        "cwd",
        "drop_capabilities",
        "env",
        "gid",
        "grace",
        "groups",
        "log",
        "log_bytes",
        "log_files",
        "memory_events",
        "no_new_privileges",
        "read_only_root",
        "stdin",
        "stdin_once",
        "termination_path",
        "tty",
        "uid",
    )

    argv: list[str]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    tty: bool
    stdin: bool
    stdin_once: bool
    log: str
    log_bytes: int
    log_files: int
    cgroups: list[str]
    memory_events: str
    grace: float
    no_new_privileges: bool
    drop_capabilities: list[int]
    read_only_root: bool
    termination_path: str

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            setattr(self, name, fields[name])

    def dump(self) -> str:
        """As JSON."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, text: bytes) -> Spec:
        """From JSON.

        Raises:
            ValueError, KeyError: it is not an order.
        """
        return cls(**json.loads(text))
