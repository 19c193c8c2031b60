"""What a list of VMs is asked for with. Pure."""

import base64
import binascii
from collections.abc import Mapping

import msgspec

LIMIT = 500
MOST = 1000

Position = tuple[str, str, str, str]
"""Where a page ended: namespace, name, time of acceptance and uid of its last row, as the store has them."""

_POSITION = msgspec.json.Decoder(Position)
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}


class BadQuery(ValueError):
    """A parameter is not what it should be; the message names it."""


class VmQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Filters (empty: all), how many at most, and after what."""

    namespace: str = ""
    name: str = ""
    destroyed: bool = False
    limit: int = LIMIT
    after: Position | None = None


def parse(query: Mapping[str, str]) -> VmQuery:
    """The query of ``GET /vms``; parameters that it does not have are left alone.

    Raises:
        BadQuery: a value is not of its kind.
    """
    destroyed = query.get("destroyed", "").lower()
    if destroyed not in _FLAGS:
        raise BadQuery(f"destroyed: {destroyed!r} is neither true nor false")
    return VmQuery(
        namespace=query.get("namespace", ""), name=query.get("name", ""), destroyed=_FLAGS[destroyed],
        limit=_limit(query.get("limit", "")), after=position(query.get("continue", "")),
    )  # fmt: skip


def token(after: Position) -> str:
    """What a client sends as ``continue`` to come to the next page."""
    return base64.urlsafe_b64encode(msgspec.json.encode(after)).decode().rstrip("=")


def position(text: str) -> Position | None:
    """The position in a ``continue``; None for the first page.

    Raises:
        BadQuery: it is none of ours.
    """
    if not text:
        return None
    try:
        found: Position = _POSITION.decode(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        )
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise BadQuery("continue: not a token of this list") from error
    return found


def _limit(text: str) -> int:
    if not text:
        return LIMIT
    if not (text.isascii() and text.isdecimal()) or len(text) > 6 or not 1 <= int(text) <= MOST:
        raise BadQuery(f"limit: {text[:20]!r} is not a number from 1 to {MOST}")
    return int(text)
