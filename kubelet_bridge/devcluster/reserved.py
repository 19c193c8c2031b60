"""Addresses this machine talks to without a route of their own: taking one of them for a Pod would cut it off."""

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second is what a stub resolver on 127.0.0.53 asks in turn."""

_HOSTS = Path("/etc/hosts")
_NAMESERVER = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)
_HOST = re.compile(r"^\s*([0-9.]+)\s", re.MULTILINE)


def reserved(
    environment: Mapping[str, str] = os.environ, resolvers: Iterable[Path] = _RESOLVERS, hosts: Path = _HOSTS
) -> list[ipaddress.IPv4Network]:
    """Name servers, what /etc/hosts names, and proxies that are given by address, each as a /32."""
    found = [*_matches(_NAMESERVER, *resolvers), *_matches(_HOST, hosts), *_proxies(environment)]
    return [ipaddress.IPv4Network(text) for text in found if _is_ipv4(text)]


def _matches(pattern: re.Pattern[str], *files: Path) -> Iterator[str]:
    for file in files:
        if file.is_file():
            yield from pattern.findall(file.read_text(errors="replace"))


def _proxies(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if name.lower().endswith("_proxy") and "//" in value:
            yield urlsplit(value).hostname or ""


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
