"""The guests on this host: which launcher Pod each runs in, and until when it may take to stop."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from kubelet_bridge.devcluster.devhost.runtime import Guest

Key = tuple[str, str]
"""Namespace and name of a VirtualMachineInstance."""


class Stop(msgspec.Struct, frozen=True):
    """A guest was asked to stop and is switched off at ``deadline``. ``graceful``: it got any time at all."""

    deadline: datetime
    graceful: bool


class Domain(msgspec.Struct):
    """A guest and its surroundings."""

    guest: Guest
    launcher: str
    stop: Stop | None = None

    @property
    def key(self) -> Key:
        """Whose guest it is."""
        return (self.guest.spec.namespace, self.guest.spec.name)


class Domains:
    """By uid of the VirtualMachineInstance: at most one guest of each is on a host."""

    def __init__(self, clock: Callable[[], datetime], hangs: Callable[[Guest], bool]) -> None:
        self._clock = clock
        self._hangs = hangs
        self._domains: dict[str, Domain] = {}
        self._by_launcher: dict[str, str] = {}
        self._by_key: dict[Key, set[str]] = {}
        self._ended: set[str] = set()
        self._on_ended: list[Callable[[str], None]] = []
        self._on_stopping: list[Callable[[Domain], None]] = []

    def subscribe(
        self, *, ended: Callable[[str], None] | None = None, stopping: Callable[[Domain], None] | None = None
    ) -> None:
        """Call ``ended`` with the uid of a launcher that has nothing left to run.

        And ``stopping`` with a guest that is asked to stop for the first time.
        """
        self._on_ended += [ended] if ended else []
        self._on_stopping += [stopping] if stopping else []

    def add(self, guest: Guest, launcher: str) -> Domain:
        """``guest`` runs in the launcher Pod with uid ``launcher``."""
        domain = Domain(guest, launcher)
        self._domains[guest.spec.uid] = domain
        self._by_launcher[launcher] = guest.spec.uid
        self._by_key.setdefault(domain.key, set()).add(guest.spec.uid)
        return domain

    def get(self, uid: str) -> Domain | None:
        """The guest of a VirtualMachineInstance."""
        return self._domains.get(uid)

    def of(self, key: Key) -> list[Domain]:
        """The guests of every incarnation of a VirtualMachineInstance."""
        return [self._domains[uid] for uid in sorted(self._by_key.get(key, ()))]

    def running_of(self, key: Key) -> Guest | None:
        """The guest of that name that runs."""
        return next((domain.guest for domain in self.of(key) if domain.guest.state.running), None)

    def in_launcher(self, launcher: str) -> Domain | None:
        """The guest that runs in a launcher Pod."""
        uid = self._by_launcher.get(launcher)
        return None if uid is None else self._domains.get(uid)

    def all(self) -> list[Domain]:
        """Every guest."""
        return list(self._domains.values())

    async def stop(self, domain: Domain, grace: float) -> None:
        """Ask a guest to stop and switch it off after ``grace`` seconds; asking again can only shorten that."""
        deadline = self._clock() + timedelta(seconds=grace)
        first = domain.stop is None
        if domain.stop is None or deadline < domain.stop.deadline:
            domain.stop = Stop(deadline, grace > 0 or (domain.stop is not None and domain.stop.graceful))
        if not first:
            return
        for stopping in self._on_stopping:
            stopping(domain)
        if grace > 0 and not self._hangs(domain.guest):
            await domain.guest.shutdown()

    async def enforce(self, domain: Domain) -> float | None:
        """Switch a guest off whose time is up, else tell how many seconds are left; None when it need not stop."""
        if domain.stop is None or domain.guest.state.exit is not None:
            return None
        left = (domain.stop.deadline - self._clock()).total_seconds()
        if left > 0:
            return left
        await domain.guest.kill()
        return None

    def forget(self, domain: Domain) -> None:
        """A guest has ended and that is reported: its launcher may go."""
        uid = domain.guest.spec.uid
        if self._domains.pop(uid, None) is not None:
            del self._by_launcher[domain.launcher]
            self._by_key[domain.key].remove(uid)
            if not self._by_key[domain.key]:
                del self._by_key[domain.key]
        self.end(domain.launcher)

    def end(self, launcher: str) -> None:
        """A launcher Pod has nothing (more) to run."""
        if launcher not in self._ended:
            self._ended.add(launcher)
            for ended in self._on_ended:
                ended(launcher)

    def has_ended(self, launcher: str) -> bool:
        """Whether a launcher Pod has nothing more to run."""
        return launcher in self._ended

    def launcher_gone(self, launcher: str) -> None:
        """The Pod does not exist any more: nothing needs to be remembered of it."""
        self._ended.discard(launcher)
