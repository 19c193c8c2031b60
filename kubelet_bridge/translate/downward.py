"""The downward API: a Pod's own fields and resources as values.

Sources in Kubernetes: ``pkg/fieldpath/fieldpath.go``, ``podFieldSelectorRuntimeValue`` in
``pkg/kubelet/kubelet_pods.go`` and ``pkg/api/v1/resource/helpers.go``.
"""

from kubelet_bridge.errors import Terminal
from kubelet_bridge.model.core import Container, Pod, ResourceFieldSelector
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.translate.resources import VmSize

KNOWN_AFTER_BOOT = frozenset({"status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"})
"""Fields that have no value before the VM runs somewhere."""

_GO_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v", "\\": r"\\", '"': r"\"",
}  # fmt: skip
_RESOURCES = ("cpu", "memory", "ephemeral-storage")


class NoSuchField(Terminal):
    """The downward API has no such field; the message is the kubelet's."""


def field_value(pod: Pod, path: str) -> str:
    """The value of ``fieldRef.fieldPath``.

    Raises:
        NoSuchField: the path is not one that a variable may take.
    """
    metadata = pod.metadata
    match _split(path):
        case "metadata.labels", str(key):
            return metadata.labels.get(key, "")
        case "metadata.annotations", str(key):
            return metadata.annotations.get(key, "")
        case "metadata.name", None:
            return metadata.name
        case "metadata.namespace", None:
            return metadata.namespace
        case "metadata.uid", None:
            return metadata.uid
        case "spec.nodeName", None:
            return pod.spec.node_name
        case "spec.serviceAccountName", None:
            return pod.spec.service_account_name
        case _:
            raise NoSuchField(f"unsupported fieldPath: {path}")


def volume_value(pod: Pod, path: str) -> str:
    """The value of ``fieldRef.fieldPath`` in a volume, where all labels or annotations may be one file.

    Raises:
        NoSuchField: the path is not one that a volume may take.
    """
    whole = {"metadata.labels": pod.metadata.labels, "metadata.annotations": pod.metadata.annotations}.get(path)
    if whole is None:
        return field_value(pod, path)
    return "\n".join(f"{key}={_quoted(whole[key])}" for key in sorted(whole))


def _quoted(text: str) -> str:
    """As Go's ``%q`` writes it (``FormatMap`` in ``pkg/fieldpath``)."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _split(path: str) -> tuple[str, str | None]:
    """``metadata.labels['a']`` in two; a path without a subscript has None."""
    mapping, bracket, rest = path.partition("['")
    if bracket and mapping and rest.endswith("']"):
        return mapping, rest.removesuffix("']")
    return path, None


def resource_value(pod: Pod, container: Container, selector: ResourceFieldSelector, machine: VmSize) -> str:
    """The value of ``resourceFieldRef``, rounded up to the divisor.

    A limit that is not set is the Pod's, else what the VM has, as a kubelet gives what its node has.

    Raises:
        NoSuchField: the container or the resource is unknown.
    """
    kind, _, resource = selector.resource.partition(".")
    known = resource in _RESOURCES or resource.startswith("hugepages-")
    if kind not in ("limits", "requests") or not known:
        raise NoSuchField(f"unsupported container resource : {selector.resource}")
    of = _container(pod, container, selector.container_name)
    amount = Quantity.parse(getattr(of.resources, kind).get(resource, 0))
    if kind == "limits" and not amount:
        amount = _default_limit(pod, resource, machine)
    divisor = Quantity.parse(selector.divisor or 1)
    return str(amount.ceil(divisor.value or 1))


def _container(pod: Pod, own: Container, name: str) -> Container:
    if not name:
        return own
    for one in (*pod.spec.containers, *pod.spec.init_containers):
        if one.name == name:
            return one
    raise NoSuchField(f"container {name} not found")


def _default_limit(pod: Pod, resource: str, machine: VmSize) -> Quantity:
    of_pod = Quantity.parse(pod.spec.resources.limits.get(resource, 0)) if pod.spec.resources else Quantity.parse(0)
    has = {"cpu": machine.cpu, "memory": machine.memory}.get(resource, 0)
    return of_pod or Quantity.parse(has)
