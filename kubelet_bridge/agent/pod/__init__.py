"""The lifecycle of one Pod's containers over a ``Driver``: what a kubelet's runtime manager does, in the guest.

``decide`` says what is to be done, from values alone; ``engine`` does it and asks again. What must outlive the agent is
in the runtime itself (which runs there are) and in one small file (``memory``).
"""

from __future__ import annotations

from kubelet_bridge.agent.pod.engine import Pod

__all__ = ["Pod"]
