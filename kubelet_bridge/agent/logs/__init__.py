"""Container logs on their way to the bridge. The log file itself is the spool: it is read from where the bridge has it.

``cri`` understands lines, ``tail`` reads one run's file into records, ``checkpoint`` remembers how far the bridge has
each, ``shipper`` (a ``link.Logs``) sends them.
"""

from kubelet_bridge.agent.logs.shipper import Shipper

__all__ = ["Shipper"]
