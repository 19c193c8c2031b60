"""The faults that are set on this host, kept in a file so that a restart of the host does not heal it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from kubelet_bridge.aio import files
from kubelet_bridge.devcluster.devhost.faults import Effects, Fault, FaultKind, effects


class FaultBook:
    """The rules in force; subscribers are told of every change of them.

    ``spent`` is called with a rule that was to be used once, and has been.
    """

    def __init__(self, file: Path, spent: Callable[[Fault], Awaitable[None]]) -> None:
        self._file = file
        self._spent = spent
        self._rules: dict[str, Fault] = {}
        self._subscribers: list[Callable[[], None]] = []
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read what an earlier process left."""
        try:
            rules = msgspec.json.decode(await files.read(self._file), type=list[Fault])
        except FileNotFoundError:
            return
        self._rules = {rule.id: rule for rule in rules}

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` after each change."""
        self._subscribers.append(changed)

    @property
    def rules(self) -> list[Fault]:
        """In the order they were set."""
        return list(self._rules.values())

    @property
    def unschedulable(self) -> bool:
        """Whether the host is to be cordoned."""
        return any(rule.kind is FaultKind.UNSCHEDULABLE for rule in self._rules.values())

    async def set(self, rule: Fault) -> None:
        """Add ``rule``, or replace the one of its id."""
        self._rules[rule.id] = rule
        await self._changed()

    async def clear(self, rule_id: str | None = None) -> int:
        """Take one rule back, or all of them; how many that were."""
        gone = [key for key in self._rules if rule_id in (None, key)]
        for key in gone:
            del self._rules[key]
        if gone:
            await self._changed()
        return len(gone)

    async def used(self, rule: Fault) -> None:
        """``rule`` has done its work on somebody."""
        if rule.once and await self.clear(rule.id):
            await self._spent(rule)

    def effects(self, namespace: str, name: str, images: Iterable[str]) -> Effects:
        """What is to happen to one guest."""
        return effects(self._rules.values(), namespace, name, images)

    async def _changed(self) -> None:
        for changed in self._subscribers:
            changed()
        async with self._writing:
            await files.write_private(self._file, msgspec.json.encode(self.rules))
