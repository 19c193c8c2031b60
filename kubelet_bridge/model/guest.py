"""What a guest's agent tells, as values: made by ``guest``, kept in the store, read by ``translate``."""

from datetime import datetime

import msgspec


class GuestTermination(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one run of a container ended; ``signal`` is 0 unless one ended it."""

    exit_code: int
    reason: str
    signal: int = 0
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = ""


class GuestContainer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One container in the guest: waiting unless ``started_at`` (running) or ``termination`` (ended) is set."""

    name: str
    waiting_reason: str = ""
    waiting_message: str = ""
    started_at: datetime | None = None
    termination: GuestTermination | None = None
    last_termination: GuestTermination | None = None
    restart_count: int = 0
    ready: bool = False
    started: bool = False
    image: str = ""
    image_id: str = ""
    container_id: str = ""


class GuestReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a Pod's containers, whole.

    Attributes:
        number: grows with each report of one guest.
        boot: uid of the VMI it was made in.
        finished: nothing runs, and nothing will be started again.
        reason: with ``message``, what keeps all of it from running.
    """

    number: int
    boot: str
    manifest_revision: str = ""
    containers: list[GuestContainer] = []
    init_containers: list[GuestContainer] = []
    ephemeral_containers: list[GuestContainer] = []
    finished: bool = False
    reason: str = ""
    message: str = ""


class GuestFilesystem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One that is mounted in the guest; bytes."""

    device: str
    mount_point: str
    type: str = ""
    total: int = 0
    used: int = 0


class GuestFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the guest says of its operating system."""

    agent_version: str = ""
    agent_digest: str = ""
    boot_id: str = ""
    hostname: str = ""
    os_id: str = ""
    os_version_id: str = ""
    os_pretty_name: str = ""
    kernel_release: str = ""
    machine: str = ""
    timezone: str = ""
    init_system: str = ""
    addresses: list[str] = []
    users: list[str] = []
    filesystems: list[GuestFilesystem] = []
    cpus: int = 0
    memory: int = 0


class Guest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Pod's guest as of now.

    Attributes:
        connected: its agent's stream stands.
        outdated: its agent speaks the protocol of an older bridge than this one supports in full.
        since: when ``connected`` last changed; None when no agent was ever seen.
        report: the last one; it stays when the connection ends.
    """

    connected: bool = False
    outdated: bool = False
    since: datetime | None = None
    facts: GuestFacts = GuestFacts()
    report: GuestReport | None = None
