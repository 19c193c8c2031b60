"""Lists and watches as values: a sans-IO splitter of watch lines, and the two requests around it."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from enum import StrEnum

import aiohttp
import msgspec

from kubelet_bridge.errors import ApiUnavailable, api_error
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import Resource

PAGE_SIZE = 500
_LIST_TIMEOUT = 60.0  # the API server's own limit; a page of large objects over a thin line may need it
IDLE = 90.0
"""Seconds of silence after which a watch is given up: the API server sends a bookmark every minute."""


class EventKind(StrEnum):
    """``type`` of a watch event that carries an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is listed and watched.

    Attributes:
        namespace: None for all of them.
        selectors: ``labelSelector`` and ``fieldSelector``, those that are used.
        headers: more headers, for impersonation.
    """

    resource: Resource
    namespace: str | None = None
    selectors: Mapping[str, str] = {}
    headers: Mapping[str, str] | None = None


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """One answer to a list. An item is a view that pins the whole answer: copy what is kept (``bytes``)."""

    metadata: _ListMeta
    items: list[msgspec.Raw] = []

    @property
    def version(self) -> str:
        """The resourceVersion to watch from; all pages of one list have the same."""
        return self.metadata.resource_version


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _ErrorStatus(msgspec.Struct):
    code: int = 500
    reason: str = ""
    message: str = ""


class LineSplitter:
    """Bytes in, whole lines out; a line may come in any number of pieces and be of any length."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that ``data`` completes, without their newline."""
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        for piece in rest:
            line = b"".join(self._pieces)
            self._pieces = [piece]
            if line:
                yield line


def decode_line(line: bytes) -> tuple[EventKind, bytes]:
    """One watch event.

    Raises:
        ApiError: the event is an ERROR; ``Gone`` when the resourceVersion is too old.
        ApiUnavailable: it is no watch event at all.
    """
    try:
        event = msgspec.json.decode(line, type=_Line)
        if event.type != "ERROR":
            return EventKind(event.type), bytes(event.object)
        status = msgspec.json.decode(event.object, type=_ErrorStatus)
    except (msgspec.DecodeError, ValueError) as error:
        raise _malformed("a watch", error) from error
    raise api_error(status.code, status.reason, status.message)


def decode_page(body: bytes) -> Page:
    """One page of a list.

    Raises:
        ApiUnavailable: it is none: something between us and the API server has answered in its place.
    """
    try:
        page = msgspec.json.decode(body, type=Page)
    except msgspec.DecodeError as error:
        raise _malformed("a list", error) from error
    if not page.version:
        raise _malformed("a list", ValueError("it has no resourceVersion"))
    return page


def _malformed(what: str, error: Exception) -> ApiUnavailable:
    return ApiUnavailable(0, "Malformed", f"the answer to {what} is not what an API server sends: {error}")


async def pages(client: Client, query: Query) -> AsyncIterator[Page]:
    """A list, page by page.

    Raises:
        ApiError: ``Gone`` when it took so long that the rest cannot be had any more.
    """
    params = {**query.selectors, "limit": str(PAGE_SIZE)}
    while True:
        body = await client.request(
            "GET", query.resource.path(query.namespace), params=params, headers=query.headers,
            timeout=_LIST_TIMEOUT, label=("list", query.resource.plural),
        )  # fmt: skip
        page = decode_page(body)
        yield page
        if not page.metadata.continue_:
            return
        params = {**query.selectors, "limit": str(PAGE_SIZE), "continue": page.metadata.continue_}


@asynccontextmanager
async def watch(
    client: Client, query: Query, *, resource_version: str, window: float, idle: float = IDLE
) -> AsyncIterator[AsyncIterator[tuple[EventKind, bytes]]]:
    """Events from ``resource_version`` on, once the server has agreed to send them.

    The iterator ends when the server ends the watch; it is asked to after ``window`` seconds.

    Raises:
        ApiError: ``ApiUnavailable`` also when nothing, not even a bookmark, comes for ``idle`` seconds.
    """
    params = {
        **query.selectors, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version,
        "timeoutSeconds": str(max(1, int(window))),
    }  # fmt: skip
    timeout = aiohttp.ClientTimeout(total=window + 30, sock_connect=10, sock_read=idle)
    answer = client.stream(
        "GET", query.resource.path(query.namespace), params=params, headers=query.headers, timeout=timeout,
        label=("watch", query.resource.plural),
    )  # fmt: skip
    async with answer as response, aclosing(_events(response)) as events:
        yield events


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[tuple[EventKind, bytes], None]:
    splitter = LineSplitter()
    async for chunk in response.content.iter_any():
        for line in splitter.feed(chunk):
            yield decode_line(line)
