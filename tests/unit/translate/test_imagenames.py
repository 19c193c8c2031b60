"""Which spelling means an OS of the catalogue, and which an application: nobody's Deployment may change its meaning."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.intent import Hosting
from kubelet_bridge.translate.annotations import BOOT
from kubelet_bridge.translate.config import ImageDisks
from kubelet_bridge.translate.image import BootImage, ImageKind, Unresolvable, boot_image, hosting, resolve
from kubelet_bridge.translate.machines import part
from tests.support.catalogue import CATALOGUE, OFFICIAL
from tests.support.pods import GUESTS, container, pod

RUNTIME = "r:1"
NODE = msgspec.structs.replace(GUESTS, images=ImageDisks(catalogue=CATALOGUE, namespace="kubelet-bridge"))
APPLICATION = BootImage(ImageKind.OCI_APPLICATION, RUNTIME)


def of_image(image: str) -> BootImage:
    return resolve(image, {}, runtime_image=RUNTIME, catalogue=CATALOGUE)


def of_annotation(boot: str) -> BootImage:
    return resolve("nginx", {BOOT: boot}, runtime_image=RUNTIME, catalogue=CATALOGUE)


def entry(name: str) -> BootImage:
    return BootImage(ImageKind.CATALOGUE, name, CATALOGUE.images[name])


@pytest.mark.parametrize("image", OFFICIAL)
def test_official_images_stay_applications(image: str) -> None:
    assert of_image(image) == APPLICATION


@given(
    st.sampled_from([*OFFICIAL, "ubuntu-22.04", "debian-12", "rocky9"]),
    st.sampled_from([":latest", ":22.04", ":12", ":3.19", ":9", "@sha256:" + "ab" * 32]),
    st.sampled_from(["", "docker.io/", "docker.io/library/", "localhost:5000/", "team/"]),
)
def test_whatever_has_a_tag_or_a_digest_is_an_application(name: str, tag: str, registry: str) -> None:
    assert of_image(f"{registry}{name}{tag}") == APPLICATION


@pytest.mark.parametrize("image", ["team/ubuntu-22.04", "docker.io/library/debian-12", "example.com/rocky-9"])
def test_whatever_has_a_folder_is_an_application(image: str) -> None:
    assert of_image(image) == APPLICATION


@pytest.mark.parametrize(
    "image", ["web-2", "app-1.0", "my-ubuntu-app", "ubuntu-runner-22", "alpine-3-node", "debian-slim"]
)
def test_names_that_are_like_no_os_are_applications(image: str) -> None:
    assert of_image(image) == APPLICATION


@pytest.mark.parametrize(
    "image", ["ubuntu-22.04", "ubuntu-22-04", "ubuntu-2204", "Ubuntu 22.04", "UBUNTU_22.04", "ubuntu-22"]
)
def test_a_name_with_a_version_is_an_os(image: str) -> None:
    assert of_image(image) == entry("ubuntu-22.04")


@pytest.mark.parametrize("boot", ["ubuntu-22.04", "ubuntu:22.04", "Ubuntu 22.04", "ubuntu-jammy"])
def test_the_annotation_is_about_an_os_in_any_case(boot: str) -> None:
    assert of_annotation(boot) == entry("ubuntu-22.04")


@pytest.mark.parametrize("reference", ["a/debian", "quay.io/containerdisks/debian:12", "containerdisk://debian:12"])
def test_the_annotation_may_name_a_container_disk(reference: str) -> None:
    assert of_annotation(reference) == BootImage(ImageKind.CONTAINER_DISK, reference.removeprefix("containerdisk://"))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("ubunut-22.04", 'has no "ubunut-22.04"; did you mean ubuntu-22.04 or'),
        ("ubuntu-18.04", "did you mean ubuntu-20.04 or"),
        ("Debain 12", "did you mean debian-12"),
        ("Ubuntu", '"Ubuntu" could be any of ubuntu-20.04, ubuntu-22.04, ubuntu-24.04'),
        ("alpine-3", "could be any of alpine-3.19, "),
        ("Nginx", "invalid reference format: repository name must be lowercase"),
        ("nginx latest", "invalid reference format"),
    ],
)
def test_what_is_neither_is_refused_with_the_field(image: str, said: str) -> None:
    with pytest.raises(Unresolvable) as caught:
        of_image(image)
    assert caught.value.field == "spec.containers[0].image"
    assert said in caught.value.message


def test_a_refusal_tells_how_to_mean_the_other_thing() -> None:
    with pytest.raises(Unresolvable, match=r"called so is docker\.io/library/ubuntu-18\.04"):
        of_image("ubuntu-18.04")
    with pytest.raises(Unresolvable, match="called so is containerdisk://mydisk") as caught:
        of_annotation("mydisk")
    assert caught.value.field == f"metadata.annotations[{BOOT}]"


@pytest.mark.parametrize("boot", ["ubuntu", "debian", "fedora"])
def test_an_ambiguous_annotation_is_refused(boot: str) -> None:
    with pytest.raises(Unresolvable, match="could be any of"):
        of_annotation(boot)


def test_claims_and_urls() -> None:
    for resolved in (of_image, of_annotation):
        assert resolved("pvc://root-0") == BootImage(ImageKind.PVC, "pvc://root-0")
        assert resolved("https://a.example/x.img") == BootImage(ImageKind.HTTP, "https://a.example/x.img")


@pytest.mark.parametrize("bad", ["pvc://", "pvc://other/root", "pvc://Root", "https://", "http://me:pw@a.example/x"])
def test_claims_and_urls_that_cannot_be(bad: str) -> None:
    with pytest.raises(Unresolvable) as caught:
        of_annotation(bad)
    assert "pw" not in caught.value.message


def test_without_a_runtime_image_nothing_of_this_changes() -> None:
    assert resolve("ubuntu-22.04", {}, catalogue=CATALOGUE) == entry("ubuntu-22.04")
    assert resolve("debian:12", {}, catalogue=CATALOGUE) == BootImage(ImageKind.CONTAINER_DISK, "debian:12")


def test_an_os_of_the_catalogue_is_the_machine_and_runs_commands() -> None:
    assert hosting(container(image="ubuntu-22.04"), NODE) is Hosting.MACHINE
    assert hosting(container(image="ubuntu-22.04", command=["sleep", "1"]), NODE) is Hosting.SYSTEM
    assert hosting(container(image="ubuntu:22.04"), NODE) is Hosting.OCI
    assert hosting(container(image="ubunut-22.04"), NODE) is Hosting.MACHINE


def beside(image: str, kind: str = "containers", **metadata: Any) -> Pod:
    """An application, and a container after it."""
    first, second = {"name": "web", "image": "nginx"}, {"name": "os", "image": image}
    return pod({"containers": [first], kind: [*([first] if kind == "containers" else []), second]}, **metadata)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("ubuntu-22.04", "(ubuntu-22.04) is an operating system"),
        ("Ubuntu 22.04", "(ubuntu-22.04) is an operating system"),
        ("containerdisk://a.example/x", '"containerdisk://a.example/x" is an operating system'),
        ("pvc://root", '"pvc://root" is an operating system'),
        ("https://a.example/x.img", '"https://a.example/x.img" is an operating system'),
        ("ubunut-22.04", "did you mean ubuntu-22.04"),
        ("Nginx", "invalid reference format"),
    ],
)
def test_an_os_beside_an_application_is_refused_with_its_field(image: str, said: str) -> None:
    for kind, field in (("containers", "spec.containers[1].image"), ("initContainers", "spec.initContainers[0].image")):
        with pytest.raises(Unresolvable) as caught:
            boot_image(beside(image, kind), NODE)
        assert caught.value.field == field
        assert said in caught.value.message


@pytest.mark.parametrize("image", ["debian:12", "ubuntu", "docker.io/library/ubuntu-22.04", "web-2"])
def test_an_application_beside_an_application_is_one(image: str) -> None:
    assert boot_image(beside(image), NODE).kind is ImageKind.OCI_APPLICATION


def test_each_container_in_a_machine_of_its_own_may_be_an_os() -> None:
    of = beside("ubuntu-22.04", annotations={"kubelet-bridge.io/containers": "vm-per-container"})
    found = part(of, "os")
    assert found is not None
    assert boot_image(found[0], NODE).reference == "ubuntu-22.04"


def test_an_image_of_another_architecture_is_refused() -> None:
    arm = msgspec.structs.replace(NODE, architecture="arm64")
    with pytest.raises(Unresolvable, match=r"debian-12 is for amd64, and virtual machines here are arm64"):
        boot_image(container(image="debian-12"), arm)
    with pytest.raises(Unresolvable) as caught:
        boot_image(pod(annotations={BOOT: "debian:12"}), arm)
    assert caught.value.field == f"metadata.annotations[{BOOT}]"
