"""The catalogue that comes with the package."""

from importlib.resources import files


def text() -> str:
    """Its YAML. Blocks, as it is a file."""
    return (files(__package__) / "packaged.yaml").read_text(encoding="utf-8")
