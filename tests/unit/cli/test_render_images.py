"""``render`` of Pods that boot images by name: with the disks, as a cluster that has nothing yet gets them."""

from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from kubelet_bridge.cli.render import render

POD = "{{kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: a, image: '{image}'}}]}}}}\n---\n"


def rendered(*images: str, **files: Path) -> Result:
    text = "".join(POD.format(name=f"web-{index}", image=image) for index, image in enumerate(images))
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    return CliRunner().invoke(render, [*options, "-"], input=text)


def kinds(result: Result) -> list[str]:
    return [document["kind"] for document in yaml.safe_load_all(result.stdout)]


def test_two_pods_of_one_image_have_one_golden_image() -> None:
    result = rendered("debian-12", "Debian 12")
    assert result.exit_code == 0
    assert kinds(result) == [
        "DataVolume", "DataVolume", "Secret", "VirtualMachine", "DataVolume", "Secret", "VirtualMachine",
    ]  # fmt: skip


def test_an_application_and_a_container_disk_have_no_disks() -> None:
    assert kinds(rendered("containerdisk://a/b:1")) == ["Secret", "VirtualMachine"]


def test_changes_of_the_catalogue_are_taken_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text(
        "images: [{name: windows-11, source: {claim: {namespace: images, name: win}}}]"
    )
    result = rendered("windows-11", images=tmp_path / "images.yaml")
    assert kinds(result) == ["DataVolume", "Secret", "VirtualMachine"]
    assert next(yaml.safe_load_all(result.stdout))["spec"]["source"] == {"pvc": {"namespace": "images", "name": "win"}}


def test_what_cannot_be_is_told() -> None:
    for image, said in [("ubunut-22.04", "did you mean ubuntu-22.04"), ("windows-11", "comes without a disk")]:
        result = rendered(image)
        assert result.exit_code == 1
        assert said in result.stderr
