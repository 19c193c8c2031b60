"""What is wrong with one entry of the catalogue, as ``FIELD: why``."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from kubelet_bridge.model.catalogue import (
    ClaimSource,
    DataSourceSource,
    HttpSource,
    Image,
    RegistrySource,
)
from kubelet_bridge.model.meta import is_dns_subdomain
from kubelet_bridge.translate.catalogue.spelling import spelling

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}", re.ASCII)
_CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
_LONGEST_NAME = 63


def image_faults(image: Image) -> Iterator[str]:
    """What is wrong with ``image``."""
    if len(image.name) > _LONGEST_NAME or not _NAME.fullmatch(image.name):
        yield f'name: "{image.name}" is no name such as debian-12 (small letters, digits, "-", "."; at most 63)'
    for index, alias in enumerate(image.aliases):
        if spelling(alias) is None:
            yield f'aliases[{index}]: "{alias}" is no name'
    if image.minimum_disk <= 0:
        yield "minimumDisk: is no size such as 4Gi"
    if image.user and not _USER.fullmatch(image.user):
        yield f'user: "{image.user}" is no name for a user'
    for index, name in enumerate(image.ready_made):
        yield from (f"dataSources[{index}]: {fault}" for fault in _object_faults(name))
    yield from (f"source.{fault}" for fault in _source_faults(image))


def _source_faults(image: Image) -> Iterator[str]:
    match image.source:
        case HttpSource(url=url, checksum=checksum):
            if fault := url_fault(url):
                yield f"http.url: {fault}"
            if fault := checksum_fault(checksum):
                yield f"http.checksum: {fault}"
        case RegistrySource(url=url):
            parts = urlsplit(url)
            if parts.scheme not in ("docker", "oci-archive") or not (parts.netloc and parts.path.strip("/")):
                yield f'registry.url: "{url}" is not docker://HOST/NAME:TAG'
        case ClaimSource(namespace=namespace, name=name):
            yield from _place_faults("claim", namespace, name)
        case DataSourceSource(namespace=namespace, name=name):
            yield from _place_faults("dataSource", namespace, name)
        case None:
            return


def url_fault(url: str) -> str:
    """What keeps a URL from being fetched, or from being shown; empty when nothing does. Credentials are not echoed."""
    try:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            return "has credentials in it, which everybody who sees the object would see"
        if parts.scheme in ("http", "https") and parts.hostname and url.isprintable() and " " not in url:
            _ = parts.port
            return ""
    except ValueError:
        pass
    return f'"{url}" is not http(s)://HOST/…'


def checksum_fault(checksum: str) -> str:
    """What is wrong with a checksum as CDI takes it (``DataVolumeSourceHTTP.Checksum``); empty when nothing is."""
    if not checksum or _CHECKSUM.fullmatch(checksum):
        return ""
    return f'"{checksum}" is not ALGORITHM:HEX, with md5, sha1, sha256 or sha512 and as many digits as it has'


def _place_faults(kind: str, namespace: str, name: str) -> Iterator[str]:
    for field, value in (("namespace", namespace), ("name", name)):
        yield from (f"{kind}.{field}: {fault}" for fault in _object_faults(value))


def _object_faults(name: str) -> Iterator[str]:
    if not is_dns_subdomain(name):
        yield f'"{name}" is no name of an object'
