"""What a command finds in its environment."""

from __future__ import annotations

from typing import Iterable

from kubelet_bridge.agent.host.identity import Identity

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def environment(who: Identity, hostname: str, extra: Iterable[tuple[str, str]], *, tty: bool) -> dict[str, str]:
    """The least a program needs, as container runtimes give it, and over it what the manifest says.

    Nothing of the agent's own environment is in it.
    """
    variables = {"PATH": PATH, "HOME": who.home}
    if who.name:
        variables.update(USER=who.name, LOGNAME=who.name)
    if hostname:
        variables["HOSTNAME"] = hostname
    if tty:
        variables["TERM"] = "xterm"
    variables.update(extra)
    return variables
