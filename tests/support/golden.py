"""Golden files: what was made is compared with the file, or becomes it with ``--update-golden``."""

import difflib
from pathlib import Path

import yaml


class _Dumper(yaml.SafeDumper):
    """Without anchors: the same value twice is written twice."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def check(path: Path, made: object, *, update: bool) -> None:
    """Compare ``made`` (JSON values) with the YAML in ``path``."""
    text = yaml.dump(made, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    check_text(path, text, update=update)


def check_text(path: Path, text: str, *, update: bool) -> None:
    """The same of any text."""
    if update:
        path.write_text(text)
    assert path.exists(), f"{path.name} is missing: run with --update-golden and read what it says"
    expected = path.read_text()
    difference = difflib.unified_diff(expected.splitlines(), text.splitlines(), path.name, "made", lineterm="")
    assert text == expected, "\n".join(["not as in the golden file", *difference])
