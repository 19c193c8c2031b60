"""Pods with images that need disks: each ``images/NAME.pod.yaml`` has its ``NAME.disks.yaml``.

Beside the Pod, a file says what its cluster has ready made. Of the VM there is only what is about the image.
"""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.goldenimage import DataSource, Disk, Shelf
from kubelet_bridge.model.quantity import Quantity
from kubelet_bridge.reconcile.goldenplanner import Import, Use, plan
from kubelet_bridge.translate import rootdisk
from kubelet_bridge.translate.catalogue import readymade
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.image import BootImage, ImageKind
from kubelet_bridge.translate.support import CannotTranslate
from tests.support import golden, schemas
from tests.support.catalogue import CATALOGUE
from tests.support.pods import GUESTS, built, snapshot

PODS = sorted((Path(__file__).parent / "images").glob("*.pod.yaml"))
DISKS = ImageDisks(
    catalogue=CATALOGUE, namespace="kubelet-bridge", storage_class="fast",
    ready_made_in=("cozy-public", "kubevirt-os-images"),
)  # fmt: skip
NODE = msgspec.structs.replace(GUESTS, images=DISKS)

Json = dict[str, Any]


def disks_of(pod: Pod, boot: BootImage, shelf: Shelf) -> Json:
    """The DataVolumes that are made, in their order; after an import, its disk is there."""
    key = snapshot(pod).key
    if boot.kind is ImageKind.HTTP:
        return {"root": rootdisk.download(pod, key, boot, DISKS, NODE.node_name)}
    if boot.image is None:
        return {}
    size = rootdisk.size(pod, boot)
    made: Json = {}
    ready = list(readymade.origins(boot.image, CATALOGUE, shelf, DISKS.ready_made_in))
    step = plan(boot.image, size.wanted if size.fields else 0, None, ready, DISKS)
    if isinstance(step, Import):
        made["golden"] = step.manifest
        step = plan(boot.image, 0, imported(step.manifest), ready, DISKS)
    assert isinstance(step, Use)
    return made | {"root": rootdisk.clone(pod, key, boot, step.origin, DISKS, NODE.node_name)}


def imported(manifest: Json) -> Disk:
    head, requests = manifest["metadata"], manifest["spec"]["storage"]["resources"]["requests"]
    return Disk(
        namespace=head["namespace"], name=head["name"], labels=head["labels"], annotations=head["annotations"],
        ready=True, size=Quantity.parse(requests["storage"]).ceil(),
    )  # fmt: skip


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name.removesuffix(".pod.yaml"))
def test_pod_gets_the_disks_of_the_golden_file(path: Path, update_golden: bool) -> None:
    document, *others = yaml.safe_load_all(path.read_text())
    pod, there = msgspec.convert(document, Pod), {"DataVolume": [], "DataSource": []}
    for other in others:
        there[other.pop("kind")].append(other)
    shelf = Shelf(
        msgspec.convert(there["DataVolume"], tuple[Disk, ...]),
        msgspec.convert(there["DataSource"], tuple[DataSource, ...]),
    )
    file = path.with_name(path.name.replace(".pod.", ".disks."))
    try:
        made = built(pod, config=NODE)
    except CannotTranslate as error:
        golden.check(file, {"refused": msgspec.to_builtins(error.refusals)}, update=update_golden)
        return
    schemas.validate(made.virtual_machine)
    disks = disks_of(pod, made.boot, shelf)
    for manifest in disks.values():
        schemas.validate(manifest)
    user_data = base64.b64decode(made.secret["data"]["userdata"]).removeprefix(b"#cloud-config\n")
    shown = {
        **disks,
        "boots": made.virtual_machine["spec"]["template"]["spec"]["volumes"][0],
        "users": {name: value for name, value in msgspec.json.decode(user_data).items() if name in ("user", "users")},
        "allocation": made.allocation.disk,
        "hosting": made.hosting.value,
        "notes": [note.message for note in made.notes],
    }
    golden.check(file, shown, update=update_golden)
