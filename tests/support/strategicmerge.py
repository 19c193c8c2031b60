"""As much of the API server's strategic merge patch as ``pods/status`` needs (``util/strategicpatch``)."""

from typing import Any

_MERGE_KEYS = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}


def apply(has: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """``has`` with ``patch`` merged in: nulls delete, the lists above merge by key, every other list is replaced."""
    merged = dict(has)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = apply(merged.get(key, {}), value)
        elif key in _MERGE_KEYS:
            merged[key] = _merge_list(merged.get(key, []), value, _MERGE_KEYS[key])
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value != []}


def _merge_list(has: list[dict[str, Any]], patch: list[dict[str, Any]], merge_key: str) -> list[dict[str, Any]]:
    if any(one.get("$patch") == "replace" for one in patch):
        has = []
    merged = {one[merge_key]: one for one in has}
    for one in patch:
        if one.get("$patch") == "delete":
            merged.pop(one[merge_key], None)
        elif "$patch" not in one:
            merged[one[merge_key]] = apply(merged.get(one[merge_key], {}), one)
    return list(merged.values())
