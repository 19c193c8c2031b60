"""What the node remembers of one Pod's guest over its own restarts. Hashes of tokens only, never a token."""

from datetime import datetime

import msgspec

from kubelet_bridge.model.guest import GuestFacts, GuestReport
from kubelet_bridge.model.meta import PodKey


class GuestRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One per Pod uid, from its agent's first welcome until the Pod is forgotten.

    Attributes:
        session_hash: of the token that the agent has confirmed to keep; empty: none yet.
        pending_hash: of one that was handed out and not confirmed; empty: none.
        pending_boot: uid of the VMI in which it was handed out.
        used_boot: uid of the VMI whose boot token has been used up.
        report: the last one, acknowledged or about to be.
        container: with ``pod_uid``, of a machine's guest (``PodKey``).
        seen_at: when it last told something that had to be written down.
    """

    uid: str
    namespace: str
    name: str
    session_hash: str = ""
    pending_hash: str = ""
    pending_boot: str = ""
    used_boot: str = ""
    facts: GuestFacts = GuestFacts()
    report: GuestReport | None = None
    container: str = ""
    pod_uid: str = ""
    seen_at: datetime | None = None

    @property
    def key(self) -> PodKey:
        """Whose guest it is."""
        return PodKey(self.namespace, self.name, self.uid, container=self.container, pod_uid=self.pod_uid)
