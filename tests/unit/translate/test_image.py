from typing import Any

import msgspec
import pytest

from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.translate.annotations import BOOT
from kubelet_bridge.translate.image import (
    BootImage,
    ImageKind,
    Unresolvable,
    boot_image,
    hosting,
    resolve,
)
from kubelet_bridge.translate.reference import reference_fault
from tests.support.pods import CONFIG, GUESTS, instance, pod

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "reference",
    ["nginx", "nginx:1.27", "library/nginx", "docker.io/library/nginx:latest", "localhost/a", "localhost:5000/a/b:c",
     "registry.example.com:5000/a__b/c--d.e:V1_2.3-x", f"a@{DIGEST}", f"example.com/a:1@{DIGEST}", "[::1]:5000/a",
     "Foo/bar", "quay.io/containerdisks/fedora:41"],
)  # fmt: skip
def test_image_references_are_container_disks(reference: str) -> None:
    assert resolve(reference, {}) == BootImage(ImageKind.CONTAINER_DISK, reference)


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("", "repository name must have at least one component"),
        ("Nginx", "invalid reference format: repository name must be lowercase"),
        ("example.com/Nginx:1", "invalid reference format: repository name must be lowercase"),
        *((bad, "invalid reference format") for bad in ("nginx latest", "nginx:", "a//b", "-a", "a@sha256:1", "a:b:c")),
        ("nginx\n", "invalid reference format"), ("a:" + "t" * 129, "invalid reference format"),
        ("ab" * 32, f"invalid repository name ({'ab' * 32}), cannot specify 64-byte hexadecimal strings"),
        ("a/" + "b" * 256, "repository name must not be more than 255 characters"),
    ],
)  # fmt: skip
def test_faults_are_named_as_a_kubelet_names_them(reference: str, fault: str) -> None:
    assert reference_fault(reference) == fault


def test_scheme_of_container_disks_is_taken_off() -> None:
    assert resolve("containerdisk://quay.io/a:1", {}).reference == "quay.io/a:1"


def test_boot_annotation_goes_first() -> None:
    assert resolve("Not An Image", {BOOT: "quay.io/a:1"}).reference == "quay.io/a:1"
    with pytest.raises(Unresolvable) as caught:
        resolve("nginx", {BOOT: "NGINX"})
    assert caught.value.field == "metadata.annotations[kubelet-bridge.io/boot]"
    assert 'couldn\'t parse image name "NGINX"' in caught.value.message


@pytest.mark.parametrize("image", ["http://example.com/a.qcow2", "https://example.com/a.qcow2"])
def test_other_kinds_are_refused_by_name(image: str) -> None:
    with pytest.raises(Unresolvable, match="needs CDI") as caught:
        resolve(image, {})
    assert caught.value.field == "spec.containers[0].image"


def test_with_a_runtime_image_references_are_applications() -> None:
    applications = ["nginx", "docker.io/library/nginx:1", "containerdisks/a", "registry.example.com/a@" + DIGEST]
    kinds = {resolve(one, {}, runtime_image="r:1") for one in applications}
    assert kinds == {BootImage(ImageKind.OCI_APPLICATION, "r:1")}


@pytest.mark.parametrize("image", ["containerdisk://example.com/debian", "quay.io/containerdisks/debian:12"])
def test_what_says_that_it_is_an_os_is_one(image: str) -> None:
    assert resolve(image, {}, runtime_image="r:1").kind is ImageKind.CONTAINER_DISK


def test_boot_annotation_makes_an_os_of_any_image() -> None:
    assert resolve("nginx", {BOOT: "a/debian"}, runtime_image="r:1") == BootImage(ImageKind.CONTAINER_DISK, "a/debian")


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{"image": "nginx"}], Hosting.OCI),
        ([{"image": "quay.io/containerdisks/a"}], Hosting.MACHINE),
        ([{"image": "quay.io/containerdisks/a", "args": ["x"]}], Hosting.SYSTEM),
        ([{"image": "quay.io/containerdisks/a"}, {"image": "b", "command": ["y"]}], Hosting.SYSTEM),
    ],
)
def test_how_containers_live_in_the_vm(containers: list[dict[str, Any]], expected: Hosting) -> None:
    asked = pod({"containers": [{"name": str(index), **one} for index, one in enumerate(containers)]})
    assert hosting(asked, GUESTS) is expected
    assert hosting(asked, CONFIG) is Hosting.MACHINE


def test_every_container_of_an_application_has_an_image_that_can_be_pulled() -> None:
    asked = pod({"containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "No Image"}]})
    with pytest.raises(Unresolvable) as caught:
        boot_image(asked, GUESTS)
    assert caught.value.field == "spec.containers[1].image"


def test_without_agents_a_runtime_image_would_run_nothing() -> None:
    without = msgspec.structs.replace(GUESTS, guest=None)
    assert boot_image(pod(), without).reference == "example.com/os:1"


def test_a_claim_among_the_volumes_can_be_booted() -> None:
    volumes = [{"name": "system", "persistentVolumeClaim": {"claimName": "root"}}]
    for asked in (
        pod({"volumes": volumes}, annotations={BOOT: "pvc://root"}),
        pod({"volumes": volumes, "containers": [{"name": "app", "image": "pvc://root"}]}),
    ):
        assert boot_image(asked, GUESTS) == BootImage(ImageKind.PVC, "pvc://root")
        disks = instance(asked)["domain"]["devices"]["disks"]
        assert [(one["name"], one.get("bootOrder")) for one in disks] == [("system", 1), ("cloudinit", None)]


def test_a_claim_that_is_no_volume_of_the_pod_is_not_booted() -> None:
    with pytest.raises(Unresolvable, match="not among the Pod's volumes") as caught:
        boot_image(pod(annotations={BOOT: "pvc://root"}), GUESTS)
    assert caught.value.field == "metadata.annotations[kubelet-bridge.io/boot]"
