import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.translate.catalogue.lookup import UnknownImage, exact, find, nearest
from kubelet_bridge.translate.catalogue.parse import parse
from kubelet_bridge.translate.catalogue.spelling import distance, has_version, spelling
from tests.support.catalogue import CATALOGUE

NAMES = [name for image in CATALOGUE.images.values() for name in image.names]
WORDS = st.text("abc12", max_size=6)


@st.composite
def loosely(draw: st.DrawFn) -> tuple[str, str]:
    """A name of the catalogue, and a loose spelling of it."""
    name = draw(st.sampled_from(NAMES))
    joints = (spelling(name) or pytest.fail(name)).joints
    letters = name.replace("-", "").replace(".", "")
    written = ""
    for index, letter in enumerate(letters):
        written += draw(st.sampled_from(["", "-", "_", ".", " ", ":", " - "])) if index in joints else ""
        written += draw(st.sampled_from([letter, letter.upper()]))
    return name, draw(st.sampled_from(["", " ", "\n"])).join(["", written, ""])


@given(loosely())
def test_a_loose_spelling_means_its_name(pair: tuple[str, str]) -> None:
    name, written = pair
    assert name in find(CATALOGUE, written).names


@given(st.sampled_from(NAMES), st.data())
def test_a_name_parted_where_it_has_no_joint_means_nothing(name: str, data: st.DataObject) -> None:
    known = spelling(name)
    assert known is not None
    elsewhere = [index for index in range(1, len(known.letters)) if index not in known.joints]
    cut = data.draw(st.sampled_from(elsewhere))
    written = spelling(f"{known.letters[:cut]}-{known.letters[cut:]}")
    assert written is not None
    assert not written.means(known)
    assert not written.begins(known)


@given(st.text())
def test_any_text_is_looked_up_without_harm(text: str) -> None:
    found = exact(CATALOGUE, text)
    if found is None:
        assert set(nearest(CATALOGUE, text)) <= set(CATALOGUE.images)
    else:
        assert find(CATALOGUE, text) is found


@pytest.mark.parametrize(
    ("text", "name"),
    [("ubuntu-22-04", "ubuntu-22.04"), ("Ubuntu 22.04", "ubuntu-22.04"), ("ubuntu-2204", "ubuntu-22.04"),
     ("ubuntu:22.04", "ubuntu-22.04"), ("ubuntu-22", "ubuntu-22.04"), ("Debian Bookworm", "debian-12"),
     ("Rocky Linux 9", "rocky-9"), ("alma9", "almalinux-9"), ("CentOS Stream 10", "centos-stream-10"),
     ("openSUSE Leap 15.6", "opensuse-leap-15.6"), ("Windows Server 2022", "windows-server-2022")],
)  # fmt: skip
def test_names_as_people_write_them(text: str, name: str) -> None:
    assert find(CATALOGUE, text).name == name


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("ubunut-22.04", "ubuntu-22.04"), ("debain-12", "debian-12"), ("rocy 9", "rocky-9"), ("fedroa-43", "fedora-43"),
     ("apline-3.22", "alpine-3.22"), ("cent-os-stream-9", "centos-stream-9"), ("widnows-11", "windows-11")],
)  # fmt: skip
def test_a_typo_is_answered_with_what_was_meant(typo: str, meant: str) -> None:
    with pytest.raises(UnknownImage, match="did you mean") as caught:
        find(CATALOGUE, typo)
    assert caught.value.nearest[0] == meant
    assert len(caught.value.nearest) <= 3


@pytest.mark.parametrize("version", ["ubuntu-18.04", "debian-9", "debian-1.2", "fedora 12", "alpine-2", "centos-7"])
def test_another_version_is_answered_with_those_there_are(version: str) -> None:
    with pytest.raises(UnknownImage, match="did you mean") as caught:
        find(CATALOGUE, version)
    head = version.replace(" ", "-").partition("-")[0]
    assert caught.value.nearest
    assert all(name.startswith(head) for name in caught.value.nearest)


@pytest.mark.parametrize("text", ["ubuntu", "Debian", "fedora", "rocky", "centos stream", "opensuse-leap", "alpine 3"])
def test_what_could_be_several_is_refused(text: str) -> None:
    with pytest.raises(UnknownImage, match="could be any of") as caught:
        find(CATALOGUE, text)
    assert len(caught.value.nearest) > 1


def test_the_beginning_of_one_name_only_is_enough() -> None:
    known = parse("images: [{name: talos-112, minimumDisk: 8Gi}]")
    assert find(known, "Talos").name == "talos-112"


def test_a_whole_name_goes_before_one_that_it_begins() -> None:
    known = parse("images: [{name: rocky-9, minimumDisk: 8Gi}, {name: rocky-9-minimal, minimumDisk: 8Gi}]")
    assert find(known, "rocky 9").name == "rocky-9"
    with pytest.raises(UnknownImage, match="rocky-9, rocky-9-minimal"):
        find(known, "rocky")


def test_what_is_like_nothing_is_told_all_there_is() -> None:
    with pytest.raises(UnknownImage, match=r'has no "solaris"; there is a-1, b-1$'):
        find(parse("images: [{name: a-1, minimumDisk: 1Gi}, {name: b-1, minimumDisk: 1Gi}]"), "solaris")
    with pytest.raises(UnknownImage, match="there is nothing in it"):
        find(parse(""), "ubuntu")


@pytest.mark.parametrize("text", ["", " ", "-", "ubuntu/22.04", "ubuntu@22", "übuntu", "a" * 101, "ubuntu-22.04\0"])
def test_what_is_no_name_at_all(text: str) -> None:
    assert spelling(text) is None


@pytest.mark.parametrize(
    ("text", "versioned"),
    [("debian-12", True), ("ubuntu-22.04", True), ("rocky9", True), ("nginx", False), ("alpine-3-node", False),
     ("neo4j", False), ("12", False), ("a/b-1", False), ("debian:12", False), ("", False)],
)  # fmt: skip
def test_what_has_a_version(text: str, *, versioned: bool) -> None:
    assert has_version(text) is versioned


@given(WORDS, WORDS, WORDS)
def test_distance_is_symmetric_and_nothing_only_between_equals(one: str, other: str, third: str) -> None:
    assert distance(one, other) == distance(other, one)
    assert (distance(one, other) == 0) == (one == other)
    assert distance(one + third, other + third) <= distance(one, other)


@pytest.mark.parametrize(
    ("one", "other", "far"),
    [("ubunut", "ubuntu", 1), ("rocy", "rocky", 1), ("rockky", "rocky", 1), ("rokky", "rocky", 1), ("", "abc", 3),
     ("kitten", "sitting", 3), ("ca", "abc", 3)],
)  # fmt: skip
def test_distances(one: str, other: str, far: int) -> None:
    assert distance(one, other) == far
