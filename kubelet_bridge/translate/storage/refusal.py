"""Why a claim gets no disk."""

from kubelet_bridge.errors import Terminal


class CannotProvision(Terminal):
    """The claim, its class or what these point at is not such that a disk could be made; the message is for users.

    ``reason`` is that of the event on the claim.
    """


def failed(message: str) -> CannotProvision:
    """With the reason that users know from every other provisioner."""
    return CannotProvision(message, reason="ProvisioningFailed")
