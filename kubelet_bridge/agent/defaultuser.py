"""The user that an image is meant to be used by: the one cloud-init made at the first boot."""

from __future__ import annotations

import json
import pwd
from pathlib import Path

# login.defs(5): UID_MIN and UID_MAX, as every distribution has them.
FIRST_UID, LAST_UID = 1000, 60000
_SUDOERS = "etc/sudoers.d/90-cloud-init-users"
_INSTANCE = "run/cloud-init/instance-data-sensitive.json"
_NO_LOGIN = ("nologin", "false", "sync")


def default_user(root: Path = Path("/"), users: list[pwd.struct_passwd] | None = None) -> str:
    """Its name: whom cloud-init made a sudoer, whom its configuration names, else the first person; at last root."""
    people = [one for one in (pwd.getpwall() if users is None else users) if _is_person(one)]
    names = {one.pw_name for one in people}
    configured = _configured(root)
    sudoers = [name for name in _sudoers(root) if name in names]
    if configured in names and (configured in sudoers or not sudoers):
        return configured
    if sudoers:
        return sudoers[0]
    return min(people, key=lambda one: one.pw_uid).pw_name if people else "root"


def _is_person(user: pwd.struct_passwd) -> bool:
    return FIRST_UID <= user.pw_uid <= LAST_UID and not user.pw_shell.endswith(_NO_LOGIN)


def _sudoers(root: Path) -> list[str]:
    """Those cloud-init has given sudo, in its order."""
    try:
        lines = (root / _SUDOERS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def _configured(root: Path) -> str:
    """The distribution's default user in cloud-init's merged configuration."""
    try:
        document = json.loads((root / _INSTANCE).read_bytes())
        return str(document["merged_cfg"]["system_info"]["default_user"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
