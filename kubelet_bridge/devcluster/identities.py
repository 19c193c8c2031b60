"""Who is who in the cluster: every certificate and kubeconfig, named as kubeadm and virt-operator name them."""

import base64
import ipaddress

import msgspec

from kubelet_bridge.devcluster.layout import ClusterState, Layout, write_private
from kubelet_bridge.devcluster.pki import Authority, Leaf, ensure_signer, ensure_token_keys

CLUSTER_CA, FRONT_PROXY_CA, ETCD_CA, KUBEVIRT_CA = "ca", "front-proxy-ca", "etcd-ca", "kubevirt-ca"
CDI_CA, UPLOAD_SERVER_CA, UPLOAD_CLIENT_CA = "cdi-ca", "cdi-uploadserver-signer", "cdi-uploadserver-client-signer"
ADMINS = "kubeadm:cluster-admins"
"""kubeadm binds this group to cluster-admin; its members, unlike ``system:masters``, remain subject to RBAC."""

BRIDGE_NAMESPACE, BRIDGE_ACCOUNT = "kubelet-bridge", "kubelet-bridge"


def service_account(namespace: str, name: str) -> tuple[str, tuple[str, ...]]:
    """The user and groups of a ServiceAccount, for a client certificate that *is* it: no token to renew.

    KubeVirt's webhooks compare the user name, so virt-api and virt-controller must be their ServiceAccounts.
    """
    return (
        f"system:serviceaccount:{namespace}:{name}",
        ("system:serviceaccounts", f"system:serviceaccounts:{namespace}"),
    )


def _users() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Whoever has a kubeconfig: its name, then user and groups."""
    return {
        "admin": ("kubernetes-admin", (ADMINS,)),
        "super-admin": ("kubernetes-super-admin", ("system:masters",)),
        "controller-manager": ("system:kube-controller-manager", ()),
        "scheduler": ("system:kube-scheduler", ()),
        "virt-api": service_account("kubevirt", "kubevirt-apiserver"),
        "virt-controller": service_account("kubevirt", "kubevirt-controller"),
        "cdi-apiserver": service_account("cdi", "cdi-apiserver"),
        "cdi-controller": service_account("cdi", "cdi-sa"),
        "bridge": service_account(BRIDGE_NAMESPACE, BRIDGE_ACCOUNT),
    }


def leaves(state: ClusterState) -> tuple[Leaf, ...]:
    """Every certificate of the cluster but the authorities."""
    local = ("127.0.0.1",)
    service = str(next(ipaddress.ip_network(state.service_cidr).hosts()))
    apiserver_names = (
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        "localhost",
    )  # fmt: skip
    virt_api_names = ("virt-api.kubevirt.svc", "virt-api.kubevirt.svc.cluster.local", "localhost")
    return (
        Leaf("etcd", ETCD_CA, "etcd", dns=("localhost",), addresses=local),
        Leaf("apiserver-etcd-client", ETCD_CA, "kube-apiserver-etcd-client"),
        Leaf(
            "apiserver", CLUSTER_CA, "kube-apiserver", dns=apiserver_names,
            addresses=(*local, service, state.node_address), client=False,
        ),
        Leaf("apiserver-kubelet-client", CLUSTER_CA, "kube-apiserver-kubelet-client", (ADMINS,)),
        Leaf("front-proxy-client", FRONT_PROXY_CA, "front-proxy-client"),
        Leaf("controller-manager-server", CLUSTER_CA, "kube-controller-manager", dns=("localhost",), addresses=local),
        Leaf("scheduler-server", CLUSTER_CA, "kube-scheduler", dns=("localhost",), addresses=local),
        Leaf("virt-api-server", KUBEVIRT_CA, "virt-api.kubevirt.svc", dns=virt_api_names, addresses=local),
        Leaf("virt-controller-server", KUBEVIRT_CA, "virt-controller", dns=("localhost",), addresses=local),
        Leaf("cdi-apiserver-server", CDI_CA, "cdi-api.cdi.svc", dns=("cdi-api.cdi.svc", "localhost"), addresses=local),
        Leaf("virt-handler-client", KUBEVIRT_CA, "kubevirt.io:system:client:virt-handler"),
        Leaf(
            "virt-handler-server", KUBEVIRT_CA, "kubevirt.io:system:node:virt-handler", dns=("localhost",),
            addresses=(*local, state.node_address),
        ),
        *(Leaf(name, CLUSTER_CA, user, groups) for name, (user, groups) in _users().items()),
    )  # fmt: skip


def issue(layout: Layout, state: ClusterState) -> None:
    """Make the authorities if they are not there, issue every certificate anew, and write the kubeconfigs."""
    names = (CLUSTER_CA, FRONT_PROXY_CA, ETCD_CA, KUBEVIRT_CA, CDI_CA)
    authorities = {name: Authority(layout.pki, name) for name in names}
    ensure_token_keys(layout.pki / "sa.key", layout.pki / "sa.pub")
    layout.token_keys.mkdir(mode=0o700, exist_ok=True)
    ensure_token_keys(layout.token_keys / "id_rsa", layout.token_keys / "id_rsa.pub")
    for name in (UPLOAD_SERVER_CA, UPLOAD_CLIENT_CA):
        ensure_signer(layout.certificate(name), layout.key(name), name)
    for leaf in leaves(state):
        authorities[leaf.authority].issue(leaf)
    for user in _users():
        write_private(layout.kubeconfig(user), _kubeconfig(layout, state, user))


def _kubeconfig(layout: Layout, state: ClusterState, user: str) -> bytes:
    """Everything embedded, so that the file can be copied elsewhere. JSON is YAML."""
    cluster = {
        "server": f"https://127.0.0.1:{state.ports.apiserver}",
        "certificate-authority-data": _embedded(layout.certificate(CLUSTER_CA).read_bytes()),
    }
    credentials = {
        "client-certificate-data": _embedded(layout.certificate(user).read_bytes()),
        "client-key-data": _embedded(layout.key(user).read_bytes()),
    }
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": "dev", "preferences": {},
        "clusters": [{"name": "kubelet-bridge-dev", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "dev", "context": {"cluster": "kubelet-bridge-dev", "user": user}}],
    }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _embedded(content: bytes) -> str:
    return base64.b64encode(content).decode()
