"""Runs containers as commands on the guest's own operating system. There are no images; a shim watches each run."""

from __future__ import annotations

import asyncio
import os
import signal as signals
from pathlib import Path
from typing import Callable, Sequence

from kubelet_bridge.agent import cgroupstats
from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import Exit, Process, Run, RunError
from kubelet_bridge.agent.host import attached, cgroups, hosts, launcher, order, places, process, wire
from kubelet_bridge.agent.host.environment import environment
from kubelet_bridge.agent.host.identity import local_user
from kubelet_bridge.agent.host.runs import Runs, Started
from kubelet_bridge.agent.host.shim.spec import Spec
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import prepare as prepare_volumes

# How long a shim may take to tell that its command runs, and how often it is asked.
START_SECONDS = 60.0
_ASK_SECONDS = 0.02


class HostDriver:
    """Implements ``driver.Driver``."""

    def __init__(
        self, paths: Paths, *, root: Path = Path("/"), shim: Sequence[str] = (), systemd: bool | None = None
    ) -> None:
        """Nothing happens yet.

        ``root`` stands before every mount path and before ``/etc/hosts``. ``shim`` is the command that runs a shim
        (this agent's own), ``systemd`` whether it is started by systemd (asked of the system).
        """
        self._paths = paths
        self._root = root
        self._runs = Runs(paths)
        self._shim = list(shim) or launcher.shim_command()
        self._systemd = systemd
        self._version = 0
        self._manifest = pb.PodManifest()
        self._volumes: dict[str, str] = {}

    async def prepare(self, manifest: pb.PodManifest) -> None:
        """As in ``driver.Driver``; also ``/etc/hosts``."""
        self._manifest = manifest
        await in_thread(self._prepare, manifest)

    async def runs(self) -> list[Run]:
        """As in ``driver.Driver``."""
        return await in_thread(self._runs.all)

    async def image(
        self, manifest: pb.PodManifest, container: pb.Container, pulling: Callable[[], None]
    ) -> tuple[str, bool]:
        """There is nothing to be pulled: the image is the machine itself."""
        del manifest, pulling
        return container.image, False

    async def start(self, manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str) -> Run:
        """As in ``driver.Driver``."""
        del image_id
        self._manifest = manifest
        run = await in_thread(self._launch, manifest, container, attempt)
        for _ in range(int(START_SECONDS / _ASK_SECONDS)):
            started = await in_thread(self._told, run)
            if started is not None:
                return run._replace(started_at=started.started_at)
            await asyncio.sleep(_ASK_SECONDS)
        await in_thread(self._abandon, run)
        raise RunError(launcher.REASON, f"the command's supervisor has not come up in {START_SECONDS:.0f} seconds")

    async def wait(self, run: Run) -> Exit:
        """As in ``driver.Driver``: a shim ends when all is over, so the end of a connection to it is the sign."""
        while True:
            await self._until_gone(run)
            end = await in_thread(self._end, run.id)
            if end is not None:
                return end

    async def _until_gone(self, run: Run) -> None:
        try:
            reader, writer = await attached.connect(self._runs.socket(run.id))
        except OSError:
            return
        try:
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    async def stop(self, run: Run, signal: str, grace: float) -> None:
        """As in ``driver.Driver``; the shim keeps the deadline, whatever becomes of the agent."""
        number = signal_number(signal)
        try:
            reader, writer = await attached.connect(self._runs.socket(run.id))
        except OSError:
            return
        try:
            writer.write(wire.frame(wire.SIGNAL, wire.signal_body(number, grace)))
            await writer.drain()
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    async def remove(self, run: Run) -> None:
        """As in ``driver.Driver``."""
        await in_thread(self._forget, run.id)

    async def exec(
        self,
        run: Run | None,
        command: Sequence[str],
        *,
        stdin: bool,
        tty: bool,
        size: tuple[int, int],
        env: Sequence[tuple[str, str]] = (),
    ) -> Process:
        """As in ``driver.Driver``: with a run, as its user, in its environment and limits; else as root."""
        what = await in_thread(self._command, run, list(command))
        what.env.update(env)
        if tty:
            what.env.setdefault("TERM", "xterm")
        return await process.run(what, stdin=stdin, tty=tty, size=size)

    async def attach(self, run: Run, *, stdin: bool, tty: bool) -> Process:
        """As in ``driver.Driver``."""
        del stdin, tty  # the shim knows which of them the command has
        try:
            reader, writer = await attached.connect(self._runs.socket(run.id))
        except OSError as error:
            raise RunError(process.CANNOT_RUN, f"container {run.container} is not running") from error

        async def ended() -> tuple[int, int]:
            end = await self.wait(run)
            return end.exit_code, end.signal

        return attached.Attached(reader, writer, ended)

    async def usage(self, run: Run) -> pb.ContainerUsage:
        """As in ``driver.Driver``."""
        return await in_thread(self._usage, run)

    async def close(self) -> None:
        """Shims run on by themselves."""

    def _prepare(self, manifest: pb.PodManifest) -> None:
        self._volumes = prepare_volumes(manifest, self._paths)
        try:
            hosts.update(self._root / "etc" / "hosts", manifest)
        except OSError as error:
            raise RunError(places.REASON, f"host aliases cannot be written: {error}") from error

    def _launch(self, manifest: pb.PodManifest, container: pb.Container, attempt: int) -> Run:
        places.show(manifest, container, self._volumes, self._root)
        if self._systemd is None:
            self._systemd = launcher.has_systemd()
        try:
            run = self._runs.make(container.name, attempt, manifest.boot, container.image)
        except OSError as error:
            raise RunError("CreateContainerError", f"the run cannot be written down: {error}") from error
        try:
            made = cgroups.NONE if self._systemd else cgroups.make(run.id, container.resources)
            spec = order.spec_of(manifest, container, Path(run.log_path), made)
            self._runs.keep_order(run.id, spec.dump())
            self._runs.give_order(run.id, spec.dump())
            self._start_shim(run, spec, container.resources)
        except BaseException as error:
            self._runs.forget(run.id)
            if isinstance(error, OSError):
                raise RunError("CreateContainerError", f"the command cannot be prepared: {error}") from error
            raise
        return run

    def _start_shim(self, run: Run, spec: Spec, resources: pb.Resources) -> None:
        arguments = [str(self._runs.directory(run.id)), str(self._runs.order(run.id))]
        if not self._systemd:
            launcher.by_session(self._shim, arguments)
            return
        self._version = self._version or launcher.systemd_version()
        shim = [*self._shim, *arguments]
        launcher.by_systemd(launcher.systemd_argv(shim, run.id, resources, spec.grace, version=self._version))

    def _told(self, run: Run) -> Started | None:
        """What the shim says; None when it has said nothing yet.

        Raises:
            RunError: ``RunContainerError``: the command could not be started.
        """
        failure = self._runs.failure(run.id)
        if failure is not None:
            self._forget(run.id)
            raise RunError(launcher.REASON, failure["message"], exit_code=failure["exit_code"])
        return self._runs.started(run.id)

    def _abandon(self, run: Run) -> None:
        if self._runs.take_back(run.id) or not self._runs.alive(run.id):
            self._forget(run.id)

    def _end(self, run: str) -> Exit | None:
        """None while a shim watches it: only one that has gone without a word has lost its run."""
        end = self._runs.exit(run)
        if end is not None or self._runs.alive(run):
            return end
        return self._runs.exit(run) or self._runs.lost(run)

    def _forget(self, run: str) -> None:
        self._runs.forget(run)
        cgroups.remove(run)

    def _command(self, run: Run | None, argv: list[str]) -> process.Command:
        if run is None:
            root = local_user(os.geteuid())
            return process.Command(argv, environment(root, self._manifest.hostname, (), tty=False), "/", root)
        spec, started = self._runs.kept_order(run.id), self._runs.started(run.id)
        if spec is None or started is None:
            raise RunError(process.CANNOT_RUN, f"container {run.container} is not running")
        return order.command_in(spec, argv, self._groups(started))

    def _groups(self, started: Started) -> list[str]:
        return cgroupstats.directories_of(started.pid) if self._systemd else started.cgroups

    def _usage(self, run: Run) -> pb.ContainerUsage:
        found = pb.ContainerUsage(name=run.container, started_at=run.started_at)
        started = self._runs.started(run.id)
        if started is not None and run.exit is None:
            groups = started.cgroups or (cgroupstats.directories_of(started.pid) if self._systemd else [])
            used = cgroupstats.usage(groups) if groups else cgroupstats.usage_of_tree(started.pid)
            found.usage.CopyFrom(used)
        log = Path(run.log_path)
        found.log_bytes = sum(one.stat().st_size for one in log.parent.glob(f"{log.name}*"))
        return found


def signal_number(name: str) -> int:
    """``SIGTERM``, ``TERM`` or ``15``; SIGTERM for an empty or an unknown one."""
    if name.isdigit():
        return int(name) if 0 < int(name) < signals.NSIG else signals.SIGTERM
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if full.startswith(("SIGRTMIN+", "SIGRTMAX-")):
        base, sign, distance = full[:8], full[8], full[9:]
        return getattr(signals, base) + int(sign + distance) if distance.isdigit() else signals.SIGTERM
    return int(getattr(signals, full, signals.SIGTERM))
