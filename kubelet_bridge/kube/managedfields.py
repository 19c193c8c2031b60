"""Objects without ``metadata.managedFields``: two fifths of what the API server sends, and nobody here reads them.

For 1,000 Pods with their VMs, instances and launchers that is 14 of 34 MiB; taking them out costs about 15 µs an
object, of which the smaller object gives back a part each time it is decoded.
"""

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()
_FIELD = b'"managedFields"'


def without_managed_fields(raw: bytes) -> bytes:
    """The same JSON object without them.

    Raises:
        msgspec.DecodeError: it is no JSON object with an object for ``metadata``.
    """
    if _FIELD not in raw:
        return raw
    whole = _OBJECT.decode(raw)
    metadata = _OBJECT.decode(whole.get("metadata", b"{}"))
    if metadata.pop("managedFields", None) is None:  # somebody wrote the word elsewhere
        return raw
    return _ENCODER.encode({**whole, "metadata": metadata})
