"""What the node remembers of one Pod's guest over its own restarts. Hashes of tokens only, never a token."""

from datetime import datetime

import msgspec

from kubelet_bridge.model.guest import GuestFacts, GuestReport


class GuestRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One per Pod uid, from its agent's first welcome until the Pod is forgotten.

    Attributes:
        session_hash: of the token that the agent has confirmed to keep; empty: none yet.
        pending_hash: of one that was handed out and not confirmed; empty: none.
        pending_boot: uid of the VMI in which it was handed out.
        used_boot: uid of the VMI whose boot token has been used up.
        report: the last one, acknowledged or about to be.
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
    seen_at: datetime | None = None
