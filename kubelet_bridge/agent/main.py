"""The agent's command line: ``run`` is what systemd and OpenRC start, ``stop`` what they call when the machine stops.

Modules are imported where they are needed: ``version``, ``seed`` and ``stop`` must not wait for the whole agent.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Sequence

from kubelet_bridge.agent import config
from kubelet_bridge.agent.own import VERSION
from kubelet_bridge.agent.telling import set_up, tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    command: str = options.command
    if command == "version":
        sys.stdout.write(f"{VERSION}\n")
        return 0
    set_up()
    return {"run": _run, "stop": _stop, "seed": _seed, "check": _check}[command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kubelet-bridge-agent", description="The guest's side of kubelet-bridge.")
    commands = parser.add_subparsers(dest="command", required=True)
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--config", type=Path, default=config.SEED, help="the seed file (%(default)s)")
    places.add_argument("--state", type=Path, default=config.STATE, help="what survives a boot (%(default)s)")
    places.add_argument("--run", type=Path, default=config.RUN, help="what does not (%(default)s)")
    start = commands.add_parser("run", parents=[places], help="connect to the bridge and run the Pod")
    start.add_argument("--driver", choices=("host",), help="run commands on this system, whatever image is named")
    stop = commands.add_parser("stop", parents=[places], help="stop all containers in order, and wait for it")
    stop.add_argument("--grace", type=float, help="seconds (the Pod's own grace period)")
    commands.add_parser("version", help="say which agent this is")
    commands.add_parser("check", help="load everything, and say which agent this is")
    seed = commands.add_parser("seed", help="do what the NoCloud seed says of the agent, without cloud-init")
    seed.add_argument("--from", dest="source", type=Path, help="a disk or directory (the disk labelled cidata)")
    seed.add_argument("--root", type=Path, default=Path("/"), help="where to write (%(default)s)")
    return parser


def _paths(options: argparse.Namespace) -> config.Paths:
    return config.Paths(options.config.absolute(), options.state.absolute(), options.run.absolute())


def _run(options: argparse.Namespace) -> int:
    from kubelet_bridge.agent import update
    from kubelet_bridge.agent.own import own_digest

    paths = _paths(options)
    previous = update.count_start(paths.agents, paths.update, own_digest())
    if previous is not None:
        update.become(previous, sys.argv[1:])
    from kubelet_bridge.agent.running import run

    try:
        return run(config.load_seed(paths.seed), paths, driver=options.driver or "")
    except config.SeedError as error:
        tell(str(error))
        return 2


def _check(_: argparse.Namespace) -> int:
    import kubelet_bridge.agent.host.shim.main
    import kubelet_bridge.agent.running  # noqa: F401 - loading it is the check

    sys.stdout.write(f"{VERSION}\n")
    return 0


def _stop(options: argparse.Namespace) -> int:
    from kubelet_bridge.agent.control import ask

    try:
        answer = ask(_paths(options).control, {"command": "stop", "grace": options.grace})
    except (OSError, ValueError) as error:
        tell(f"cannot stop the containers, as no agent answers: {error}")
        return 1
    return 0 if answer.get("stopped") else 1


def _seed(options: argparse.Namespace) -> int:
    from kubelet_bridge.agent.seed.apply import apply
    from kubelet_bridge.agent.seed.nocloud import NoSeed, read

    try:
        written = apply(read(options.source), options.root)
    except (NoSeed, OSError) as error:
        tell(f"no seed: {error}")
        return 1
    tell(f"from the seed: {', '.join(written) or 'nothing of ours'}")
    return 0
