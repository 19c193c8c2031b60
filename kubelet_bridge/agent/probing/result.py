"""What one check has found."""

from __future__ import annotations

from typing import NamedTuple

from kubelet_bridge.agent.v1 import agent_pb2 as pb

# pkg/probe: more of an answer or an output is not kept.
OUTPUT_BYTES = 10 * 1024


class Result(NamedTuple):
    """``warning``: it counts as a success, but somebody should know (a redirect that was not followed)."""

    outcome: pb.Outcome.ValueType
    output: str
    warning: bool = False

    @property
    def success(self) -> bool:
        """Whether it counts as one."""
        return self.outcome == pb.OUTCOME_SUCCESS


def passed(output: str = "", *, warning: bool = False) -> Result:
    """A success."""
    return Result(pb.OUTCOME_SUCCESS, clip(output), warning)


def failed(output: str) -> Result:
    """A failure."""
    return Result(pb.OUTCOME_FAILURE, clip(output))


def unknown(output: str) -> Result:
    """The check itself could not be made: it counts for nothing."""
    return Result(pb.OUTCOME_UNKNOWN, clip(output))


def clip(output: str) -> str:
    """At most as much as is kept."""
    return output.encode("utf-8", "replace")[:OUTPUT_BYTES].decode("utf-8", "ignore")
