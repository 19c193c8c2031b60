"""What is made of the settings alone, before anything is opened."""

from pathlib import Path

from kubelet_bridge.aio import files
from kubelet_bridge.errors import SettingsError
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.node.identity import NodeIdentity, Taint
from kubelet_bridge.settings import Settings
from kubelet_bridge.translate.config import BridgeConfig


def check_quantities(settings: Settings) -> None:
    """Refuse what is no quantity while nothing is registered yet. Raises ``SettingsError``."""
    for name in ("capacity_cpu", "capacity_memory", "capacity_storage", "vm_overhead", "default_memory"):
        if text := getattr(settings, name):
            try:
                Quantity.parse(text)
            except InvalidQuantity as error:
                raise SettingsError(f"{name}: {error}") from error


def identity(settings: Settings) -> NodeIdentity:
    """Who the Node is."""
    taint = Taint(settings.taint_key, settings.taint_value, settings.taint_effect) if settings.taint_key else None
    return NodeIdentity(
        name=settings.node_name, architecture=settings.architecture, taint=taint, labels=settings.node_labels,
        annotations=settings.node_annotations,
    )  # fmt: skip


async def bridge_config(settings: Settings) -> BridgeConfig:
    """What Pods become, without how guests reach us. Raises ``SettingsError``."""
    try:
        registries = await files.read(Path(settings.registries_file)) if settings.registries_file else b""
        registries_conf = registries.decode()
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"registries_file: {error}") from error
    return BridgeConfig(
        node_name=settings.node_name, default_cpu=settings.default_cpu, default_memory=settings.default_memory,
        max_hotplug_ratio=settings.max_hotplug_ratio, architecture=settings.architecture, taint_key=settings.taint_key,
        runtime_image=settings.runtime_image, registries_conf=registries_conf,
    )  # fmt: skip
