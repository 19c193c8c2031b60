"""Start the agent that ``current.pyz`` leads to; the one that came with the image, from its compiled modules.

Python keeps no compiled modules of a zip file, and compiling them takes most of the time in which an agent starts.
"""

import os
import sys

CURRENT = "/var/lib/kubelet-bridge/agent/current.pyz"
COMPILED = "/usr/lib/kubelet-bridge/agents"


def start() -> None:
    """Go on as the agent's ``__main__``; does not return."""
    current = os.path.realpath(CURRENT)
    compiled = os.path.join(COMPILED, os.path.basename(current).partition(".")[0])  # noqa: PTH118, PTH119 - quickly
    sys.argv[0] = current
    sys.path[0] = compiled if os.path.isdir(compiled) else current  # noqa: PTH112
    from kubelet_bridge.agent.main import main

    sys.exit(main())


if __name__ == "__main__":
    start()
