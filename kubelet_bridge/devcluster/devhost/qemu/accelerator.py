"""KVM or emulation: KVM only when a probe guest really runs with it. Asked once per boot of this machine."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.devhost.qemu import probe
from kubelet_bridge.devcluster.layout import write_private

_DEVICE = Path("/dev/kvm")
_CPUS = ("host", "host,-arch-capabilities")
"""Some virtual processors announce a register that cannot be set: the second spelling leaves it out."""

_FILE = "accelerator.json"


class Accelerator(msgspec.Struct, frozen=True):
    """How guests' processors run.

    Attributes:
        name: ``kvm`` or ``tcg``.
        arguments: QEMU's.
        reason: why it is this one, for people.
    """

    name: str
    arguments: tuple[str, ...]
    reason: str


class _Answer(msgspec.Struct, frozen=True):
    boot: str
    accelerator: Accelerator


def decide(device: str, attempt: Callable[[tuple[str, ...]], str]) -> Accelerator:
    """Try what is promising, in turn.

    Args:
        device: what is wrong with ``/dev/kvm``; empty when it can be opened.
        attempt: boots a probe guest with QEMU's arguments and tells what went wrong, or nothing.
    """
    if device:
        return _emulation(device)
    failures = []
    for arguments in _candidates():
        failure = attempt(arguments)
        if not failure:
            return Accelerator("kvm", arguments, f"a probe guest ran with {' '.join(arguments[2:])}")
        failures.append(failure)
    return _emulation(f"KVM opens, but {'; '.join(dict.fromkeys(failures))}")


def choose(directory: Path) -> Accelerator:
    """The answer for this machine, remembered in ``directory``. Blocks for some seconds the first time."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = remembered(directory)
    if known is not None and known.boot == boot:
        return known.accelerator
    chosen = decide(_device(), lambda arguments: probe.run(arguments, directory))
    write_private(directory / _FILE, msgspec.json.encode(_Answer(boot, chosen)))
    return chosen


def remembered(directory: Path) -> _Answer | None:
    """What was found before, perhaps before this machine was booted last."""
    try:
        return msgspec.json.decode((directory / _FILE).read_bytes(), type=_Answer)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _candidates() -> Iterator[tuple[str, ...]]:
    for cpu in _CPUS:
        yield ("-accel", "kvm", "-cpu", cpu)


def _emulation(reason: str) -> Accelerator:
    return Accelerator("tcg", ("-accel", "tcg,thread=multi", "-cpu", "max"), reason)


def _device() -> str:
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{_DEVICE}: {error.strerror}"
    return ""
