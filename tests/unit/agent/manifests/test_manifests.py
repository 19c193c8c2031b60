import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.agent import keptmanifest
from kubelet_bridge.agent.manifestcheck import problem
from kubelet_bridge.agent.v1 import agent_pb2 as pb


def manifest(*containers: str, volumes: tuple[str, ...] = (), **fields: object) -> pb.PodManifest:
    made = pb.PodManifest(**{"pod_uid": "uid", "runtime": pb.RUNTIME_HOST, **fields})  # type: ignore[arg-type]
    for name in containers:
        made.containers.add(name=name)
    for name in volumes:
        made.volumes.add(name=name)
    return made


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (manifest("web", "proxy-2", volumes=("data", "0")), ""),
        (manifest("a" * 63), ""),
        (manifest("a" * 64), "is not the name of a container"),
        (manifest("web", pod_uid="another"), "it is another Pod's"),
        (manifest("web", runtime=7), "does not know runtime 7"),
        (manifest("web", runtime=0), "does not know runtime 0"),
        (manifest("web", "web"), "two containers named web"),
        (manifest("../../etc"), "'../../etc' is not the name of a container"),
        (manifest(""), "'' is not the name of a container"),
        (manifest("web\n"), "is not the name of a container"),
        (manifest("web", volumes=("a", "a")), "two volumes named a"),
        (manifest("web", volumes=("..",)), "'..' is not the name of a volume"),
    ],
)
def test_what_cannot_be_gone_by(made: pb.PodManifest, why: str) -> None:
    found = problem(made, "uid")
    assert why in found
    assert bool(found) is bool(why)


def test_one_name_counts_for_all_kinds_of_containers() -> None:
    made = manifest("web")
    made.init_containers.add(name="web")
    assert "two containers" in problem(made, "uid")


@given(st.text(max_size=80))
def test_a_name_that_is_taken_is_one_component_of_a_path(name: str) -> None:
    if not problem(manifest(name), "uid"):
        assert Path("/logs", name).parent == Path("/logs")
        assert name not in {".", ".."}
        assert name.isprintable()


def test_what_is_kept_is_for_root_and_for_this_boot(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    keptmanifest.keep(path, manifest("web"), "boot")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keptmanifest.load(path, "boot") == manifest("web")
    assert keptmanifest.load(path, "another") is None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"boot_id":"boot","manifest":"?"}', '{"boot_id":"boot","manifest":"/w=="}']
)
def test_nonsense_counts_as_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    assert keptmanifest.load(path, "boot") is None
