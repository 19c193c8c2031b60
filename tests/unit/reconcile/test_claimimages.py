"""What the image catalogue answers to claims: through the same golden images as VMs' root disks, and in words."""

from typing import cast

import msgspec
import pytest

from kubelet_bridge.errors import ApiUnavailable
from kubelet_bridge.model.catalogue import HttpSource
from kubelet_bridge.model.goldenimage import Disk, Shelf
from kubelet_bridge.model.volumesnapshot import ImageOffer
from kubelet_bridge.reconcile.ports import ClusterPort
from kubelet_bridge.reconcile.volumes.images import CatalogueImages
from kubelet_bridge.translate.catalogue.golden import name
from kubelet_bridge.translate.config import ImageDisks
from tests.support.catalogue import CATALOGUE
from tests.support.goldencluster import DISKS, Cluster

GI = 2**30
DEBIAN = CATALOGUE.images["debian-12"]


def catalogue(cluster: Cluster, disks: ImageDisks = DISKS) -> CatalogueImages:
    async def current() -> ImageDisks:
        return disks

    return CatalogueImages(cast("ClusterPort", cluster), current)


async def test_an_image_is_imported_once_and_then_cloned() -> None:
    cluster = Cluster()
    images = catalogue(cluster)
    begun = await images.offer("Debian 12", 20 * GI)
    assert begun.population == {}
    assert "is being imported" in begun.waiting
    waiting = await images.offer("debian-12", 20 * GI)
    assert waiting.waiting.endswith("ImportInProgress")  # without its percentage, which every event would have
    cluster.finish()
    assert isinstance(DEBIAN.source, HttpSource)
    found = await images.offer("debian-12", 20 * GI)
    golden = {"namespace": "kubelet-bridge", "name": name(DEBIAN.source)}
    assert found.population == {"source": {"pvc": golden}}
    assert found == ImageOffer(found.population, minimum="4Gi")
    assert len(cluster.posted) == 1


async def test_nothing_is_imported_for_a_claim_that_is_too_small() -> None:
    cluster = Cluster()
    offer = await catalogue(cluster).offer("debian-12", 1)
    assert offer == ImageOffer(minimum="4Gi")
    assert cluster.posted == []


async def test_a_ready_made_disk_that_is_larger_than_the_claim_is_passed_over() -> None:
    cluster = Cluster()
    made = Disk(namespace="cozy-public", name="vm-default-images-debian-12", ready=True, size=50 * GI)
    cluster.shelves = Shelf((made,))
    assert (await catalogue(cluster).offer("debian-12", 20 * GI)).waiting
    assert (await catalogue(cluster).offer("debian-12", 60 * GI)).minimum == "50Gi"


@pytest.mark.parametrize(
    ("asked", "disks", "words"),
    [
        ("debain-12", DISKS, "did you mean debian-12"),
        ("windows-server-2022", DISKS, "comes without a disk"),
        ("debian-12", msgspec.structs.replace(DISKS, trouble="ConfigMap kb/images: no YAML"), "no YAML"),
    ],
)  # fmt: skip
async def test_why_an_image_cannot_be_had(asked: str, disks: ImageDisks, words: str) -> None:
    cluster = Cluster()
    offer = await catalogue(cluster, disks).offer(asked, 500 * GI)
    assert words in offer.trouble
    assert offer == ImageOffer(trouble=offer.trouble)
    assert cluster.posted == []


async def test_an_outage_is_no_answer() -> None:
    cluster = Cluster()
    cluster.refusal = ApiUnavailable(0, "Unreachable", "no answer")
    with pytest.raises(ApiUnavailable):
        await catalogue(cluster).offer("debian-12", 20 * GI)
