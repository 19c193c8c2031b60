"""Failures on demand: which, and for whom; set for a pattern of names, or asked for by the name of an image."""

import fnmatch
import re
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from kubelet_bridge.errors import Terminal

IMAGE_HOST = "fault.test"


class FaultKind(StrEnum):
    """What can be made to go wrong.

    ``HANG`` ignores the power button, ``NEVER_READY`` keeps the launcher unready, ``UNSCHEDULABLE`` cordons the host.
    Of storage, by the name of a claim: ``PROVISION_ERROR`` makes no volume, ``IMPORT_ERROR`` ends what fills it with an
    error, ``IMPORT_STALL`` keeps that from getting on.
    """

    PULL_ERROR = "pull-error"
    UNSCHEDULABLE = "unschedulable"
    CRASH = "crash"
    SHUTDOWN = "shutdown"
    NEVER_READY = "never-ready"
    HANG = "hang"
    PROVISION_ERROR = "provision-error"
    IMPORT_ERROR = "import-error"
    IMPORT_STALL = "import-stall"


class Fault(msgspec.Struct, frozen=True):
    """One rule.

    Attributes:
        target: ``NAMESPACE/NAME`` of VirtualMachines (or other Pods, or claims), as shell patterns.
        after: seconds after a guest's power-on; for ``CRASH`` and ``SHUTDOWN``.
        once: the rule goes once it was used.
    """

    kind: FaultKind
    target: str = "*/*"
    after: float = 0.0
    once: bool = False
    id: str = ""

    def matches(self, namespace: str, name: str) -> bool:
        """Whether it is meant for this one."""
        return fnmatch.fnmatchcase(f"{namespace}/{name}", self.target)


class Effects(msgspec.Struct, frozen=True):
    """What is to happen to one guest; None or False where nothing is."""

    pull_error: bool = False
    never_ready: bool = False
    hang: bool = False
    crash: Fault | None = None
    shutdown: Fault | None = None
    provision_error: bool = False
    import_error: Fault | None = None
    import_stall: bool = False


_TIMED = re.compile(r"(?P<kind>crash|shutdown)-after-(?P<seconds>\d+(\.\d+)?)")
_TIMELESS = {kind.value: kind for kind in (FaultKind.PULL_ERROR, FaultKind.NEVER_READY, FaultKind.HANG)}


def from_image(reference: str) -> Fault | None:
    """The fault that an image's name asks for; None for most.

    ``fault.test/crash-after-5:1``, ``/shutdown-after-3``, ``/pull-error``, ``/never-ready``, ``/hang``; with any
    directories in between (``fault.test/containerdisks/hang``), tag or digest.
    """
    host, _, path = reference.partition("/")
    if host != IMAGE_HOST:
        return None
    word = re.split(r"[:@]", path.rsplit("/", 1)[-1])[0]
    if (timed := _TIMED.fullmatch(word)) is not None:
        return Fault(FaultKind(timed["kind"]), after=float(timed["seconds"]))
    return Fault(_TIMELESS[word]) if word in _TIMELESS else None


def effects(rules: Iterable[Fault], namespace: str, name: str, images: Iterable[str]) -> Effects:
    """What the rules and the images say about one guest. Of two timed rules of a kind, the earlier one counts."""
    found = [rule for rule in rules if rule.matches(namespace, name)]
    found += [fault for image in images if (fault := from_image(image)) is not None]
    kinds = {fault.kind for fault in found}
    return Effects(
        pull_error=FaultKind.PULL_ERROR in kinds,
        never_ready=FaultKind.NEVER_READY in kinds,
        hang=FaultKind.HANG in kinds,
        crash=_earliest(found, FaultKind.CRASH),
        shutdown=_earliest(found, FaultKind.SHUTDOWN),
        provision_error=FaultKind.PROVISION_ERROR in kinds,
        import_error=_earliest(found, FaultKind.IMPORT_ERROR),
        import_stall=FaultKind.IMPORT_STALL in kinds,
    )


def check_target(target: str) -> str:
    """``target`` with a namespace: a bare name means any namespace.

    Raises:
        Terminal: it is not ``NAMESPACE/NAME``.
    """
    parts = target.split("/")
    if not all(parts) or len(parts) > 2:
        raise Terminal(f"{target!r} is not NAMESPACE/NAME")
    return target if len(parts) == 2 else f"*/{target}"


def _earliest(faults: list[Fault], kind: FaultKind) -> Fault | None:
    return min((fault for fault in faults if fault.kind is kind), key=lambda fault: fault.after, default=None)
