"""Running the bridge itself on a cluster: the rights it needs, and its process. Tests start bridges this way too."""

from kubelet_bridge.devcluster import manifests, registry
from kubelet_bridge.devcluster.component import Component, Health
from kubelet_bridge.devcluster.identities import BRIDGE_ACCOUNT, BRIDGE_NAMESPACE
from kubelet_bridge.devcluster.layout import ClusterState, Layout
from kubelet_bridge.devcluster.manifests import Manifest
from kubelet_bridge.devcluster.processes import python_command
from kubelet_bridge.model.resources import CSIDRIVERS, STORAGECLASSES
from kubelet_bridge.model.storagenames import PROVISIONER

NODE_NAME = "kubelet-bridge"
VM_DISK = "vm-disk"
_READ = ("get", "list", "watch")
_ACTIONS = ("stop", "addvolume", "removevolume")

# Group, resources, verbs: those of the chart, without its names and namespaces. A development cluster has many bridges.
RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("", ("nodes",), (*_READ, "create", "patch")),
    ("", ("nodes/status", "pods/status"), ("patch",)),
    ("coordination.k8s.io", ("leases",), ("get", "create", "update")),
    ("", ("pods/log",), ("get",)),
    ("", ("pods",), (*_READ, "delete")),
    ("", ("events",), ("list", "watch", "create", "patch")),
    ("", ("secrets",), ("get", "create", "patch")),
    ("", ("configmaps",), ("get",)),
    ("", ("services",), ("list",)),
    ("", ("persistentvolumeclaims",), (*_READ, "patch")),
    ("", ("persistentvolumeclaims/status",), ("patch",)),
    ("", ("persistentvolumes",), (*_READ, "create", "patch", "delete")),
    ("storage.k8s.io", ("storageclasses",), ("get",)),
    ("", ("serviceaccounts/token",), ("create",)),
    ("kubevirt.io", ("virtualmachines",), (*_READ, "create", "patch", "delete")),
    ("kubevirt.io", ("virtualmachineinstances",), ("list", "watch", "delete")),
    ("kubevirt.io", ("kubevirts",), ("list",)),
    ("cdi.kubevirt.io", ("datavolumes",), (*_READ, "create", "delete")),
    # The right to clone what is in a namespace: golden images are in another than their clones.
    ("cdi.kubevirt.io", ("datavolumes/source",), ("create",)),
    ("cdi.kubevirt.io", ("datasources",), ("get", "list")),
    # How large what a DataSource names is: a snapshot says so itself, a claim together with CDI's overhead.
    ("cdi.kubevirt.io", ("cdiconfigs",), ("get",)),
    ("snapshot.storage.k8s.io", ("volumesnapshots",), ("get",)),
    ("subresources.kubevirt.io", ("version",), ("list",)),
    ("subresources.kubevirt.io", tuple(f"virtualmachines/{action}" for action in _ACTIONS), ("update",)),
    (
        "subresources.kubevirt.io",
        tuple(f"virtualmachineinstances/{stream}" for stream in ("console", "vnc", "portforward")),
        ("get",),
    ),
    ("authentication.k8s.io", ("tokenreviews",), ("create",)),
    ("authorization.k8s.io", ("subjectaccessreviews",), ("create",)),
    ("certificates.k8s.io", ("certificatesigningrequests",), ("get", "create")),
)

VSOCK_RULES = (("subresources.kubevirt.io", ("virtualmachineinstances/vsock",), ("get",)),)
"""What ``guest_transport`` vsock and auto need beside them."""


def rbac(*, vsock: bool = False) -> list[Manifest]:
    """The bridge's namespace, ServiceAccount, ClusterRole and bindings."""
    rules = [*RULES, *(VSOCK_RULES if vsock else ())]
    subject = {"kind": "ServiceAccount", "name": BRIDGE_ACCOUNT, "namespace": BRIDGE_NAMESPACE}
    role: Manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": BRIDGE_ACCOUNT},
        "rules": [{"apiGroups": [group], "resources": resources, "verbs": verbs} for group, resources, verbs in rules],
    }  # fmt: skip
    # The client CA and the request-header CA of the API server, which calls the kubelet API.
    reader: Manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "kubelet-bridge-authentication-reader", "namespace": "kube-system"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
            "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [subject],
    }  # fmt: skip
    account: Manifest = {
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": BRIDGE_ACCOUNT, "namespace": BRIDGE_NAMESPACE},
    }  # fmt: skip
    return [role, reader, account, manifests.cluster_role_binding(BRIDGE_ACCOUNT, BRIDGE_ACCOUNT, subject)]


def classes() -> list[Manifest]:
    """The driver and the StorageClass of disks that the bridge provisions, on the cluster's default class."""
    return [
        {
            "apiVersion": CSIDRIVERS.api_version, "kind": CSIDRIVERS.kind, "metadata": {"name": PROVISIONER},
            "spec": {
                "attachRequired": False, "podInfoOnMount": False, "fsGroupPolicy": "None", "storageCapacity": False,
            },
        },
        {
            "apiVersion": STORAGECLASSES.api_version, "kind": STORAGECLASSES.kind,
            "metadata": {"name": VM_DISK}, "provisioner": PROVISIONER, "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": True,
        },
    ]  # fmt: skip


def component(
    layout: Layout, state: ClusterState, *, node_name: str = NODE_NAME, listen_port: int = 0, admin_port: int = 0,
    guest_port: int = 0, guest_files_port: int = 0, arguments: tuple[str, ...] = (),
) -> Component:  # fmt: skip
    """A bridge called ``node_name``, with its own state directory; a port of 0 is the one the cluster keeps for it."""
    ports = state.ports
    listen, admin = listen_port or ports.bridge, admin_port or ports.bridge_admin
    guest, guest_files = guest_port or ports.bridge_guest, guest_files_port or ports.bridge_guest_files
    address = f"{state.node_address}:{listen}"
    state_directory = layout.bridge_state if node_name == NODE_NAME else layout.directory / node_name
    argv = python_command(
        "run", "--kubeconfig", str(layout.kubeconfig("bridge")), "--state-dir", str(state_directory),
        "--node-name", node_name, "--listen", address, "--admin-listen", f"127.0.0.1:{admin}",
        "--guest-listen", f"{state.node_address}:{guest}",
        "--guest-files-listen", f"{state.node_address}:{guest_files}", "--namespace", BRIDGE_NAMESPACE,
        *registry.bridge_arguments(layout, state), *arguments,
    )  # fmt: skip
    return Component(
        node_name,
        argv,
        address,
        (listen, admin, guest, guest_files),
        health=Health(f"http://127.0.0.1:{admin}/readyz"),
        grace=10.0,
    )
