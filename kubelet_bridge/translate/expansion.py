"""``$(NAME)`` in values, commands and arguments, as Kubernetes expands it.

Source: ``third_party/forked/golang/expansion/expand.go`` in Kubernetes.
"""

import re
from collections.abc import Callable, Mapping

# A dollar takes exactly the next character with it, unless that opens a reference which is also closed.
_DOLLAR = re.compile(r"\$(?:\((?P<name>[^)]*)\)|(?P<next>.))", re.DOTALL)


def expand(text: str, *variables: Mapping[str, str]) -> str:
    """``text`` with each ``$(NAME)`` replaced by the first of ``variables`` that has it, and ``$$`` by ``$``.

    A name nobody has, or a reference that is not closed, stays as it is written.
    """
    return _DOLLAR.sub(_replacement(variables), text)


def unresolved(text: str, *variables: Mapping[str, str]) -> list[str]:
    """Names that ``text`` refers to and nobody has."""
    names = (match["name"] for match in _DOLLAR.finditer(text))
    return [name for name in names if name is not None and not any(name in known for known in variables)]


def _replacement(variables: tuple[Mapping[str, str], ...]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return "$" if match["next"] == "$" else match[0]
        return next((known[name] for known in variables if name in known), match[0])

    return replace
