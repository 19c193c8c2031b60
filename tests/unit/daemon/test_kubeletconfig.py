"""``/configz`` says what is so: each figure is looked up where it takes effect."""

import msgspec

from kubelet_bridge.daemon.kubeletconfig import configuration
from kubelet_bridge.settings import Settings


def test_what_is_not_set_is_not_invented() -> None:
    assert configuration(Settings(taint_key=""), port=10250, pods=0) == {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": True,
        "address": "0.0.0.0",
        "port": 10250,
        "tlsMinVersion": "VersionTLS12",
        "serverTLSBootstrap": True,
        "authentication": {
            "x509": {},
            "webhook": {"enabled": True, "cacheTTL": "2m0s"},
            "anonymous": {"enabled": False},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
        },
        "streamingConnectionIdleTimeout": "4h0m0s",
        "syncFrequency": "15s",
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "enableControllerAttachDetach": False,
        "enableDebuggingHandlers": True,
        "enableSystemLogHandler": False,
        "enableProfilingHandler": False,
        "enableDebugFlagsHandler": False,
        "registerNode": True,
    }


def test_settings_appear_under_their_kubelet_names() -> None:
    settings = Settings(
        listen="[::1]:1234", tls_cert_file="/c", tls_key_file="/k", client_ca_file="/ca", resync_seconds=90,
        status_seconds=60,
    )  # fmt: skip
    found = configuration(settings, port=1234, pods=110)
    expected = {
        "address": "::1", "tlsCertFile": "/c", "tlsPrivateKeyFile": "/k", "serverTLSBootstrap": False,
        "syncFrequency": "1m30s", "nodeStatusReportFrequency": "1m0s", "maxPods": 110,
        "registerWithTaints": [
            {"key": "virtual-kubelet.io/provider", "value": "kubevirt", "effect": "NoSchedule"}
        ],
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert found["authentication"]["x509"] == {"clientCAFile": "/ca"}
    assert "key" not in msgspec.json.encode(found["authentication"]).decode().lower()
