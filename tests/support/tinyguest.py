"""A real guest of 512 bytes: it boots in any BIOS machine, knows its power button, and can be talked to."""

from pathlib import Path

from kubelet_bridge.devcluster.devhost.qemu.storage import qemu_img
from kubelet_bridge.devcluster.images import store

REFERENCE = "example.test/tiny:1"
GREETING, FAREWELL = b"tiny guest is up\r\n", b"tiny guest powers off\r\n"

# .code16; PM1a_EN |= PWRBTN; say GREETING; then for ever: if PM1a_STS & PWRBTN, or `q` is typed: say FAREWELL and
# PM1a_CNT = S5; echo what is typed; `p` panics (pvpanic, port 0x505), `r` resets (port 0xcf9).
_CODE = bytes.fromhex(
    "fa31c08ed88ed0bc007cba0206b80001efbaf90330c0eebe697ce84000ba0006eda90001751bbafd03eca80174efbaf803ecee3c7174"
    "0a3c7074143c727417ebdcbe7c7ce81600ba0406b80020eff4ba0505b001eef4baf90cb006eef4baf803ac84c07403eeebf8c374696e"
    "792067756573742069732075700d0a0074696e7920677565737420706f77657273206f66660d0a"
)


def sector() -> bytes:
    """A boot sector."""
    return _CODE.ljust(510, b"\0") + b"\x55\xaa"


def install(reference: str = REFERENCE) -> Path:
    """Put it where container disks are looked for (``KUBELET_BRIDGE_CACHE``)."""
    raw, path = sector().ljust(1 << 20, b"\0"), store.disk_path(reference)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".raw")
    draft.write_bytes(raw)
    qemu_img("convert", "-q", "-f", "raw", "-O", "qcow2", str(draft), str(path))
    draft.unlink()
    return path
