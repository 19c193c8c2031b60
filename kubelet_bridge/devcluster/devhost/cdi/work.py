"""What one of CDI's Pods is to do, read from its specification. Pure.

Variables: pkg/common/common.go in CDI; the Pods: pkg/controller/{import,upload,clone}-controller.go.
"""

from collections.abc import Callable, Mapping

import msgspec

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.quantity import Quantity

_APP, _APP_CDI = "app", "containerized-data-importer"
_COMPONENT = "cdi.kubevirt.io"
_IMPORTER, _UPLOAD_SERVER, _CLONE_SOURCE = "importer", "cdi-upload-server", "cdi-clone-source"
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


class Upload(msgspec.Struct, frozen=True):
    """Wait on the Pod's address for a disk, and put it into a claim's volume.

    Attributes:
        client: the only one who is let in, by the name in its certificate.
        secret: of the server's certificate and of the client's authority.
    """

    namespace: str
    claim: str
    size: int
    overhead: float
    block: bool
    client: str
    secret: str


class Clone(msgspec.Struct, frozen=True):
    """Send the disk of a claim to the upload server at ``url``.

    Attributes:
        owner: the uid that progress is reported of.
        authority: of the server's certificate, as PEM.
        secret: of the client's certificate.
    """

    namespace: str
    claim: str
    url: str
    owner: str
    block: bool
    authority: str
    secret: str


Work = Import | Upload | Clone


def of(pod: Pod) -> Work | None:
    """What a Pod is to do; None for one that is none of CDI's workers.

    Raises:
        Terminal: it asks for what no host does here; the message says what.
    """
    labels = pod.metadata.labels
    make = _KINDS.get(labels.get(_COMPONENT, ""))
    if labels.get(_APP) != _APP_CDI or make is None or not pod.spec.containers:
        return None
    return make(pod, {variable.name: variable.value for variable in pod.spec.containers[0].env})


def _import(pod: Pod, variables: Mapping[str, str]) -> Import:
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
        size=_size(variables.get("IMPORTER_IMAGE_SIZE")),
        overhead=float(variables.get("FILESYSTEM_OVERHEAD") or 0),
        checksum=variables.get("IMPORTER_CHECKSUM", ""),
        owner=variables.get("OWNER_UID", ""),
        block=_is_block(pod),
        insecure=variables.get("INSECURE_TLS") == "true",
    )


def _upload(pod: Pod, variables: Mapping[str, str]) -> Upload:
    return Upload(
        namespace=pod.metadata.namespace,
        claim=_claim(pod),
        size=_size(variables.get("UPLOAD_IMAGE_SIZE")),
        overhead=float(variables.get("FILESYSTEM_OVERHEAD") or 0),
        block=_is_block(pod),
        client=variables.get("CLIENT_NAME", ""),
        secret=pod.metadata.name,
    )


def _clone(pod: Pod, variables: Mapping[str, str]) -> Clone:
    return Clone(
        namespace=pod.metadata.namespace,
        claim=_claim(pod),
        url=variables.get("UPLOAD_URL", ""),
        owner=variables.get("OWNER_UID", ""),
        block=_is_block(pod),
        authority=variables.get("SERVER_CA_CERT", ""),
        secret=pod.metadata.name,
    )


_KINDS: Mapping[str, Callable[[Pod, Mapping[str, str]], Work]] = {
    _IMPORTER: _import,
    _UPLOAD_SERVER: _upload,
    _CLONE_SOURCE: _clone,
}


def _size(quantity: str | None) -> int:
    return Quantity.parse(quantity or "0").ceil()


def _is_block(pod: Pod) -> bool:
    return bool(pod.spec.containers[0].volume_devices)


def _claim(pod: Pod) -> str:
    for volume in pod.spec.volumes:
        if volume.get("name") == _DATA_VOLUME and (source := volume.get("persistentVolumeClaim")):
            return str(source["claimName"])
    raise Terminal(f"the Pod has no volume {_DATA_VOLUME}", reason="NoVolume")
