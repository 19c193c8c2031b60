"""hostAliases and the Pod's own name in ``/etc/hosts``: a block between two marks, the rest stays."""

from __future__ import annotations

from pathlib import Path

from kubelet_bridge.agent.files import replace_file
from kubelet_bridge.agent.marked import with_block
from kubelet_bridge.agent.v1 import agent_pb2 as pb


def lines_for(manifest: pb.PodManifest) -> list[str]:
    """The entries of this Pod. A name with a line break in it does not get in."""
    entries = [[alias.ip, *alias.hostnames] for alias in manifest.host_aliases]
    return ["\t".join(words) for words in entries if not any(set(word) & set("\n\r\t #") for word in words)]


def update(path: Path, manifest: pb.PodManifest) -> None:
    """Bring the file up to date; untouched when it is.

    Raises:
        OSError: it cannot be written.
    """
    try:
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        before = ""
    after = with_block(before, lines_for(manifest))
    if after != before and (after or lines_for(manifest)):
        replace_file(path, after.encode("utf-8", "surrogateescape"), 0o644)
