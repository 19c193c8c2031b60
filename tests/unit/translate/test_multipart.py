"""What becomes of the user's documents, told by cloud-init itself."""

import email
import gzip
from pathlib import Path

import msgspec
import pytest

from kubelet_bridge.translate.multipart import Unreadable, combined
from tests.support import cloudinit

OURS = {
    "hostname": "web",
    "preserve_hostname": False,
    "manage_etc_hosts": "localhost",
    "users": ["default", {"name": "ops"}],
    "write_files": [{"path": "/ours"}],
    "runcmd": [["ours"]],
}
DOCUMENT = b"#cloud-config\n" + msgspec.json.encode(OURS)
USERS = """\
hostname: theirs
preserve_hostname: true
manage_etc_hosts: true
users: [{name: bob}]
write_files: [{path: /theirs}]
runcmd: [[theirs]]
packages: [vim]
chpasswd: {expire: false}
"""
USERS_CONFIG = f"#cloud-config\n{USERS}".encode()
MERGED = {
    "hostname": "theirs",
    "preserve_hostname": True,
    "manage_etc_hosts": True,
    "users": ["default", {"name": "ops"}, {"name": "bob"}],
    "write_files": [{"path": "/ours"}, {"path": "/theirs"}],
    "runcmd": [["ours"], ["theirs"]],
    "packages": ["vim"],
    "chpasswd": {"expire": False},
}
REPLACING = USERS_CONFIG + b"merge_how: 'dict(replace)+list(replace)+str()'\n"
JINJA = b"## template: jinja\n" + USERS_CONFIG.replace(b"theirs\n", b"{{ v1.local_hostname }}\n")
ARCHIVE = b"#cloud-config-archive\n" + msgspec.json.encode([USERS_CONFIG.decode(), "#!/bin/sh\ntrue\n"])


def mime(*parts: tuple[str, str]) -> bytes:
    texts = [f"Content-Type: text/{kind}\nMIME-Version: 1.0\n\n{text}\n" for kind, text in parts]
    head = 'Content-Type: multipart/mixed; boundary="=="\nMIME-Version: 1.0\n\n--==\n'
    return (head + "--==\n".join(texts) + "--==--\n").encode()


@cloudinit.needed
@pytest.mark.parametrize(
    "document",
    [
        USERS_CONFIG, gzip.compress(USERS_CONFIG, mtime=0), REPLACING, ARCHIVE,
        mime(("cloud-config", USERS_CONFIG.decode())),
        gzip.compress(mime(("x-shellscript", "#!/bin/sh"), ("cloud-config", USERS_CONFIG.decode())), mtime=0),
    ],
    ids=["plain", "gzip", "own merge_how", "archive", "multipart", "gzipped multipart"],
)  # fmt: skip
def test_scalars_are_the_users_and_lists_are_both(document: bytes, tmp_path: Path) -> None:
    assert cloudinit.merge(combined(DOCUMENT, [document]), tmp_path).config == MERGED


@cloudinit.needed
def test_templates_are_rendered_and_merged_alike(tmp_path: Path) -> None:
    assert cloudinit.merge(combined(DOCUMENT, [JINJA]), tmp_path).config == {**MERGED, "hostname": "rendered"}


@cloudinit.needed
@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b"#!/bin/sh\necho \xc3\xa9\n", "text/x-shellscript"),
        (b"#cloud-boothook\ntrue\n", "text/cloud-boothook"),
        (b"#part-handler\n", "text/part-handler"),
    ],
)
def test_other_kinds_are_recognized_beside_ours(document: bytes, kind: str, tmp_path: Path) -> None:
    made = cloudinit.merge(combined(DOCUMENT, [document]), tmp_path)
    assert made.config == OURS
    assert [found for found, _ in made.parts] == [kind, "text/cloud-config"]


@cloudinit.needed
def test_what_an_include_fetches_is_merged_alike(tmp_path: Path) -> None:
    included = tmp_path / "included"
    included.write_bytes(USERS_CONFIG)
    document = f"#include\nfile://{included}\n".encode()
    assert cloudinit.merge(combined(DOCUMENT, [document]), tmp_path).config == MERGED


@cloudinit.needed
def test_the_vendors_document_goes_below_the_users(tmp_path: Path) -> None:
    vendor = b"#cloud-config\nhostname: vendors\ntimezone: UTC\nruncmd: [[vendors]]\n"
    made = cloudinit.merge(combined(DOCUMENT, [vendor, b"#cloud-config\nhostname: theirs\n"]), tmp_path)
    wanted = {**OURS, "hostname": "theirs", "timezone": "UTC", "runcmd": [["ours"], ["vendors"]]}
    assert made.config == wanted


@cloudinit.needed
def test_a_document_that_is_broken_does_not_take_ours_with_it(tmp_path: Path) -> None:
    assert cloudinit.merge(combined(DOCUMENT, [b"#cloud-config\n{: ]"]), tmp_path).config == OURS


def test_the_same_input_gives_the_same_bytes() -> None:
    assert combined(DOCUMENT, [USERS_CONFIG]) == combined(DOCUMENT, [USERS_CONFIG])
    assert combined(DOCUMENT, [USERS_CONFIG]) != combined(DOCUMENT, [USERS_CONFIG + b" "])


def test_each_document_arrives_byte_for_byte() -> None:
    odd = b"#!/bin/sh\r\n\x00\xff--kubelet-bridge\n"
    parts = email.message_from_bytes(combined(DOCUMENT, [odd])).get_payload()
    assert [part.get_payload(decode=True) for part in parts] == [odd, DOCUMENT]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "document",
    [b"\x1f\x8bnothing", gzip.compress(b"x" * 99, mtime=0)[:-9], gzip.compress(bytes(2**25), mtime=0)],
    ids=["nothing", "cut short", "too large"],
)
def test_what_cannot_be_expanded_is_refused(document: bytes) -> None:
    with pytest.raises(Unreadable, match=r"gzip|compressed"):
        combined(DOCUMENT, [document])
