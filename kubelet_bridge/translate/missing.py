"""Something that a Pod's spec points at is not there."""

from collections.abc import Iterable

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.snapshot import PodEvent
from kubelet_bridge.translate.vocabulary import Reason


class MissingInputs(Terminal):
    """Something that the Pod's spec points at is not there yet; the message is what a kubelet would say.

    Attributes:
        notes: events for the Pod.
        waiting: the reason for which its containers wait.
    """

    def __init__(
        self, missing: Iterable[str], notes: list[PodEvent], *, waiting: Reason = Reason.CREATE_CONTAINER_CONFIG_ERROR
    ) -> None:
        super().__init__("; ".join(dict.fromkeys(missing)), reason=waiting.value)
        self.notes = notes
        self.waiting = waiting
