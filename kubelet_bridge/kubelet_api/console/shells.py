"""Whether a command is no more than a shell to type in, which a console has as well."""

import re
from pathlib import PurePosixPath

SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh", "fish", "login"})
_INTERACTIVE = frozenset({"-i", "-l", "-il", "-li", "--login", "-"})
_WORDS_OF_CHOOSING = SHELLS | {
    "1", "2", "clear", "command", "dev", "exec", "null", "p", "type", "v", "which",
}  # fmt: skip


def is_interactive_shell(command: list[str]) -> bool:
    """``sh``, ``/bin/bash -l``; and what tools run to get the best shell there is: ``sh -c "bash || sh"``."""
    if not command or PurePosixPath(command[0]).name not in SHELLS:
        return False
    if len(command) == 3 and command[1] == "-c":
        return set(re.findall(r"\w+", command[2])) <= _WORDS_OF_CHOOSING
    return all(argument in _INTERACTIVE for argument in command[1:])
