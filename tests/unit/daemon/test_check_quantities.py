"""A setting that is no quantity stops the daemon before it has registered anything."""

import pytest

from kubelet_bridge.daemon.fromsettings import check_quantities
from kubelet_bridge.errors import SettingsError
from kubelet_bridge.settings import Settings, merge


@pytest.mark.parametrize(
    "name", ["capacity_cpu", "capacity_memory", "capacity_storage", "vm_overhead", "default_memory"]
)
def test_what_is_no_quantity_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}: 'lots' is not a Kubernetes quantity"):
        check_quantities(merge({name: "lots"}, {}, {}))


def test_defaults_and_quantities_pass() -> None:
    check_quantities(Settings())
    check_quantities(Settings(capacity_cpu="1500m", capacity_memory="1.5Ti"))
