"""Claims and the DataVolumes and PersistentVolumes they become: ``*.claim.yaml`` → ``*.datavolume.yaml``."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.volumeintent import VolumeIntent
from kubelet_bridge.reconcile.volumes.actions import Accept
from kubelet_bridge.reconcile.volumes.planner import plan
from kubelet_bridge.translate.storage import datavolume, persistentvolume
from tests.support import golden, schemas
from tests.support.volumes import NODE, NOW, Documents

CLAIMS = sorted((Path(__file__).parent / "volumes").glob("*.claim.yaml"))


def _accepted(path: Path) -> VolumeIntent:
    step = plan(Documents(path).snapshot(), NODE, new_id="vol_0golden0", tries=0, now=NOW).step
    assert isinstance(step, Accept)
    return msgspec.structs.replace(step.intent, datavolume_uid="8d1f0000-0000-4000-8000-000000000001")


def _name(path: Path) -> str:
    return path.name.removesuffix(".claim.yaml")


@pytest.mark.parametrize("path", CLAIMS, ids=_name)
def test_a_claim_becomes_a_disk(path: Path, update_golden: bool) -> None:
    intent = _accepted(path)
    made: list[dict[str, Any]] = [datavolume.build(intent, NODE), persistentvolume.build(intent, NODE)]
    golden.check(path.with_name(f"{_name(path)}.datavolume.yaml"), made, update=update_golden)


@pytest.mark.parametrize("path", CLAIMS, ids=_name)
def test_datavolumes_are_as_cdi_has_them(path: Path) -> None:
    schemas.validate(datavolume.build(_accepted(path), NODE))


@pytest.mark.parametrize("path", CLAIMS, ids=_name)
def test_the_row_is_all_that_the_manifests_need(path: Path) -> None:
    intent = _accepted(path)
    read_again = msgspec.json.decode(msgspec.json.encode(intent), type=VolumeIntent)
    assert datavolume.build(read_again, NODE) == datavolume.build(intent, NODE)
    assert persistentvolume.build(read_again, NODE) == persistentvolume.build(intent, NODE)
