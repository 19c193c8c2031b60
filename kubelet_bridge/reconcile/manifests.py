"""Makes the manifest that a Pod's agent works by, from the cluster as it is now."""

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.errors import Forbidden
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent, TokenWanted
from kubelet_bridge.reconcile.ports import ClusterPort, EventPort, IntentPort
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.machines import told
from kubelet_bridge.translate.manifest import build
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.volumesources import tokens_wanted


class ManifestMaker:
    """One per node."""

    def __init__(
        self, cluster: ClusterPort, intents: IntentPort, events: EventPort, config: BridgeConfig, *, host_ip: str
    ) -> None:
        self._cluster = cluster
        self._intents = intents
        self._events = events
        self._config = config
        self._host_ip = host_ip

    async def make(self, key: PodKey) -> pb.PodManifest | None:
        """The manifest; None while there is no Pod, no boot of its VM that was taken note of, or no address.

        None, too, with an event on the Pod, when something that it points at is not there: what runs by an earlier
        manifest runs on.

        Raises:
            ApiError: the cluster could not be asked.
        """
        intent = self._intents.get(key.uid)
        if intent is None:
            return None
        snapshot = await self._cluster.load(key, vm_name=intent.vm_name, promised=True)
        if snapshot.pod is None or snapshot.vmi is None:
            return None
        inputs = await self._inputs(key, snapshot.pod)
        known = msgspec.structs.replace(snapshot, intent=intent, inputs=inputs)
        try:
            return build(known, self._config, host_ip=self._host_ip)
        except MissingInputs as error:
            notes = error.notes or [PodEvent(EventType.WARNING, "Failed", f"Error: {error.message}")]
            self._events.record(key, told(snapshot, notes))
            return None

    async def _inputs(self, key: PodKey, pod: Pod) -> Inputs:
        inputs = await self._cluster.inputs(pod)
        tokens: dict[TokenWanted, str | None] = {}
        for wanted in tokens_wanted(pod):
            try:
                tokens[wanted] = await self._cluster.service_account_token(pod, wanted)
            except Forbidden as error:
                tokens[wanted] = None
                what = f"The token of ServiceAccount {pod.spec.service_account_name} is left out: {error.message}"
                self._events.record(key, [PodEvent(EventType.WARNING, "FailedMount", what)])
        return msgspec.structs.replace(inputs, tokens=tokens)
