"""What a disk begins with: read from an annotation or a class parameter, and written as CDI has it.

``blank``, ``upload``, ``image:NAME``, ``http(s)://…``, ``registry://…``; a ``dataSource`` of kind PersistentVolumeClaim
is a clone.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kubelet_bridge.model.storagenames import (
    ANNOTATION_SOURCE,
    ANNOTATION_SOURCE_CA,
    ANNOTATION_SOURCE_CHECKSUM,
    ANNOTATION_SOURCE_SECRET,
)
from kubelet_bridge.translate.storage.refusal import CannotProvision, failed

Json = dict[str, Any]
_FORMS = "blank, upload, image:NAME, http://…, https://… or registry://…"
_SECRETS_SHOWN = "a URL must not hold a user name or password: name a Secret by " + ANNOTATION_SOURCE_SECRET


class Blank(msgspec.Struct, frozen=True, tag=True):
    """Nothing."""

    def __str__(self) -> str:
        return "blank"


class Upload(msgspec.Struct, frozen=True, tag=True):
    """What a user uploads through CDI's proxy."""

    def __str__(self) -> str:
        return "upload"


class Image(msgspec.Struct, frozen=True, tag=True):
    """An image of the catalogue, by the name a user gave it."""

    name: str

    def __str__(self) -> str:
        return f"image:{self.name}"


class Download(msgspec.Struct, frozen=True, tag=True):
    """A file at a URL, or a disk in a registry.

    Attributes:
        url: ``http://``, ``https://`` or ``docker://``.
        checksum: ``sha256:…``; empty: it is not checked.
        secret: of the claim's namespace, with ``accessKeyId`` and ``secretKey``.
        authorities: a ConfigMap of the claim's namespace with the CA certificates to trust.
    """

    url: str
    checksum: str = ""
    secret: str = ""
    authorities: str = ""

    def __str__(self) -> str:
        """Without its query: that of a signed URL is as good as a password, and this is for events."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()


class Clone(msgspec.Struct, frozen=True, tag=True):
    """What is on another claim of the namespace."""

    claim: str

    def __str__(self) -> str:
        return f"clone of {self.claim}"


Source = Blank | Upload | Image | Download | Clone


def parse(text: str, field: str) -> Source:
    """Read a source as users write it in ``field``; spaces around it do not count.

    Raises:
        CannotProvision: it is none.
    """
    given = text.strip()
    kind, _, rest = given.partition(":")
    match kind.lower(), rest.strip():
        case ("blank", "") if given.lower() == "blank":
            return Blank()
        case ("upload", "") if given.lower() == "upload":
            return Upload()
        case "image", name if name:
            return Image(name)
        case "http" | "https", _:
            return Download(_checked(given, field))
        case "registry", _:
            return Download(_checked(f"docker:{rest}", field))
        case _:
            raise failed(f"{field}: {text!r} is no source of a disk: it is {_FORMS}")


def of_claim(annotations: Mapping[str, str]) -> Source | None:
    """The source that a claim's annotations name, with what else they say of a download; None when they name none.

    Raises:
        CannotProvision: they name something else.
    """
    if not (text := annotations.get(ANNOTATION_SOURCE, "").strip()):
        return None
    source = parse(text, ANNOTATION_SOURCE)
    if not isinstance(source, Download):
        return source
    found = msgspec.structs.replace(
        source, checksum=annotations.get(ANNOTATION_SOURCE_CHECKSUM, "").strip(),
        secret=annotations.get(ANNOTATION_SOURCE_SECRET, "").strip(),
        authorities=annotations.get(ANNOTATION_SOURCE_CA, "").strip(),
    )  # fmt: skip
    if found.checksum and found.url.startswith("docker:"):
        raise failed(f"{ANNOTATION_SOURCE_CHECKSUM} is for files; an image in a registry is pinned by its digest")
    return found


def download(source: Download) -> Json:
    """``spec.source`` of a DataVolume that fetches it."""
    kind = "registry" if source.url.startswith("docker:") else "http"
    optional = {"checksum": source.checksum, "secretRef": source.secret, "certConfigMap": source.authorities}
    return {kind: {"url": source.url, **{name: value for name, value in optional.items() if value}}}


def _checked(url: str, field: str) -> str:
    try:
        parts = urlsplit(url)
        host, port_is_a_number = parts.hostname, parts.port is None or parts.port > 0
    except ValueError as error:
        raise _not_a_url(field) from error
    if not host or not port_is_a_number or any(one.isspace() for one in url):
        raise _not_a_url(field)
    if parts.username is not None or parts.password is not None:
        raise failed(f"{field}: {_SECRETS_SHOWN}")
    return url


def _not_a_url(field: str) -> CannotProvision:
    return failed(f"{field}: the source is not a URL with a host")  # which is not repeated: it may hold a password
