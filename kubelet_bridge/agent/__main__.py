"""Where Python begins. A shim, of which there is one per container, must not load the rest of the agent."""

from __future__ import annotations

import sys


def start() -> int:
    """Run the command line; the exit code."""
    if sys.argv[1:2] == ["shim"]:
        from kubelet_bridge.agent.host.shim.main import run

        return run(sys.argv[2:])
    from kubelet_bridge.agent.main import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
