"""A command of the platform's, run as root on the guest's own system: freeze a database, flush a queue."""

from __future__ import annotations

import os

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.host import process
from kubelet_bridge.agent.host.environment import environment
from kubelet_bridge.agent.host.identity import local_user
from kubelet_bridge.agent.probing import commands
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

OUTPUT_BYTES = 64 * 1024
DEFAULT_SECONDS = 60
# What `timeout(1)` and a shell would say.
TIMED_OUT = 124


async def run_hook(wanted: pb.RunHook) -> pb.HookResult:
    """Run it to its end, or to the end of its time; never raises."""
    result = pb.HookResult(id=wanted.id)
    timeout = float(wanted.timeout_seconds or DEFAULT_SECONDS)
    who = await in_thread(local_user, os.geteuid())
    command = process.Command(list(wanted.command), environment(who, "", (), tty=False), "/", who)
    try:
        child = await process.run(command, stdin=False, tty=False)
        finished = await commands.finish(child, timeout, OUTPUT_BYTES)
    except RunError as error:
        result.exit_code, result.error = error.exit_code, error.message
    except commands.TimedOut as error:
        result.exit_code, result.error = TIMED_OUT, f"it has not ended within {timeout:g} seconds and was killed"
        result.output = error.output.decode("utf-8", "replace")
    else:
        result.exit_code, result.output = finished.exit_code, finished.output.decode("utf-8", "replace")
    return result
