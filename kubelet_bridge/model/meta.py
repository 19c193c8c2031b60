"""Who an object is: keys, the head every object has, and the names, labels and annotations of ours."""

import hashlib
import re
import uuid
from datetime import datetime

import msgspec

PREFIX = "kubelet-bridge.io"
FIELD_MANAGER = "kubelet-bridge"

LABEL_NODE = f"{PREFIX}/node"
LABEL_POD_UID = f"{PREFIX}/pod-uid"
LABEL_POD_NAME = f"{PREFIX}/pod-name"
LABEL_CONTAINER = f"{PREFIX}/container"
"""On the objects of one machine of a Pod that has several: the container it is for."""

LABEL_VIRTUAL_NODE = f"{PREFIX}/virtual-node"
"""On every Node of ours, with the value ``true``."""

LABEL_MANAGED_BY = f"{PREFIX}/managed-by"
MANAGED_BY = "kubelet-bridge"

ANNOTATION_ID = f"{PREFIX}/id"
ANNOTATION_SPEC_HASH = f"{PREFIX}/spec-hash"
ANNOTATION_POD_NAME = f"{PREFIX}/pod-name"

_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_UUID_SPACE = uuid.UUID("6f1e2b0a-6d7c-5a3e-9d55-2f6c7b0d4a11")


class PodKey(msgspec.Struct, frozen=True, order=True):
    """One incarnation of a Pod: the uid tells two of the same name apart; nothing of ours is keyed by name alone.

    Or one machine of a Pod that has a VM for each container (``machine_key``): then ``uid`` and ``name`` are the
    machine's own, by which its row, its VM and its guest are known; ``container`` and ``pod_uid`` are set.
    """

    namespace: str
    name: str
    uid: str
    container: str = ""
    pod_uid: str = ""

    @property
    def owner(self) -> "PodKey":
        """The Pod itself."""
        if not self.container:
            return self
        return PodKey(self.namespace, self.name.removesuffix(f"/{self.container}"), self.pod_uid)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """metav1.OwnerReference."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The fields of metav1.ObjectMeta that we read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []


class ObjectHead(msgspec.Struct, frozen=True, rename="camel"):
    """What the cache decodes of every object: the rest stays bytes until somebody asks."""

    metadata: ObjectMeta = ObjectMeta()

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace; empty when it has none."""
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        """The object's uid."""
        return self.metadata.uid

    @property
    def labels(self) -> dict[str, str]:
        """The object's labels."""
        return self.metadata.labels


class Condition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A condition as Pods, Nodes, VMs and VMIs carry it: ``status`` is ``True``, ``False`` or ``Unknown``."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    last_heartbeat_time: datetime | None = None
    last_probe_time: datetime | None = None
    observed_generation: int | None = None


def machine_uid(pod_uid: str, container: str) -> str:
    """The uid of a container's machine, in a Pod that has a VM for each: a function of both, and of the form of a uid.

    Its row, its guest's tokens and reports, its logs, its firmware uuid and its MAC address are known by it.
    """
    return str(uuid.uuid5(_UUID_SPACE, f"{pod_uid}/container/{container}"))


def machine_key(pod: PodKey, container: str) -> PodKey:
    """The key of that machine. Its name is no name of a Pod, so that none can take it, or its VM's, away."""
    uid = machine_uid(pod.uid, container)
    return PodKey(pod.namespace, f"{pod.name}/{container}", uid, container=container, pod_uid=pod.uid)


def is_dns_label(name: str) -> bool:
    """Whether ``name`` is a DNS-1123 label of at most 63 characters."""
    return _DNS_LABEL.match(name) is not None


def is_dns_subdomain(name: str) -> bool:
    """Whether ``name`` is a DNS-1123 subdomain: what most objects may be called."""
    return len(name) <= 253 and _DNS_SUBDOMAIN.fullmatch(name) is not None


def short_hash(text: str) -> str:
    """Eight hexadecimal characters that stay the same for the same text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def hashed_vm_name(key: PodKey) -> str:
    """A VM name for a Pod whose own name cannot be one, or is taken: 54 characters, ``-``, 8 hexadecimal ones."""
    stem = re.sub(r"[^a-z0-9-]", "-", key.name[:54]).strip("-") or "pod"
    return f"{stem}-{short_hash(f'{key.namespace}/{key.name}/{key.uid}')}"


def vm_name(key: PodKey) -> str:
    """The VM name a Pod gets first: its own where KubeVirt can carry it."""
    return key.name if is_dns_label(key.name) else hashed_vm_name(key)


def cloud_init_secret_name(key: PodKey) -> str:
    """The Secret of one Pod incarnation; the uid is in it, so a successor of the same name never shares it."""
    return f"{hashed_vm_name(key)}-cloudinit"


def firmware_uuid(pod_uid: str, seed: str = "") -> str:
    """The VM's firmware uuid, from which KubeVirt makes cloud-init's instance-id: one for each Pod incarnation.

    With another ``seed``, cloud-init does on a disk that stays what it does at a first boot.
    """
    return str(uuid.uuid5(_UUID_SPACE, f"{pod_uid}/{seed}" if seed else pod_uid))


def label_value(text: str) -> str:
    """``text`` when it may be a label's value, else a cut with a hash that still tells two apart."""
    if len(text) <= 63:
        return text
    return f"{text[:54].rstrip('-._')}-{short_hash(text)}"
