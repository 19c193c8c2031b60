"""Prometheus' text format, version 0.0.4, written as client_golang writes it: families and labels in order of name.

Timestamps are milliseconds. The prometheus_client library would make an object of every sample: with ten thousand Pods
that is most of a second, where joining lines is a fraction of it.
"""

from collections.abc import Iterable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family:
    """One metric: its name, what it means, and its lines."""

    def __init__(self, name: str, kind: str, help_: str) -> None:
        self.name = name
        self._head = f"# HELP {name} {help_}\n# TYPE {name} {kind}\n".encode()
        self._lines = bytearray()  # a string for each of a million lines takes more, and longer

    def add(self, labels: str, value: float, at: int | None = None) -> None:
        """A sample: ``labels`` as ``label_set`` makes them, ``at`` in nanoseconds or None for none."""
        moment = "" if at is None else f" {at // 1_000_000}"
        self._lines += f"{self.name}{labels} {value!r}{moment}\n".encode()

    def text(self) -> bytes:
        """Head and lines; nothing without a line, as client_golang leaves out what has no samples."""
        return self._head + self._lines if self._lines else b""


def exposition(families: Iterable[Family]) -> bytes:
    """The whole answer."""
    return b"".join(one.text() for one in sorted(families, key=lambda one: one.name))


def label_set(labels: Mapping[str, str]) -> str:
    """``{a="1",b="2"}``, in the order given; no blanks, since metrics-server looks for ``container="`` in the bytes."""
    inside = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}"


def escaped(value: str) -> str:
    """A label's value as it may stand between double quotes."""
    if "\\" not in value and '"' not in value and "\n" not in value:
        return value
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def seconds(nanoseconds: int) -> float:
    """Nanoseconds as Prometheus has times."""
    return nanoseconds / 1e9
