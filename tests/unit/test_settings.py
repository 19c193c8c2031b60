"""Settings: three sources, one meaning, and no silent mistakes."""

import pytest

from kubelet_bridge.errors import SettingsError
from kubelet_bridge.settings import Settings, address, merge, reference


def test_flags_win_over_environment_over_file() -> None:
    file = {"node_name": "file", "workers": 3, "default_memory": "2Gi"}
    environment = {"KUBELET_BRIDGE_NODE_NAME": "env", "KUBELET_BRIDGE_WORKERS": "5", "HOME": "/root"}
    settings = merge(file, environment, {"node_name": "flag"})
    assert (settings.node_name, settings.workers, settings.default_memory) == ("flag", 5, "2Gi")


def test_environment_text_becomes_typed() -> None:
    settings = merge(
        {},
        {
            "KUBELET_BRIDGE_RESYNC_SECONDS": "2.5",
            "KUBELET_BRIDGE_LOG_FORMAT": "console",
            "KUBELET_BRIDGE_REQUEST_CERTIFICATE": "false",
            "KUBELET_BRIDGE_NODE_LABELS": "zone=a, tier=vm",
        },
        {},
    )
    assert settings.resync_seconds == 2.5
    assert settings.log_format == "console"
    assert settings.request_certificate is False
    assert settings.node_labels == {"zone": "a", "tier": "vm"}


@pytest.mark.parametrize(
    ("file", "environment", "message"),
    [
        ({"node_nam": "x"}, {}, "unknown setting node_nam in the settings file; did you mean node_name?"),
        ({}, {"KUBELET_BRIDGE_LISTN": "x"}, "did you mean KUBELET_BRIDGE_LISTEN?"),
        ({"workers": "many"}, {}, "workers"),
        ({"workers": 0}, {}, "workers must be more than 0"),
        ({"listen": "10250"}, {}, "listen: '10250' is not ADDRESS:PORT"),
        ({"tls_cert_file": "a"}, {}, "go together"),
        ({"log_level": "loud"}, {}, "log_level"),
        ({"node_name": "Bad_Name"}, {}, "node_name: 'Bad_Name' is not a name for a Node"),
        ({"node_name": "a" * 254}, {}, "is not a name for a Node"),
        ({}, {"KUBELET_BRIDGE_NODE_LABELS": "zone"}, "'zone' is not KEY=VALUE"),
    ],
)
def test_a_mistake_is_named(file: dict[str, object], environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        merge(file, environment, {})
    assert message in str(caught.value)


def test_addresses() -> None:
    assert address("listen", "[::1]:10250") == ("::1", 10250)
    assert address("listen", "127.0.0.1:0") == ("127.0.0.1", 0)


def test_the_reference_names_every_setting() -> None:
    text = reference()
    assert all(f"`{name}`" in text for name in Settings.__struct_fields__)
