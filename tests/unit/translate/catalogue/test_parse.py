import pytest

from kubelet_bridge.model.catalogue import ClaimSource, DataSourceSource, HttpSource, Image, OsFamily, RegistrySource
from kubelet_bridge.translate.catalogue.lookup import exact
from kubelet_bridge.translate.catalogue.parse import InvalidCatalogue, parse
from tests.support.catalogue import CATALOGUE, OFFICIAL, PACKAGED

GI = 2**30
BASE = "images: [{name: a-1, title: A, user: root, minimumDisk: 4Gi, source: {http: {url: 'https://a.example/1'}}}]"


def faults(override: str, packaged: str = BASE) -> list[str]:
    with pytest.raises(InvalidCatalogue) as caught:
        parse(packaged, override, where="ConfigMap ns/images")
    assert caught.value.message.startswith("ConfigMap ns/images: ")
    return caught.value.faults


def test_the_packaged_catalogue_has_what_it_promises() -> None:
    wanted = {
        "ubuntu-20.04", "ubuntu-22.04", "ubuntu-24.04", "debian-11", "debian-12", "debian-13", "centos-stream-9",
        "centos-stream-10", "fedora-39", "rocky-8", "rocky-9", "rocky-10", "almalinux-8", "almalinux-9", "almalinux-10",
        "alpine-3.19",
    }  # fmt: skip
    assert wanted <= set(CATALOGUE.images)
    assert {"fedora", "opensuse", "alpine", "windows"} <= {name.partition("-")[0] for name in CATALOGUE.images}


@pytest.mark.parametrize("image", CATALOGUE.images.values(), ids=lambda image: image.name)
def test_a_packaged_entry_is_complete(image: Image) -> None:
    windows = image.family is OsFamily.WINDOWS
    assert (image.source is None) is windows
    assert bool(image.user) is not windows
    assert image.preference


def test_what_has_ended_is_marked() -> None:
    ended = {image.name for image in CATALOGUE.images.values() if image.deprecated}
    assert ended == {"ubuntu-20.04", "debian-11", "fedora-39", "opensuse-leap-15.6", "alpine-3.19"}


@pytest.mark.parametrize("name", OFFICIAL)
def test_no_packaged_name_is_an_official_image(name: str) -> None:
    assert exact(CATALOGUE, name) is None


def test_an_override_changes_the_fields_it_has() -> None:
    changed = parse(BASE, "images: [{name: a-1, source: {claim: {namespace: ns, name: mine}}}]").images["a-1"]
    assert changed == Image(
        name="a-1",
        title="A",
        user="root",
        minimum_disk=4 * GI,
        source=ClaimSource(namespace="ns", name="mine"),
        own_source=True,
    )


def test_an_override_adds_and_removes() -> None:
    text = "removed: [a-1]\nimages: [{name: b-2, minimumDisk: 1Gi}]"
    assert list(parse(BASE, text).images) == ["b-2"]
    assert list(parse(BASE, "packaged: false").images) == []
    assert list(parse(BASE, "").images) == ["a-1"]


@pytest.mark.parametrize(
    ("written", "source"),
    [("http: {url: 'https://a.example/x', checksum: 'md5:" + "0" * 32 + "'}",
      HttpSource("https://a.example/x", "md5:" + "0" * 32)),
     ("registry: {url: 'docker://quay.io/a/b:1'}", RegistrySource("docker://quay.io/a/b:1")),
     ("dataSource: {namespace: os, name: fedora}", DataSourceSource("os", "fedora")),
     ("claim: {namespace: os, name: win-11}", ClaimSource("os", "win-11"))],
)  # fmt: skip
def test_sources(written: str, source: object) -> None:
    made = parse("images: [{name: w-1, minimumDisk: 1073741824, source: {" + written + "}}]").images["w-1"]
    assert (made.source, made.minimum_disk) == (source, GI)


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("images: {}", "images: Expected `array`, got `object`"),
        ("image: []", "Object contains unknown field `image`"),
        ("images: [a]", "images[0]: Expected `object`, got `str`"),
        ("images: [{minimumDisk: 1Gi}]", "images[0]: Object missing required field `name`"),
        ("images: [{name: b-1}]", "images[0]: Object missing required field `minimumDisk`"),
        ("images: [{name: a-1}, {name: a-1, minimumDisk: 4Gb}]", "images[1].minimumDisk: is no size such as 4Gi"),
        ("images: [{name: a-1}, {name: a-1}]", 'images[1].name: "a-1" is there twice'),
        ("images: [{name: a-1, minimumDisk: 0}]", "images[0].minimumDisk: is no size such as 4Gi"),
        ("images: [{name: a-1, minDisk: 1Gi}]", "images[0]: Object contains unknown field `minDisk`"),
        ("images: [{name: a-1, family: bsd}]", "images[0].family: Invalid enum value 'bsd'"),
        ("images: [{name: a-1, aliases: [a/1]}]", 'images[0].aliases[0]: "a/1" is no name'),
        ("images: [{name: a-1, user: 'a b'}]", 'images[0].user: "a b" is no name for a user'),
        ("images: [{name: A, minimumDisk: 1Gi}]", 'images[0].name: "A" is no name such as'),
        ("images: [{name: a-1, source: {}}]", "images[0].source: has to be one of"),
        ("images: [{name: a-1, source: {http: {url: 'https://a/b'}, claim: {namespace: a, name: b}}}]",
         "images[0].source: has to be one of"),
        ("images: [{name: a-1, source: {ftp: {}}}]", "images[0].source: Object contains unknown field `ftp`"),
        ("images: [{name: a-1, source: {http: {url: 'https://a/b', checksun: x}}}]",
         "images[0].source.http: Object contains unknown field `checksun`"),
        ("images: [{name: a-1, source: {http: {url: a/b}}}]", 'images[0].source.http.url: "a/b" is not http(s)'),
        ("images: [{name: a-1, source: {http: {url: 'https://a:x/b'}}}]", "images[0].source.http.url:"),
        ("images: [{name: a-1, source: {http: {url: 'https://a/b', checksum: 'sha256:12'}}}]",
         'images[0].source.http.checksum: "sha256:12" is not ALGORITHM:HEX'),
        ("images: [{name: a-1, source: {registry: {url: quay.io/a}}}]", "images[0].source.registry.url:"),
        ("images: [{name: a-1, source: {claim: {namespace: A, name: b}}}]", "images[0].source.claim.namespace:"),
        ("images: [{name: a-1, dataSources: ['']}]", "images[0].dataSources[0]:"),
        ("images: [{name: b-1, minimumDisk: 1Gi, aliases: [A1]}]",
         'images: "a-1" of a-1 cannot be told from "A1" of b-1'),
        ("removed: [b-1]", 'removed[0]: there is no image "b-1"'),
        ("a: [", "not YAML: while parsing"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_path(override: str, path: str) -> None:
    found = faults(override)
    assert any(one.startswith(path) for one in found), found


def test_all_faults_are_told_at_once() -> None:
    assert len(faults("images: [{name: a-1, user: 'a b', minimumDisk: 0}, {name: C, minimumDisk: 1Gi}]")) == 3


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    found = faults("images: [{name: a-1, source: {http: {url: 'https://me:s3cret@a.example/x'}}}]")
    assert "credentials" in found[0]
    assert "s3cret" not in found[0]


def test_the_packaged_one_needs_nothing_else() -> None:
    assert parse(PACKAGED).images.keys() == parse(PACKAGED, "{}").images.keys()
