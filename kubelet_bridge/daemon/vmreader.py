"""What ``/vms`` tells, from the intent store's file, the caches of the cluster, and what agents have said."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import UNSET

from kubelet_bridge.errors import NotFound, Terminal
from kubelet_bridge.kube.view import NodeView
from kubelet_bridge.kubelet_api.vms import answers, query
from kubelet_bridge.model.guest import Guest
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.kubevirt import VirtualMachine, VirtualMachineInstance
from kubelet_bridge.store import views

FindGuest = Callable[[str], Guest | None]
"""What is known of the guest of a uid."""

_INTENT = msgspec.json.Decoder(Intent)
_VM = msgspec.json.Decoder(VirtualMachine)
_VMI = msgspec.json.Decoder(VirtualMachineInstance)

Answer = TypeVar("Answer", bound=msgspec.Struct)


class StoredVms:
    """Satisfies ``kubelet_api.vms.ports.VmReader``. Reads the file beside its writer, on a thread."""

    def __init__(self, directory: Path, view: NodeView, guest: FindGuest) -> None:
        self._directory, self._view, self._guest = directory, view, guest

    async def page(self, asked: query.VmQuery) -> answers.VmList:
        """See ``VmReader``."""
        read = partial(
            views.page, self._directory, namespace=asked.namespace, name=asked.name, destroyed=asked.destroyed,
            limit=asked.limit + 1, after=asked.after or ("", "", "", ""),
        )  # fmt: skip
        found = await asyncio.to_thread(read)
        shown, more = found[: asked.limit], len(found) > asked.limit
        last = shown[-1] if more else None
        token = query.token((last.namespace, last.name, last.accepted_at, last.uid)) if last is not None else ""
        items = [_vm(_decoded(row.data), row) for row in shown]
        return self._dated(answers.VmList(items=items, continue_=token))

    async def detail(self, vm: str) -> answers.VmDetail:
        """See ``VmReader``."""
        found = await self._show(vm)
        intent = _decoded(found.intent)
        boots = msgspec.convert(found.restarts, list[answers.Boot], from_attributes=True)
        promised = msgspec.structs.asdict(_vm(intent, found.summary))
        return self._dated(answers.VmDetail(**promised, boots=boots, cluster=self._cluster(intent)))

    async def history(self, vm: str) -> answers.History:
        """See ``VmReader``."""
        found = await self._show(vm)
        items = msgspec.convert(found.history, list[answers.Change], from_attributes=True)
        return self._dated(answers.History(items=items))

    async def actions(self, vm: str) -> answers.Actions:
        """See ``VmReader``."""
        found = await self._show(vm)
        items = msgspec.convert(found.actions, list[answers.VmAction], from_attributes=True)
        return self._dated(answers.Actions(items=items))

    async def guest(self, vm: str) -> answers.GuestInfo:
        """See ``VmReader``."""
        found = await self._show(vm)
        guest = self._guest(found.summary.uid)
        if guest is None or guest.since is None:
            raise NotFound(404, "NotFound", f"no agent has come from the guest of {vm!r}")
        return self._dated(guest_info(guest))

    async def living(self, vm: str) -> answers.Vm:
        """See ``VmReader``."""
        found = await self._show(vm)
        if found.summary.destroyed_at is not None or not found.summary.vm_name:
            raise NotFound(404, "NotFound", f"{vm!r} has no virtual machine")
        return _vm(_decoded(found.intent), found.summary)

    async def _show(self, vm: str) -> views.Detail:
        try:
            return await asyncio.to_thread(views.show, self._directory, vm)
        except Terminal as error:
            if error.reason == "UnknownIntent":
                raise NotFound(404, "NotFound", error.message) from error
            raise

    def _cluster(self, intent: Intent) -> answers.Cluster | None:
        vm = self._view.vms.get(intent.namespace, intent.vm_name)
        if vm is None or (intent.vm_uid and vm.head.uid != intent.vm_uid):
            return None
        printable = _VM.decode(vm.raw).status.printable_status
        vmi = self._view.vmis.get(intent.namespace, intent.vm_name)
        if vmi is None or (intent.vmi_uid and vmi.head.uid != intent.vmi_uid):
            return answers.Cluster(printable)
        status = _VMI.decode(vmi.raw).status
        addresses = [one.ip_address for one in status.interfaces if one.ip_address]
        return answers.Cluster(printable, status.phase, status.node_name, addresses)

    def _dated(self, answer: Answer) -> Answer:
        return msgspec.structs.replace(answer, stale_since=self._view.stale_since or UNSET)


def guest_info(guest: Guest) -> answers.GuestInfo:
    """What an agent has told, as it is shown."""
    facts = guest.facts
    return answers.GuestInfo(
        connected=guest.connected, outdated=guest.outdated, since=guest.since, agent_version=facts.agent_version,
        agent_digest=facts.agent_digest, boot_id=facts.boot_id, hostname=facts.hostname,
        os=answers.OperatingSystem(
            id=facts.os_id, version_id=facts.os_version_id, pretty_name=facts.os_pretty_name,
            kernel_release=facts.kernel_release, machine=facts.machine, timezone=facts.timezone,
            init_system=facts.init_system,
        ),
        addresses=facts.addresses, users=facts.users, cpus=facts.cpus, memory=facts.memory,
        filesystems=msgspec.convert(facts.filesystems, list[answers.Filesystem], from_attributes=True),
    )  # fmt: skip


def _decoded(data: str | msgspec.Raw) -> Intent:
    try:
        return _INTENT.decode(data)
    except msgspec.DecodeError as error:
        raise Terminal(f"a row of the intent store cannot be read: {error}", reason="UnreadableIntentStore") from error


def _vm(intent: Intent, row: views.Row | views.Summary) -> answers.Vm:
    promised = intent.allocation
    return answers.Vm(
        id=intent.id, uid=intent.uid, namespace=intent.namespace, name=intent.name, container=intent.container,
        pod_uid=intent.pod_uid, status=intent.status, vm_name=intent.vm_name, vm_uid=intent.vm_uid,
        vmi_uid=intent.vmi_uid, hosting=intent.hosting, boot_image=intent.boot_image,
        restart_count=intent.restart_count, cpu=promised.cpu, memory=promised.memory, disk=promised.disk,
        mac=promised.mac, ports=promised.ports, outcome=intent.outcome, outcome_reason=intent.outcome_reason,
        outcome_message=intent.outcome_message, accepted_at=intent.accepted_at, updated_at=row.updated_at,
        destroyed_at=row.destroyed_at,
    )  # fmt: skip
