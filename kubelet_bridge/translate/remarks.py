"""What a virtual machine carries out in another way, or not at all, though the Pod is accepted."""

from collections.abc import Iterator
from typing import Any

from kubelet_bridge.model.core import Container, Lifecycle, Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.model.snapshot import EventType, PodEvent
from kubelet_bridge.translate.config import BridgeConfig
from kubelet_bridge.translate.image import hosting
from kubelet_bridge.translate.probes import probed
from kubelet_bridge.translate.table import MACHINE, MANAGED, ON_AN_OS, Row, flag, note, per_container, per_volume
from kubelet_bridge.translate.volumes import is_token_volume, source_of

_PLACED = "was honoured when the Pod was bound to this node, and is not asked of the node the virtual machine runs on"
_NO_AGENT = "needs the in-guest agent to run the container: of an application image, or of a command on an OS image"


def remarks(pod: Pod, config: BridgeConfig) -> list[PodEvent]:
    """Events about what becomes of some of the Pod's fields."""
    events, kind = [], hosting(pod, config)
    for row in REMARKS:
        paths = list(row.found(pod)) if row.event and kind in row.of else []
        if paths:
            events.append(PodEvent(EventType.WARNING, row.event, f"{', '.join(paths)}: {row.text}"))
    return events


def _handlers(container: Container, kind: str) -> list[str]:
    return [f"{field}.{kind}" for field, probe in probed(container) if getattr(probe, kind) is not None]


def _pod_affinity(pod: Pod) -> list[str]:
    affinity = pod.spec.affinity or {}
    return [f"spec.affinity.{kind}" for kind in ("podAffinity", "podAntiAffinity") if affinity.get(kind)]


def _items(volume: dict[str, Any]) -> str:
    return next((f"{kind}.items" for kind in ("configMap", "secret") if (volume.get(kind) or {}).get("items")), "")


def _certificates(volume: dict[str, Any]) -> str:
    sources = (volume.get("projected") or {}).get("sources") or []
    kinds = {kind for source in sources for kind in source} & {"clusterTrustBundle", "podCertificate"}
    return f"projected.sources ({', '.join(sorted(kinds))})" if kinds else ""


def _spread(pod: Pod) -> list[str]:
    return [f"spec.topologySpreadConstraints[{index}]" for index in range(len(pod.spec.topology_spread_constraints))]


def _mounts(pod: Pod) -> Iterator[str]:
    """Mounts of volumes that are disks; the others have a row of their own."""
    kinds = {str(one.get("name")): source_of(one) for one in pod.spec.volumes if not is_token_volume(one)}
    for index, container in enumerate(pod.spec.containers[:1]):
        for place, mount in enumerate(container.volume_mounts):
            if kinds.get(mount.name, "projected") not in ("projected", "downwardAPI"):
                yield f"spec.containers[{index}].volumeMounts[{place}]"


REMARKS: tuple[Row, ...] = (
    per_container(
        "command",
        "the guest runs what its image starts; a command of one's own needs the in-guest agent, which this node lacks",
        lambda container: [field for field in ("command", "args") if getattr(container, field)],
        event="CommandIgnored",
        of=MACHINE,
    ),
    per_container(
        "lifecycle",
        f"a hook {_NO_AGENT}",
        lambda container: container.lifecycle not in (None, Lifecycle()),
        event="LifecycleHookIgnored",
        of=MACHINE,
    ),
    Row(
        "spec.containers[*].volumeMounts[*]",
        "the volume is a disk of the virtual machine, with the volume's name as its serial number and a CD image's "
        f"label; mounting it {_NO_AGENT}",
        _mounts,
        "VolumeNotMounted",
        MACHINE,
    ),
    per_volume(
        "projected",
        f"is left out: its content {_NO_AGENT} (so does the ServiceAccount's token, of which no event is made)",
        lambda volume: "projected" if source_of(volume) == "projected" and not is_token_volume(volume) else "",
        event="VolumeLeftOut",
        of=MACHINE,
    ),
    per_volume(
        "downwardAPI",
        f"is left out: its content {_NO_AGENT}; KubeVirt's own would show the launcher's fields",
        lambda volume: "downwardAPI" if source_of(volume) == "downwardAPI" else "",
        event="VolumeLeftOut",
        of=MACHINE,
    ),
    per_volume(
        "projected.sources (clusterTrustBundle, podCertificate)",
        "are left out: this version does not ask the API server for certificates",
        _certificates,
        event="VolumeSourceLeftOut",
        of=MANAGED,
    ),
    per_volume(
        "emptyDir.medium",
        "the volume is a disk, not memory",
        lambda volume: "emptyDir.medium" if (volume.get("emptyDir") or {}).get("medium") else "",
        event="EmptyDirOnDisk",
        of=MACHINE,
    ),
    per_volume(
        "configMap.items",
        "the CD image holds every key, under its own name",
        _items,
        event="VolumeItemsIgnored",
        of=MACHINE,
    ),
    per_container(
        "*Probe.exec",
        "is carried out by the QEMU guest agent, and fails where the image has none",
        lambda container: _handlers(container, "exec"),
        event="ProbeNeedsGuestAgent",
        of=MACHINE,
    ),
    per_container(
        "*Probe.grpc",
        "only checks that the port takes connections",
        lambda container: _handlers(container, "grpc"),
        event="ProbeApproximated",
        of=MACHINE,
    ),
    per_container(
        "startupProbe",
        "holds back the liveness probe for as long as it may take, and stands in for a missing readiness probe",
        lambda container: container.startup_probe,
        of=MACHINE,
    ),
    Row(
        "spec.affinity.podAffinity",
        _PLACED,
        _pod_affinity,
        "PodAffinityIgnored",
    ),
    Row(
        "spec.topologySpreadConstraints[*]",
        _PLACED,
        _spread,
        "TopologySpreadIgnored",
    ),
    note(
        "spec.tolerations (without a key)",
        "a wildcard brings the Pod onto this node, but its virtual machine onto no tainted one",
    ),
    Row(
        "spec.imagePullSecrets[1]",
        "KubeVirt takes one pull secret for a disk, the first",
        lambda pod: [f"spec.imagePullSecrets[{index}]" for index in range(1, len(pod.spec.image_pull_secrets))],
        "PullSecretIgnored",
        ON_AN_OS,
    ),
    flag(
        "spec.hostAliases",
        f"an entry in the guest's /etc/hosts {_NO_AGENT}",
        lambda pod: pod.spec.host_aliases,
        event="HostAliasesIgnored",
        of=MACHINE,
    ),
    note(
        "spec.ephemeralContainers (the image)",
        "a debug container is a command on the guest's OS, a shell when it names none; it needs the in-guest agent",
        of=ON_AN_OS,
    ),
    note(
        "spec.shareProcessNamespace",
        "has nothing to add: processes of a guest see each other",
        of=ON_AN_OS,
    ),
    note(
        "spec.securityContext, spec.containers[*].securityContext (users, groups, seccomp, SELinux, read-only root)",
        "restricts a container on a shared kernel; the guest has a kernel of its own",
        of=MACHINE,
    ),
    note(
        "spec.securityContext, spec.containers[*].securityContext (seccomp, AppArmor, SELinux)",
        "restricts a container on a shared kernel; the guest has a kernel of its own, and podman's defaults hold in it",
        of=MANAGED,
    ),
    note(
        "spec.containers[*].image, imagePullPolicy (beside the first container)",
        "commands run on the OS that the virtual machine boots: the first container's image, or the boot annotation's",
        of=frozenset({Hosting.SYSTEM}),
    ),
    note(
        "spec.restartPolicy OnFailure",
        "a virtual machine that is switched off from inside before its containers have ended fails the Pod: KubeVirt"
        " does not start it again",
        of=MANAGED,
    ),
    note(
        "spec.hostUsers, spec.runtimeClassName, spec.overhead",
        "concern the container runtime of a node, which does not take part",
    ),
    note(
        "spec.serviceAccountName",
        "is the Pod's identity, not that of the launcher Pod",
    ),
)  # fmt: skip
