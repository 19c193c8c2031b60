"""The image catalogue: operating systems that a Pod or a claim asks for by name, and where their disks come from."""

from enum import StrEnum

import msgspec

from kubelet_bridge.model.quantity import Quantity


class OsFamily(StrEnum):
    """What kind of guest an image boots: cloud-init's users and disks differ by it."""

    LINUX = "linux"
    WINDOWS = "windows"


class HttpSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A disk (qcow2, raw; gz, xz) at a URL; ``checksum`` is ``ALGORITHM:HEX``, empty: not checked."""

    url: str
    checksum: str = ""


class RegistrySource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container disk, as CDI imports it: ``docker://HOST/NAME:TAG``."""

    url: str


class DataSourceSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A DataSource of CDI's, which somebody else keeps (a DataImportCron, as a rule)."""

    namespace: str
    name: str


class ClaimSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim that holds the disk: what somebody has uploaded or installed."""

    namespace: str
    name: str


ImageSource = HttpSource | RegistrySource | DataSourceSource | ClaimSource


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        name: its canonical name, the slug: ``ubuntu-22.04``.
        aliases: other names for it, spelled as loosely as the first.
        title: for people.
        family: what kind of guest it boots.
        user: whom the image's cloud-init makes; empty: unknown.
        minimum_disk: the least a disk with it can be, bytes.
        preference: KubeVirt's VirtualMachineClusterPreference that suits it; empty: none.
        architecture: of its kernel, as in ``kubernetes.io/arch``.
        deprecated: why it should not be used any more; empty: it may be.
        source: where its disk comes from; None: whoever runs the cluster has to say.
        own_source: whoever runs the cluster has named the source: nothing ready made goes before it.
        ready_made: names of DataSources that clusters have for it, where there are any.
    """

    name: str
    aliases: tuple[str, ...] = ()
    title: str = ""
    family: OsFamily = OsFamily.LINUX
    user: str = ""
    minimum_disk: int
    preference: str = ""
    architecture: str = "amd64"
    deprecated: str = ""
    source: ImageSource | None = None
    own_source: bool = False
    ready_made: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The canonical name, then the others."""
        return (self.name, *self.aliases)

    @property
    def minimum(self) -> Quantity:
        """``minimum_disk`` as it is written to people and to the API server."""
        return Quantity.of_bytes(self.minimum_disk)


class Catalogue(msgspec.Struct, frozen=True):
    """Entries; no two of them can be meant by one spelling.

    Attributes:
        images: by canonical name, in the order of their file.
        spelled: canonical names by the letters and digits of each of their names.
    """

    images: dict[str, Image] = {}
    spelled: dict[str, list[str]] = {}
