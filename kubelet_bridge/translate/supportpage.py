"""The page on what cannot be a virtual machine, and on what means something else in one, made from the tables."""

from kubelet_bridge.translate.annotations import CONTAINERS
from kubelet_bridge.translate.machines import VM_PER_CONTAINER
from kubelet_bridge.translate.remarks import REMARKS
from kubelet_bridge.translate.sharing import SHARING
from kubelet_bridge.translate.support import RULES
from kubelet_bridge.translate.table import WHERE


def document() -> str:
    """``docs/what-cannot-be-a-vm.md``, in Markdown."""
    refused, different = (
        "\n".join(f"| `{row.field}` | {WHERE[row.of]} | {row.text} |" for row in table) for table in (RULES, REMARKS)
    )
    unshared = "\n".join(f"| `{row.field}` | {row.text} |" for row in SHARING)
    return _PAGE.format(
        refused=refused, different=different, unshared=unshared, wanted=f"{CONTAINERS}: {VM_PER_CONTAINER}"
    )


_PAGE = """\
# What cannot be a virtual machine

<!-- Made from the tables in kubelet_bridge/translate/support.py, remarks.py and sharing.py; change those. -->

A Pod that asks for something a virtual machine cannot give is rejected: its phase is `Failed`, its reason
`UnsupportedPodSpec`, and its message names the field and why. `kubelet-bridge render POD.yaml` tells the same without a
cluster.

What a field means depends on how the Pod's containers live in the VM:

- *application image*: the VM boots the runtime image, and the agent in it runs the containers by podman.
- *commands on an OS image*: the VM boots the image, and the agent runs the containers' commands on that OS.
- *the machine itself*: one container without a command on an OS image; or any, where the node has no agent.

| Field | Of | Why |
|---|---|---|
{refused}

## What means something else in a virtual machine

These fields are accepted. Where something a Pod relies on is lost, an event on the Pod says so.

| Field | Of | What becomes of it |
|---|---|---|
{different}

## A virtual machine for each container

With the annotation `{wanted}` each container has a VM of its own, and what is above holds for each as if it were a Pod
of its own. Init containers run in order, and the VM of one that has succeeded is removed. Sidecars
stay until the main containers have ended. The Pod has one status: it is ready when all of them are.

- Containers do not share `localhost`, an address, a process table or a volume that is written to. The Pod's address is
  that of its first main container's VM; a Service leads there and to no other. In each container `status.podIP` is the
  address of its own VM.
- A container has the volumes that it mounts; CPU and memory of its VM are by its own requests and limits.
- What counts is the annotation at the time when the node takes the Pod.

These fields are refused in addition:

| Field | Why |
|---|---|
{unshared}
"""
