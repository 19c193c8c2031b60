"""What one of CDI's Pods is to do, read from its specification. Pure.

Variables: pkg/common/common.go in CDI; the Pods: pkg/controller/import-controller.go.
"""

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.quantity import Quantity

_APP, _APP_CDI = "app", "containerized-data-importer"
_COMPONENT, _IMPORTER = "cdi.kubevirt.io", "importer"
_DATA_VOLUME = "cdi-data-vol"


class Import(msgspec.Struct, frozen=True):
    """Fill a claim's volume.

    Attributes:
        source: ``none`` (an empty disk), ``http`` or ``registry``.
        size: of the disk that is asked for, in bytes.
        overhead: part of a filesystem volume that is not for the disk, such as 0.06.
        checksum: ``ALGORITHM:HEX``, or empty.
        owner: the uid that progress is reported of.
        block: whether the volume is a Block one.
    """

    namespace: str
    claim: str
    source: str
    endpoint: str
    size: int
    overhead: float
    checksum: str
    owner: str
    block: bool
    insecure: bool = False


def of(pod: Pod) -> Import | None:
    """What a Pod is to do; None for one that is not CDI's importer.

    Raises:
        Terminal: it asks for what no host does here; the message says what.
    """
    labels = pod.metadata.labels
    if labels.get(_APP) != _APP_CDI or labels.get(_COMPONENT) != _IMPORTER or not pod.spec.containers:
        return None
    container = pod.spec.containers[0]
    variables = {variable.name: variable.value for variable in container.env}
    source, content = variables.get("IMPORTER_SOURCE", ""), variables.get("IMPORTER_CONTENTTYPE", "")
    if source not in ("none", "http", "registry"):
        raise Terminal(f"Unknown data source: {source}", reason="UnsupportedSource")
    if content != "kubevirt":
        raise Terminal(f"content type {content!r} is not imported here", reason="UnsupportedContent")
    return Import(
        namespace=pod.metadata.namespace,
        claim=_claim(pod),
        source=source,
        endpoint=variables.get("IMPORTER_ENDPOINT", ""),
        size=Quantity.parse(variables.get("IMPORTER_IMAGE_SIZE") or "0").ceil(),
        overhead=float(variables.get("FILESYSTEM_OVERHEAD") or 0),
        checksum=variables.get("IMPORTER_CHECKSUM", ""),
        owner=variables.get("OWNER_UID", ""),
        block=bool(container.volume_devices),
        insecure=variables.get("INSECURE_TLS") == "true",
    )


def _claim(pod: Pod) -> str:
    for volume in pod.spec.volumes:
        if volume.get("name") == _DATA_VOLUME and (source := volume.get("persistentVolumeClaim")):
            return str(source["claimName"])
    raise Terminal(f"the Pod has no volume {_DATA_VOLUME}", reason="NoVolume")
