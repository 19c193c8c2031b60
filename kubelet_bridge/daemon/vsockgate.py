"""Whether this cluster's KubeVirt gives VMs a vsock device."""

import msgspec
import structlog

from kubelet_bridge.errors import Forbidden, NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import KUBEVIRTS

log = structlog.get_logger(__name__)

GATE = "VSOCK"


class _Developer(msgspec.Struct, rename="camel"):
    feature_gates: list[str] = []
    disabled_feature_gates: list[str] = []


class _Configuration(msgspec.Struct, rename="camel"):
    developer_configuration: _Developer = msgspec.field(default_factory=_Developer)


class _Spec(msgspec.Struct):
    configuration: _Configuration = msgspec.field(default_factory=_Configuration)


class _KubeVirt(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


class _List(msgspec.Struct):
    items: list[_KubeVirt] = []


async def vsock_offered(client: Client) -> bool:
    """Whether the feature gate is on; False when we may not know.

    Raises:
        ApiError: the API server does not answer.
    """
    try:
        found = msgspec.json.decode(await client.list(KUBEVIRTS), type=_List)
    except (Forbidden, NotFound) as error:
        log.warning("KubeVirt's feature gates cannot be read: guests are not reached by vsock", error=str(error))
        return False
    gates = [one.spec.configuration.developer_configuration for one in found.items]
    return any(GATE in one.feature_gates and GATE not in one.disabled_feature_gates for one in gates)
