"""Why a claim gets no disk, or none yet."""

from kubelet_bridge.errors import Terminal, Transient


class CannotProvision(Terminal):
    """The claim, its class or what these point at is not such that a disk could be made; the message is for users.

    ``reason`` is that of the event on the claim.
    """


class NotYet(Transient):
    """A disk can be made soon, and nobody has to do anything for it; message and reason are those of an event."""


def failed(message: str) -> CannotProvision:
    """With the reason that users know from every other provisioner."""
    return CannotProvision(message, reason="ProvisioningFailed")
