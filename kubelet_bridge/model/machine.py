"""One container of a Pod that has a VM for each: where it stands in the Pod."""

from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a container is for."""

    INIT = "init"
    """Runs to completion before those after it begin."""

    SIDECAR = "sidecar"
    """An init container that stays (KEP-753)."""

    MAIN = "main"


class Machine(msgspec.Struct, frozen=True):
    """One container, as a machine.

    Attributes:
        container: its name.
        path: of the container in the Pod, such as ``spec.initContainers[1]``.
        volumes: which of ``spec.volumes`` it has, by their index there.
    """

    container: str
    role: Role
    path: str
    volumes: tuple[int, ...] = ()
