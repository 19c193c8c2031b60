"""What virt-handler reports of a VirtualMachineInstance, as a pure function of the object and of the guest.

Follows pkg/virt-handler/vm.go in KubeVirt (updateVMIStatus, calculateVmPhaseForStatusReason,
calculateLiveMigrationCondition). Objects are plain JSON: virt-handler writes them back whole, with every field it does
not know.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from kubelet_bridge.devcluster.devhost import hotplug
from kubelet_bridge.devcluster.devhost.runtime import Exit, GuestInfo, GuestState
from kubelet_bridge.model.kubevirt import VmiPhase

Document = dict[str, Any]

LABEL_NODE = "kubevirt.io/nodeName"
_SHARED = "live migration requires that all PVCs must be shared (using ReadWriteMany access mode)"
_BRIDGE_MIGRATION_ANNOTATION = "kubevirt.io/allow-pod-bridge-network-live-migration"


class GuestView(msgspec.Struct, frozen=True):
    """A guest, as its VirtualMachineInstance is to show it.

    Attributes:
        address: of the launcher Pod.
        info: what the guest agent says; None when there is none (yet).
        graceful: whether it was given time to stop before it was switched off.
        plugged: the disks that were plugged in since it started, by name.
    """

    state: GuestState
    address: str
    info: GuestInfo | None = None
    graceful: bool = True
    plugged: frozenset[str] = frozenset()


def timestamp(moment: datetime) -> str:
    """metav1.Time: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def phase_for(current: VmiPhase, guest: GuestView) -> VmiPhase:
    """The phase that a guest's state makes."""
    if guest.state.running:
        return VmiPhase.RUNNING
    match guest.state.exit:
        case None | Exit.MIGRATED:
            return current
        case Exit.SHUTDOWN:
            return VmiPhase.SUCCEEDED
        case Exit.CRASHED:
            return VmiPhase.FAILED
        case Exit.DESTROYED:
            return VmiPhase.FAILED if guest.graceful else VmiPhase.SUCCEEDED


def reported(vmi: Document, guest: GuestView, now: datetime) -> Document:
    """``vmi`` with everything that the guest has to say about it; equal to ``vmi`` when nothing is new."""
    phase = phase_for(VmiPhase(vmi["status"].get("phase", "")), guest)
    status = _running(vmi, guest) if phase is VmiPhase.RUNNING else dict(vmi["status"])
    if phase.final or phase is VmiPhase.RUNNING:
        status["conditions"] = _conditions(vmi, guest, now)
    return vmi | {"status": with_phase(status, phase, now)}


def failed(vmi: Document, now: datetime) -> Document:
    """``vmi`` when its guest is gone and nobody knows how."""
    return vmi | {"status": with_phase(dict(vmi["status"]), VmiPhase.FAILED, now)}


def with_phase(status: Document, phase: VmiPhase, now: datetime) -> Document:
    """``status`` in ``phase``, with the moment if that is new (controller.SetVMIPhaseTransitionTimestamp)."""
    if status.get("phase") == phase.value:
        return status
    entry = {"phase": phase.value, "phaseTransitionTimestamp": timestamp(now)}
    return status | {
        "phase": phase.value,
        "phaseTransitionTimestamps": [*status.get("phaseTransitionTimestamps", []), entry],
    }


def images(vmi: Document) -> list[str]:
    """The container disks it boots from."""
    volumes = vmi["spec"].get("volumes", [])
    return [volume["containerDisk"]["image"] for volume in volumes if "containerDisk" in volume]


def grace_period(vmi: Document) -> float:
    """Seconds a guest has to stop (the default is virt-launcher's, pkg/virt-launcher/virtwrap/converter)."""
    return float(vmi["spec"].get("terminationGracePeriodSeconds", 30))


def without_condition(conditions: list[Document], *types: str) -> list[Document]:
    """``conditions`` less those types."""
    return [condition for condition in conditions if condition["type"] not in types]


def _running(vmi: Document, guest: GuestView) -> Document:
    status: Document = vmi["status"] | {
        "interfaces": _interfaces(vmi, guest),
        "volumeStatus": _volumes(vmi, guest.plugged),
        "machine": {"type": (vmi["spec"]["domain"].get("machine") or {}).get("type", "q35")},
        # Without it the migration controller refuses to make a target Pod; "none": this host has no SELinux.
        "selinuxContext": "none",
        "migrationMethod": "BlockMigration" if _needs_copy(vmi) else "LiveMigration",
    }
    if (memory := status.get("memory")) and "guestRequested" in memory:
        status["memory"] = memory | {"guestCurrent": memory["guestRequested"]}
    if guest.info is not None:
        status["guestOSInfo"] = os_info(guest.info)
    if guest.state.frozen:
        status["fsFreezeStatus"] = "frozen"
    else:
        status.pop("fsFreezeStatus", None)
    return status


def os_info(info: GuestInfo) -> Document:
    """``guestOSInfo`` (VirtualMachineInstanceGuestOSInfo)."""
    return {
        "id": info.os_id, "name": info.os_name, "prettyName": info.os_pretty_name, "version": info.os_version,
        "versionId": info.os_version, "kernelRelease": info.kernel_release, "kernelVersion": info.kernel_version,
        "machine": info.machine,
    }  # fmt: skip


def _interfaces(vmi: Document, guest: GuestView) -> list[Document]:
    before = {interface.get("name"): interface for interface in vmi["status"].get("interfaces", [])}
    source = "domain, guest-agent" if guest.info else "domain"
    found = []
    for index, interface in enumerate(vmi["spec"]["domain"]["devices"].get("interfaces", [])):
        name = interface["name"]
        entry = before.get(name, {}) | {
            "name": name, "ipAddress": guest.address, "ipAddresses": [guest.address], "infoSource": source,
            "mac": interface.get("macAddress") or _mac(vmi["metadata"]["uid"], index),
            "queueCount": 1, "linkState": "up",
        }  # fmt: skip
        found.append(entry | ({"interfaceName": f"eth{index}"} if guest.info else {}))
    return found


def _mac(uid: str, index: int) -> str:
    """Stable for a VirtualMachineInstance, in KubeVirt's own range (02:xx)."""
    digits = f"{int(uid.replace('-', '')[-8:], 16):08x}{index:02x}"
    return ":".join(["02", *(digits[at : at + 2] for at in range(0, 10, 2))])


def _volumes(vmi: Document, plugged: frozenset[str]) -> list[Document]:
    """``volumeStatus`` with the device each disk got: virtio disks are vda and on, all others sda and on."""
    targets, counts = dict[str, str](), {"vd": 0, "sd": 0}
    for disk in vmi["spec"]["domain"]["devices"].get("disks", []):
        bus = (disk.get("disk") or disk.get("cdrom") or disk.get("lun") or {}).get("bus", "virtio")
        prefix = "vd" if bus == "virtio" else "sd"
        targets[disk["name"]] = f"{prefix}{chr(ord('a') + counts[prefix])}"
        counts[prefix] += 1
    asked = {volume["name"] for volume in vmi["spec"].get("volumes", [])}

    def entry(volume: Document) -> Document:
        name = volume["name"]
        if volume.get("hotplugVolume") is not None:
            return hotplug.reported(volume, targets.get(name, ""), asked=name in asked, plugged=name in plugged)
        return volume | ({"target": targets[name]} if name in targets else {})

    return [entry(volume) for volume in sorted(vmi["status"].get("volumeStatus", []), key=lambda one: str(one["name"]))]


def _conditions(vmi: Document, guest: GuestView, now: datetime) -> list[Document]:
    conditions = list(vmi["status"].get("conditions", []))
    conditions = _set(conditions, "LiveMigratable", *_migratable(vmi))
    conditions = _set(conditions, "StorageLiveMigratable", *_storage_migratable(vmi))
    conditions = _toggle(conditions, "AgentConnected", guest.info is not None, now)
    return _toggle(conditions, "Paused", guest.state.paused, now, "PausedByUser", "VMI was paused by user")


def _set(conditions: list[Document], type_: str, reason: str, message: str) -> list[Document]:
    wanted = {"type": type_, "status": "False" if reason else "True", "lastProbeTime": None, "lastTransitionTime": None}
    wanted |= {"reason": reason, "message": message} if reason else {}
    before = next((condition for condition in conditions if condition["type"] == type_), None)
    if before is not None and all(before.get(key) == wanted.get(key) for key in ("status", "reason", "message")):
        return conditions
    return [*without_condition(conditions, type_), wanted]


def _toggle(
    conditions: list[Document],
    type_: str,
    present: bool,
    now: datetime,
    reason: str = "",
    message: str = "",
) -> list[Document]:
    """A condition that is True or not there at all."""
    if not present:
        return without_condition(conditions, type_)
    if any(condition["type"] == type_ for condition in conditions):
        return conditions
    entry = {"type": type_, "status": "True", "lastProbeTime": timestamp(now), "lastTransitionTime": timestamp(now)}
    return [*conditions, entry | ({"reason": reason, "message": message} if reason else {})]


def _migratable(vmi: Document) -> tuple[str, str]:
    """Why it cannot be migrated live, reason and message; two empty strings when it can."""
    if obstacle := _network_obstacle(vmi):
        return ("InterfaceNotLiveMigratable", obstacle)
    status = {volume["name"]: volume for volume in vmi["status"].get("volumeStatus", [])}
    for volume in vmi["spec"].get("volumes", []):
        claim = _claim(volume)
        info = status.get(volume["name"], {}).get("persistentVolumeClaimInfo", {})
        if claim and "ReadWriteMany" not in info.get("accessModes", []):
            return ("DisksNotLiveMigratable", f"cannot migrate VMI: PVC {claim} is not shared, {_SHARED}")
    return ("", "")


def _storage_migratable(vmi: Document) -> tuple[str, str]:
    """The same, were its disks copied too."""
    obstacle = _network_obstacle(vmi)
    return ("NotMigratable", f"InterfaceNotLiveMigratable: {obstacle}") if obstacle else ("", "")


def _network_obstacle(vmi: Document) -> str:
    """What about its network prevents a migration (pkg/network/vmispec: VerifyVMIMigratable)."""
    pod = next((network["name"] for network in vmi["spec"].get("networks", []) if "pod" in network), None)
    interfaces = vmi["spec"]["domain"]["devices"].get("interfaces", [])
    primary = next((interface for interface in interfaces if interface["name"] == pod), None)
    if pod is None or primary is None or {"masquerade", "passtBinding"} & primary.keys():
        return ""
    if "bridge" in primary and _BRIDGE_MIGRATION_ANNOTATION in vmi["metadata"].get("annotations", {}):
        return ""
    return "cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network"


def _claim(volume: Document) -> str:
    return str(
        volume.get("persistentVolumeClaim", {}).get("claimName", "") or volume.get("dataVolume", {}).get("name", "")
    )


def _needs_copy(vmi: Document) -> bool:
    """Whether a disk is local to the host, so that a migration has to copy it."""
    cdroms = {disk["name"] for disk in vmi["spec"]["domain"]["devices"].get("disks", []) if "cdrom" in disk}
    return any(not _claim(volume) and volume["name"] not in cdroms for volume in vmi["spec"].get("volumes", []))
