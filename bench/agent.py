"""What the agent costs a guest: memory and CPU of the one file, connected to a bridge in this process.

    .venv/bin/python bench/agent.py [--python PATH] [--seconds 60] [--set MALLOC_ARENA_MAX=1]

Three times: idle, with a running command, and with one that is probed by a command each second. CPU is the agent's own
(shims and probed commands are counted apart), as a share of one core.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import bundle
from tests.support.guestbridge import POD_UID, GuestBridge

SETTLE_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


def manifest(*, probed: bool) -> pb.PodManifest:
    made = pb.PodManifest(
        revision="1", pod_uid=POD_UID, pod_name="bench", pod_namespace="default", boot="b", runtime=pb.RUNTIME_HOST
    )
    container = made.containers.add(name="app", image="os", command=["/bin/sleep", "100000"])
    if probed:
        container.liveness.period_seconds = 1
        container.liveness.handler.exec.command.append("/bin/true")
    return made


def figures(pid: int) -> tuple[int, int, int]:
    """Resident KiB, the agent's own ticks, and those of its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return resident, int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


async def measure(options: argparse.Namespace, file: Path, made: pb.PodManifest | None) -> str:
    bridge = GuestBridge()
    bridge.acknowledging = True
    bridge.welcome.heartbeat_seconds, bridge.welcome.metrics_seconds = 10.0, 15.0
    await bridge.start()
    directory = Path(tempfile.mkdtemp())
    seed = bridge.seed()
    document = {
        "version": 1, "pod_uid": seed.pod_uid, "address": f"{seed.host}:{seed.port}", "server_name": seed.server_name,
        "ca": seed.ca, "token": seed.token,
    }  # fmt: skip
    (directory / "agent.json").write_text(json.dumps(document))
    places = ["--config", "agent.json", "--state", "state", "--run", "run"]
    environment = {"PATH": os.environ["PATH"], **dict(one.split("=", 1) for one in options.set)}
    agent = await asyncio.create_subprocess_exec(
        options.python, "-I", "-S", str(file), "run", *places, cwd=directory, env=environment
    )
    stream = await bridge.streams.get()
    if made is not None:
        await stream.say(manifest=made)
    await asyncio.sleep(SETTLE_SECONDS)
    _, own, others = figures(agent.pid)
    await asyncio.sleep(options.seconds)
    resident, own_after, others_after = figures(agent.pid)
    stop = await asyncio.create_subprocess_exec(
        options.python, "-I", "-S", str(file), "stop", "--grace", "2", *places, cwd=directory
    )
    await stop.wait()
    agent.terminate()
    await agent.wait()
    await bridge.stop()
    share, of_others = (100 * ticks / TICKS / options.seconds for ticks in (own_after - own, others_after - others))
    return f"{resident / 1024:.1f} MiB resident, {share:.2f} % CPU, what it started {of_others:.2f} %"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--set", action="append", default=[], help="an environment variable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        file = Path(cache) / "agent.pyz"
        bundle.build(file, Path("~/.cache/kubelet-bridge").expanduser())
        for name, made in (("idle", None), ("running", manifest(probed=False)), ("probed", manifest(probed=True))):
            print(f"{name}: {await measure(options, file, made)}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
