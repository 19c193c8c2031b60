"""Where a VM's disk comes from, and that an image is imported once however often it is asked for."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.catalogue import ClaimSource, DataSourceSource, HttpSource, Image
from kubelet_bridge.model.goldenimage import Disk, Origin, OriginKind
from kubelet_bridge.reconcile.goldenplanner import Import, NoGoldenImage, Step, Use, Wait, plan
from kubelet_bridge.translate.catalogue import golden
from kubelet_bridge.translate.config import ImageDisks
from tests.support.catalogue import CATALOGUE

GI = 2**30
DISKS = ImageDisks(catalogue=CATALOGUE, namespace="kubelet-bridge", ready_made_in=("cozy-public",))
DEBIAN = CATALOGUE.images["debian-12"]
EMPTY: tuple[Origin, ...] = ()


def from_manifest(manifest: dict[str, Any], **state: Any) -> Disk:
    head = manifest["metadata"]
    return Disk(
        namespace=head["namespace"], name=head["name"], labels=head["labels"], annotations=head["annotations"],
        size=4 * GI, **{"checksum": manifest["spec"]["source"].get("http", {}).get("checksum", ""), **state},
    )  # fmt: skip


def golden_disk(image: Image = DEBIAN, **state: Any) -> Disk:
    step = plan(image, 0, None, EMPTY, DISKS)
    assert isinstance(step, Import)
    return from_manifest(step.manifest, **state)


def test_what_is_not_there_is_imported_and_then_cloned() -> None:
    waiting = plan(DEBIAN, 0, golden_disk(words="DataVolume x ImportInProgress 42.50%"), EMPTY, DISKS)
    assert waiting == Wait("DataVolume x ImportInProgress 42.50%")
    disk = golden_disk(ready=True)
    assert plan(DEBIAN, 0, disk, EMPTY, DISKS) == Use(Origin(OriginKind.CLAIM, "kubelet-bridge", disk.name, 4 * GI))


class Cluster:
    """A namespace of DataVolumes: a POST of a name that is taken changes nothing."""

    def __init__(self) -> None:
        self.disks: dict[str, Disk] = {}
        self.imports = 0

    def post(self, manifest: dict[str, Any]) -> None:
        disk = from_manifest(manifest)
        if disk.name not in self.disks:
            self.imports += 1
            self.disks[disk.name] = disk

    def finish(self) -> None:
        self.disks = {name: msgspec.structs.replace(disk, ready=True) for name, disk in self.disks.items()}

    def seen(self, image: Image) -> Disk | None:
        assert isinstance(image.source, HttpSource)
        return self.disks.get(golden.name(image.source))


@given(st.data())
def test_an_image_is_imported_once_for_pods_replicas_and_restarts(data: st.DataObject) -> None:
    """Each looks, forgets or dies, and acts on what it saw, in any order; an alias of the entry is the same image."""
    cluster = Cluster()
    alias = msgspec.structs.replace(DEBIAN, name="my-debian-12")
    pending: list[tuple[Image, Disk | None]] = []
    for _ in range(data.draw(st.integers(1, 12))):
        match data.draw(st.sampled_from(["look", "look", "act", "act", "die", "finish"])):
            case "look":
                image = data.draw(st.sampled_from([DEBIAN, alias]))
                pending.append((image, cluster.seen(image)))
            case "act" if pending:
                perform(cluster, *pending.pop(data.draw(st.integers(0, len(pending) - 1))))
            case "die":
                pending.clear()
            case "finish":
                cluster.finish()
    perform(cluster, DEBIAN, cluster.seen(DEBIAN))
    assert cluster.imports == 1
    cluster.finish()
    assert isinstance(perform(cluster, alias, cluster.seen(alias)), Use)
    assert cluster.imports == 1


def perform(cluster: Cluster, image: Image, seen: Disk | None) -> Step:
    step = plan(image, 0, seen, EMPTY, DISKS)
    if isinstance(step, Import):
        cluster.post(step.manifest)
    return step


def test_what_is_ready_made_is_not_imported() -> None:
    origin = Origin(OriginKind.CLAIM, "cozy-public", "vm-default-images-debian-12", 10 * GI)
    assert plan(DEBIAN, 0, None, [origin], DISKS) == Use(origin)
    assert plan(DEBIAN, 10 * GI, None, [origin], DISKS) == Use(origin)


def test_what_is_larger_than_the_pod_asks_for_is_passed_over() -> None:
    large = Origin(OriginKind.DATA_SOURCE, "cozy-public", "debian12", 10 * GI)
    small = Origin(OriginKind.CLAIM, "cozy-public", "vm-default-images-debian-12", 5 * GI)
    assert isinstance(plan(DEBIAN, 5 * GI, None, [large], DISKS), Import)
    assert plan(DEBIAN, 5 * GI, None, [large, small], DISKS) == Use(small)


def test_where_nothing_can_be_imported_the_smallest_is_used_to_say_how_large_it_is() -> None:
    ready = [Origin(OriginKind.CLAIM, "cozy-public", name, size * GI) for name, size in (("b", 40), ("a", 30))]
    windows = CATALOGUE.images["windows-11"]
    assert plan(windows, 20 * GI, None, ready, DISKS) == Use(ready[1])


@pytest.mark.parametrize(
    ("source", "kind"),
    [(ClaimSource("images", "win"), OriginKind.CLAIM), (DataSourceSource("images", "win"), OriginKind.DATA_SOURCE)],
)
def test_a_disk_of_ones_own_is_cloned_as_it_is(source: ClaimSource | DataSourceSource, kind: OriginKind) -> None:
    windows = msgspec.structs.replace(CATALOGUE.images["windows-11"], source=source)
    assert plan(windows, 0, None, EMPTY, DISKS) == Use(Origin(kind, "images", "win"))


def test_an_image_without_a_disk_says_who_has_to_act() -> None:
    with pytest.raises(NoGoldenImage, match="windows-11 comes without a disk: name one of yours"):
        plan(CATALOGUE.images["windows-11"], 0, None, EMPTY, DISKS)


def test_a_strangers_disk_of_that_name_is_not_believed() -> None:
    stranger = msgspec.structs.replace(golden_disk(ready=True), labels={})
    with pytest.raises(NoGoldenImage, match="is in the way"):
        plan(DEBIAN, 0, stranger, EMPTY, DISKS)


def test_a_disk_that_is_going_is_waited_for() -> None:
    assert isinstance(plan(DEBIAN, 0, golden_disk(ready=True, deleting=True), EMPTY, DISKS), Wait)


def test_a_download_that_was_not_checked_is_not_booted() -> None:
    """A CDI that does not know the field: what was asked for is not in the object any more."""
    checked = msgspec.structs.replace(DEBIAN, source=HttpSource("https://a.example/x", "md5:" + "0" * 32))
    assert isinstance(plan(checked, 0, golden_disk(checked, ready=True), EMPTY, DISKS), Use)
    with pytest.raises(NoGoldenImage, match="the checksum of debian-12 is not looked at"):
        plan(checked, 0, golden_disk(checked, ready=True, checksum=""), EMPTY, DISKS)
