"""etcd and Kubernetes as kubeadm would configure them, but on this machine's loopback: each one's command line."""

from pathlib import Path

import msgspec

from kubelet_bridge.devcluster.component import Component, Health
from kubelet_bridge.devcluster.identities import CLUSTER_CA, ETCD_CA, FRONT_PROXY_CA
from kubelet_bridge.devcluster.layout import ClusterState, Layout, write_private

_LOCAL = "127.0.0.1"
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_QPS, _BURST = 1000, 2000
"""Client-side limits of the controllers: high, so that a scale test measures the bridge and not them."""

_AUDITED = {
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [
        *(
            {"level": "None", "userGroups": [f"system:serviceaccounts:{namespace}"]}
            for namespace in ("kube-system", "kubevirt", "cdi")
        ),
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}  # fmt: skip
"""Every request of a ServiceAccount that is none of the cluster's own, as a bridge is: what rights it uses."""


def control_plane(layout: Layout, state: ClusterState) -> tuple[Component, ...]:
    """In the order they start."""
    return tuple(make(layout, state) for make in (_etcd, _apiserver, _controller_manager, _scheduler))


def write_configuration(layout: Layout) -> None:
    """What is taken from files only: the API server's audit policy, the scheduler's client limits.

    That tries a Pod again after a second: cdi-controller writes to the claims of Pods that wait, and a try may lose.
    """
    write_private(layout.audit_policy, msgspec.json.encode(_AUDITED))
    configuration = {
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("scheduler")), "qps": _QPS, "burst": _BURST},
        "leaderElection": {"leaderElect": False}, "podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 1,
    }  # fmt: skip
    write_private(layout.scheduler_config, msgspec.json.encode(configuration))


def _flags(program: str, layout: Layout, values: dict[str, str | int | Path]) -> list[str]:
    return [str(layout.bin / program), *(f"--{name}={value}" for name, value in values.items())]


def _etcd(layout: Layout, state: ClusterState) -> Component:
    """With TLS and client certificates, also on loopback: without, every user of the machine could read all Secrets."""
    ports, authority = state.ports, layout.certificate(ETCD_CA)
    client, peer = f"https://{_LOCAL}:{ports.etcd}", f"https://{_LOCAL}:{ports.etcd_peer}"
    argv = _flags("etcd", layout, {
        "name": "dev", "data-dir": layout.etcd, "log-level": "warn",
        "listen-client-urls": client, "advertise-client-urls": client,
        "listen-peer-urls": peer, "initial-advertise-peer-urls": peer, "initial-cluster": f"dev={peer}",
        "client-cert-auth": "true", "trusted-ca-file": authority,
        "cert-file": layout.certificate("etcd"), "key-file": layout.key("etcd"),
        "peer-client-cert-auth": "true", "peer-trusted-ca-file": authority,
        "peer-cert-file": layout.certificate("etcd"), "peer-key-file": layout.key("etcd"),
    })  # fmt: skip
    return Component(
        "etcd", argv, f"{_LOCAL}:{ports.etcd}", (ports.etcd, ports.etcd_peer), health=etcd_health(layout, state)
    )


def etcd_health(layout: Layout, state: ClusterState) -> Health:
    """etcd, asked with the API server's client certificate."""
    pair = layout.certificate("apiserver-etcd-client"), layout.key("apiserver-etcd-client")
    return Health(f"https://{_LOCAL}:{state.ports.etcd}/health", layout.certificate(ETCD_CA), *pair)


def _apiserver(layout: Layout, state: ClusterState) -> Component:
    port = state.ports.apiserver
    argv = _flags("kube-apiserver", layout, {
        "bind-address": _LOCAL, "secure-port": port, "advertise-address": state.node_address,
        "allow-privileged": "true", "authorization-mode": "Node,RBAC", "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": state.service_cidr,
        "audit-policy-file": layout.audit_policy, "audit-log-path": layout.audit_log, "audit-log-maxsize": 512,
        "tls-cert-file": layout.certificate("apiserver"), "tls-private-key-file": layout.key("apiserver"),
        "client-ca-file": layout.certificate(CLUSTER_CA),
        "etcd-servers": f"https://{_LOCAL}:{state.ports.etcd}", "etcd-cafile": layout.certificate(ETCD_CA),
        "etcd-certfile": layout.certificate("apiserver-etcd-client"),
        "etcd-keyfile": layout.key("apiserver-etcd-client"),
        "kubelet-client-certificate": layout.certificate("apiserver-kubelet-client"),
        "kubelet-client-key": layout.key("apiserver-kubelet-client"),
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "proxy-client-cert-file": layout.certificate("front-proxy-client"),
        "proxy-client-key-file": layout.key("front-proxy-client"),
        "requestheader-client-ca-file": layout.certificate(FRONT_PROXY_CA),
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User", "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "service-account-issuer": _ISSUER, "service-account-key-file": layout.pki / "sa.pub",
        "service-account-signing-key-file": layout.key("sa"),
    })  # fmt: skip
    health = Health(f"https://{_LOCAL}:{port}/readyz", layout.certificate(CLUSTER_CA))
    # It would wait for watches to end by themselves; nothing of it is lost when they are cut.
    return Component("kube-apiserver", argv, f"{_LOCAL}:{port}", (port,), health=health, grace=1.0)


def _controller_manager(layout: Layout, state: ClusterState) -> Component:
    port, kubeconfig = state.ports.controller_manager, layout.kubeconfig("controller-manager")
    argv = _flags("kube-controller-manager", layout, {
        **_served(layout, "controller-manager", kubeconfig, port),
        "controllers": "*,bootstrapsigner,tokencleaner", "use-service-account-credentials": "true",
        "client-ca-file": layout.certificate(CLUSTER_CA), "root-ca-file": layout.certificate(CLUSTER_CA),
        "requestheader-client-ca-file": layout.certificate(FRONT_PROXY_CA),
        "cluster-signing-cert-file": layout.certificate(CLUSTER_CA), "cluster-signing-key-file": layout.key(CLUSTER_CA),
        "service-account-private-key-file": layout.key("sa"), "service-cluster-ip-range": state.service_cidr,
        "kubeconfig": kubeconfig, "leader-elect": "false", "kube-api-qps": _QPS, "kube-api-burst": _BURST,
    })  # fmt: skip
    health = Health(f"https://{_LOCAL}:{port}/healthz", layout.certificate(CLUSTER_CA))
    return Component("kube-controller-manager", argv, f"{_LOCAL}:{port}", (port,), health=health)


def _scheduler(layout: Layout, state: ClusterState) -> Component:
    port = state.ports.scheduler
    argv = _flags("kube-scheduler", layout, {
        **_served(layout, "scheduler", layout.kubeconfig("scheduler"), port), "config": layout.scheduler_config,
    })  # fmt: skip
    health = Health(f"https://{_LOCAL}:{port}/readyz", layout.certificate(CLUSTER_CA))
    return Component("kube-scheduler", argv, f"{_LOCAL}:{port}", (port,), health=health)


def _served(layout: Layout, name: str, kubeconfig: Path, port: int) -> dict[str, str | int | Path]:
    """Flags of a controller's own endpoint: health for anybody, metrics for whom the API server lets."""
    return {
        "bind-address": _LOCAL, "secure-port": port,
        "tls-cert-file": layout.certificate(f"{name}-server"), "tls-private-key-file": layout.key(f"{name}-server"),
        "authentication-kubeconfig": kubeconfig, "authorization-kubeconfig": kubeconfig,
    }  # fmt: skip
