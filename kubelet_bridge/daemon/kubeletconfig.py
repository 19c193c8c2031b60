"""What ``/configz`` says: our settings by the names that a KubeletConfiguration has for them, and nothing else."""

from typing import Any

from kubelet_bridge.kubelet_api import auth
from kubelet_bridge.kubelet_api.configz import duration
from kubelet_bridge.node import lease, registration
from kubelet_bridge.settings import Settings, address


def configuration(settings: Settings, *, port: int, pods: int) -> dict[str, Any]:
    """``port`` is the one we listen on, ``pods`` how many Pods the Node takes; 0: not known yet."""
    host, _ = address("listen", settings.listen)
    found: dict[str, Any] = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": True,
        "address": host,
        "port": port,
        "tlsMinVersion": "VersionTLS12",
        "serverTLSBootstrap": settings.request_certificate and not settings.tls_cert_file,
        "authentication": {
            "x509": {"clientCAFile": settings.client_ca_file} if settings.client_ca_file else {},
            "webhook": {"enabled": True, "cacheTTL": duration(auth.TOKEN_KNOWN)},
            "anonymous": {"enabled": False},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {
                "cacheAuthorizedTTL": duration(auth.ACCESS_ALLOWED),
                "cacheUnauthorizedTTL": duration(auth.ACCESS_DENIED),
            },
        },
        "streamingConnectionIdleTimeout": duration(settings.streaming_idle_seconds),
        "syncFrequency": duration(settings.resync_seconds),
        "nodeStatusUpdateFrequency": duration(registration.INTERVAL),
        "nodeStatusReportFrequency": duration(settings.status_seconds),
        "nodeLeaseDurationSeconds": lease.DURATION,
        "enableControllerAttachDetach": False,
        "enableDebuggingHandlers": True,
        "enableSystemLogHandler": False,
        "enableProfilingHandler": False,
        "enableDebugFlagsHandler": False,
        "registerNode": True,
    }
    if settings.tls_cert_file:
        found |= {"tlsCertFile": settings.tls_cert_file, "tlsPrivateKeyFile": settings.tls_key_file}
    if settings.taint_key:
        taint = {"key": settings.taint_key, "value": settings.taint_value, "effect": settings.taint_effect}
        found["registerWithTaints"] = [taint]
    if pods:
        found["maxPods"] = pods
    return found
