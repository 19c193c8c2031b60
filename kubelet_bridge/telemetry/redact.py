"""What must never reach a log, whoever wrote it there: tokens, passwords, keys."""

import re
from collections.abc import MutableMapping
from typing import Any

HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(r"(?i)(authorization|password|passwd|secret|token|private_?key|cookie|bearer|credential)")
# Not secrets although they are called so: names of objects and counts.
_PLAIN_NAME = re.compile(r"(?i)(_name|_count|_hash|_ref|_file|_seconds)$")
_IN_TEXT = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # A JWT: three base64url parts, the first of which always begins with '{"'.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
    (re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)([?&](?:access_)?token=)[^&\s]+"), rf"\1{HIDDEN}"),
)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides values by their key, and known forms of secrets within any text."""
    for key, value in event.items():
        if key.startswith("_"):
            continue
        if _SECRET_NAME.search(key) and not _PLAIN_NAME.search(key) and value:
            event[key] = HIDDEN
        else:
            event[key] = _clean(value)
    return event


def _clean(value: Any) -> Any:
    match value:
        case str():
            return redact_text(value)
        case bytes():
            return redact_text(value.decode(errors="replace"))
        case dict():
            return redact(None, "", dict(value))
        case list() | tuple() | set() | frozenset():
            return [_clean(one) for one in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return redact_text(str(value))


def redact_text(text: str) -> str:
    """``text`` without the secrets that can be told by their form."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text
