import pytest

from kubelet_bridge.translate.annotations import BOOT
from kubelet_bridge.translate.image import BootImage, ImageKind, Unresolvable, reference_fault, resolve

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


@pytest.mark.parametrize("image", ["pvc://root", "http://example.com/a.qcow2", "https://example.com/a.qcow2"])
def test_other_kinds_are_refused_by_name(image: str) -> None:
    with pytest.raises(Unresolvable, match="is not supported by this version") as caught:
        resolve(image, {})
    assert caught.value.field == "spec.containers[0].image"
