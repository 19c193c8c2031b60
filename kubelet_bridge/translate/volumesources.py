"""What a Pod's volumes are made of: their sources as the spec has them, and which objects these name."""

from typing import Any

import msgspec

from kubelet_bridge.model.core import FieldSelector, Pod, ResourceFieldSelector
from kubelet_bridge.model.snapshot import TokenWanted

FILE_SOURCES = frozenset({"configMap", "secret", "downwardAPI", "projected"})
DEFAULT_MODE = 0o644


class _Source(msgspec.Struct, frozen=True, rename="camel"):
    """Base: camelCase, unknown fields skipped."""


class KeyToPath(_Source, frozen=True):
    """One key of a ConfigMap or Secret, and where it goes."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class ObjectSource(_Source, frozen=True):
    """A ConfigMap or Secret, as a volume (where a Secret is named by ``secret_name``) or as a part of one."""

    name: str = ""
    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool | None = None


class DownwardFile(_Source, frozen=True):
    """A field of the Pod as a file."""

    path: str = ""
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardSource(_Source, frozen=True):
    """Fields of the Pod as files."""

    items: list[DownwardFile] = []
    default_mode: int | None = None


class TokenSource(_Source, frozen=True):
    """The ServiceAccount's token as a file."""

    path: str = ""
    audience: str = ""
    expiration_seconds: int | None = None

    @property
    def wanted(self) -> TokenWanted:
        """What to ask the API server for; an hour is Kubernetes' default."""
        return TokenWanted(self.audience, self.expiration_seconds or 3600)


class Projection(_Source, frozen=True):
    """One source of a projected volume: exactly one is set, or none that this version knows."""

    config_map: ObjectSource | None = None
    secret: ObjectSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)
    service_account_token: TokenSource | None = None


class ProjectedSource(_Source, frozen=True):
    """Several sources in one volume."""

    sources: list[Projection] = []
    default_mode: int | None = None


def projection(kind: str, source: dict[str, Any]) -> ProjectedSource:
    """A volume of any of ``FILE_SOURCES`` as a projected one, which can hold what each of them has.

    Raises:
        msgspec.ValidationError: the source is not as the API has it.
    """
    if kind == "projected":
        return msgspec.convert(source, ProjectedSource)
    one = msgspec.convert({kind: source}, Projection)
    return ProjectedSource([one], source.get("defaultMode"))


def projections(pod: Pod) -> list[Projection]:
    """Every source of every volume of files; malformed ones are left out."""
    found = []
    for volume in pod.spec.volumes:
        for kind in FILE_SOURCES & volume.keys():
            try:
                found += projection(kind, volume.get(kind) or {}).sources
            except msgspec.ValidationError:
                continue
    return found


def volume_references(pod: Pod) -> tuple[set[str], set[str]]:
    """Names of the ConfigMaps and of the Secrets that volumes hold."""
    sources = projections(pod)
    config_maps = {one.config_map.name for one in sources if one.config_map}
    return config_maps, {one.secret.secret_name or one.secret.name for one in sources if one.secret}


def tokens_wanted(pod: Pod) -> list[TokenWanted]:
    """The tokens that volumes hold, each once."""
    sources = (one.service_account_token for one in projections(pod))
    return list(dict.fromkeys(one.wanted for one in sources if one))
