"""Go's notation of durations (``1m30s``), as metav1.Duration carries it."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


def seconds(text: str) -> float:
    """``text`` in seconds.

    Raises:
        ValueError: it is no duration.
    """
    if text == "0":
        return 0.0
    if not text or _PART.sub("", text):
        raise ValueError(f"{text!r} is no duration")
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text))
