"""Which VirtualMachines have a claim as a disk."""

from typing import Any

import msgspec

from kubelet_bridge.kube.informer import Informer


class _InstanceSpec(msgspec.Struct, frozen=True):
    volumes: list[dict[str, Any]] = []


class _Template(msgspec.Struct, frozen=True):
    spec: _InstanceSpec = _InstanceSpec()


class _Spec(msgspec.Struct, frozen=True):
    template: _Template = _Template()


class _Machine(msgspec.Struct, frozen=True):
    spec: _Spec = _Spec()


_DECODER = msgspec.json.Decoder(_Machine)


def claim_users(vms: Informer, namespace: str, claim: str) -> list[str]:
    """Names of the cached VMs of ``namespace`` that have ``claim``, under either name that KubeVirt has for it."""
    found = (one for one in vms.all() if one.head.namespace == namespace)
    return [one.head.name for one in found if claim in _claims(_DECODER.decode(one.raw))]


def _claims(machine: _Machine) -> set[str]:
    volumes = machine.spec.template.spec.volumes
    direct = {str((one.get("persistentVolumeClaim") or {}).get("claimName")) for one in volumes}
    return direct | {str((one.get("dataVolume") or {}).get("name")) for one in volumes}
