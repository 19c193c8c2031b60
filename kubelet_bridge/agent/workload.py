"""What the bridge asks for, and which part of the agent does it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Coroutine

from kubelet_bridge.agent import keptmanifest, metrics, tasks
from kubelet_bridge.agent.config import Paths, Seed
from kubelet_bridge.agent.driver import Driver, Run
from kubelet_bridge.agent.host.driver import HostDriver
from kubelet_bridge.agent.info import guest_info
from kubelet_bridge.agent.logs import Shipper
from kubelet_bridge.agent.manifestcheck import problem
from kubelet_bridge.agent.pod import Pod
from kubelet_bridge.agent.pod.memory import MemoryFile
from kubelet_bridge.agent.podman.driver import PodmanDriver
from kubelet_bridge.agent.probing.hooks import Hooks
from kubelet_bridge.agent.probing.once import probe_once
from kubelet_bridge.agent.probing.probes import Probes
from kubelet_bridge.agent.runhook import run_hook
from kubelet_bridge.agent.seconds import bounded
from kubelet_bridge.agent.session import Session
from kubelet_bridge.agent.sshkeys import apply_keys
from kubelet_bridge.agent.streams import Streams
from kubelet_bridge.agent.telling import tell
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.agent.volumes import growth

log = logging.getLogger(__name__)

INFO_SECONDS = 60.0
FLUSH_SECONDS = 10.0
"""How long the end waits for the bridge to take the last logs and the last report."""
_GRACE = 30.0


class Workload:
    """The Pod and everything around it. The Pod begins with the first manifest, which says what runs containers."""

    def __init__(
        self, seed: Seed, paths: Paths, session: Session, shipper: Shipper, boot_id: str, driver: str = ""
    ) -> None:
        """Registers with ``session``; nothing else happens before ``run``. ``driver``: as in ``running.run``."""
        self._seed = seed
        self._paths = paths
        self._session = session
        self._shipper = shipper
        self._boot_id = boot_id
        self._only_host = driver == "host"
        self._running = tasks.Tasks()
        self._host = HostDriver(paths)
        self._driver: Driver = self._host
        self._probes: Probes | None = None
        self._pod: Pod | None = None
        self._manifest = pb.PodManifest()
        self._looked = asyncio.Event()
        self._streams: Streams | None = None
        self._connection = tasks.Tasks()
        self._told = pb.GuestInfo()
        self._keys = asyncio.Lock()
        session.on("welcome", self._welcomed)
        session.on("manifest", self._take_manifest)
        session.on("shutdown", lambda order: self._apart(self._shut_down(order), "shutdown"))
        session.on("probe_request", lambda request: self._apart(self._probe(request), "probe"))
        session.on("run_hook", lambda wanted: self._apart(self._hook(wanted), "hook"))
        session.on("ssh_keys", lambda wanted: self._apart(self._apply_keys(wanted), "keys"))
        session.on("", self._stream)
        session.on_lost(self._lost)
        session.before_the_end(self._flush)

    @property
    def revision(self) -> str:
        """Of the manifest that is worked by; empty while there is none."""
        return self._manifest.revision

    async def info(self) -> pb.GuestInfo:
        """What is told of the guest with Hello."""
        self._told = await in_thread(guest_info)
        return self._told

    async def run(self) -> None:
        """Work until cancelled; then let go of everything, and what runs runs on."""
        try:
            await self._take_up()
            self._apart(growth.watch(self._paths.state / "volumes", self._grown), "growth of volumes")
            await self._running.faulted()
        finally:
            await self._connection.close()
            if self._streams is not None:
                await self._streams.close()
            await self._running.close()
            if self._probes is not None:
                await self._probes.close()
            await self._driver.close()

    async def stop(self, grace: float | None, reason: str) -> None:
        """Stop all containers in order; returns when none runs and the bridge knows, if it can be told."""
        await self._looked.wait()
        if self._pod is not None:
            allowed = float(self._manifest.termination_grace_seconds or _GRACE) if grace is None else grace
            await self._pod.stop(allowed, reason)
        await self._flush()
        if self._session.connected:
            await self._session.settle(FLUSH_SECONDS)

    # ------------------------------------------------------------------------------------------ the Pod

    async def _take_up(self) -> None:
        """Go on by the manifest of the agent before us, until the bridge has said another."""
        kept = await in_thread(keptmanifest.load, self._paths.manifest, self._boot_id)
        if kept is not None and self._pod is None and not problem(kept, self._seed.pod_uid):
            tell(f"going on by the manifest of before ({kept.revision})")
            self._go_by(kept)
        self._looked.set()

    async def _take_manifest(self, manifest: pb.PodManifest) -> None:
        why = problem(manifest, self._seed.pod_uid)
        if why:
            tell(f"a manifest is not taken: {why}")
            message = f"the guest's agent does not take the manifest: {why}"
            self._session.event(pb.GuestEvent(warning=True, reason="InvalidManifest", message=message))
            return
        try:
            await in_thread(keptmanifest.keep, self._paths.manifest, manifest, self._boot_id)
        except OSError as error:
            tell(f"the manifest cannot be kept for an agent after this one: {error}")
        self._go_by(manifest)

    def _go_by(self, manifest: pb.PodManifest) -> None:
        keys_changed = manifest.ssh_keys != self._manifest.ssh_keys
        self._manifest = manifest
        if keys_changed:
            self._apart(self._apply_keys(manifest.ssh_keys), "keys")
        if self._pod is None:
            self._pod = self._begin(manifest.runtime)
            self._running.start(self._pod.run(), "pod")
        self._pod.apply(manifest)

    def _begin(self, runtime: pb.Runtime.ValueType) -> Pod:
        if runtime == pb.RUNTIME_PODMAN and not self._only_host:
            self._driver = PodmanDriver(self._paths, self._host)
        self._probes = Probes(self._driver, self._session)
        return Pod(
            self._driver,
            self._session,
            self._shipper,
            self._probes,
            Hooks(self._driver),
            memory=MemoryFile(self._paths.state / "pod.json"),
            boot_id=self._boot_id,
        )

    def _grown(self, volume: str, what: str, failed: bool) -> None:
        reason = "FileSystemResizeFailed" if failed else "FileSystemResizeSuccessful"
        outcome = "failed" if failed else "succeeded"
        message = f'MountVolume.NodeExpandVolume {outcome} for volume "{volume}" : {what}'
        self._session.event(pb.GuestEvent(warning=failed, reason=reason, message=message))

    def _run_of(self, container: str) -> Run | None:
        return None if self._pod is None else self._pod.run_of(container)

    def _runs(self) -> list[Run]:
        every = (self._manifest.init_containers, self._manifest.containers, self._manifest.ephemeral_containers)
        runs = [self._run_of(container.name) for containers in every for container in containers]
        return [run for run in runs if run is not None]

    async def _shut_down(self, order: pb.Shutdown) -> None:
        await self.stop(float(order.grace_seconds), order.reason or "the bridge asks for it")
        await self._session.send(pb.GuestMessage(stopped=pb.Stopped()))
        if order.power_off:
            await asyncio.create_subprocess_exec("poweroff")

    async def _flush(self) -> None:
        await self._shipper.drained(FLUSH_SECONDS)

    # ------------------------------------------------------------------------------------------ while connected

    def _welcomed(self, welcome: pb.Welcome) -> None:
        self._streams = Streams(lambda: self._driver, self._run_of, self._session.send)
        self._connection = tasks.Tasks()
        period = bounded(welcome.metrics_seconds, 1.0, 3600.0, otherwise=15.0)
        self._connection.start(self._quietly(self._send_metrics(period)), "metrics")
        self._connection.start(self._quietly(self._send_info()), "info")

    def _lost(self) -> None:
        self._running.start(self._connection.close(), "end of a connection")
        if self._streams is not None:
            self._running.start(self._streams.close(), "end of its streams")
            self._streams = None

    async def _stream(self, message: pb.BridgeMessage) -> None:
        if self._streams is not None:
            await self._streams.handle(message)

    async def _probe(self, request: pb.ProbeRequest) -> None:
        result = await probe_once(request, self._driver, self._run_of, self._manifest.pod_ip)
        await self._session.send(pb.GuestMessage(probe_result=result))

    async def _hook(self, wanted: pb.RunHook) -> None:
        await self._session.send(pb.GuestMessage(hook_result=await run_hook(wanted)))

    async def _apply_keys(self, wanted: pb.SshKeys) -> None:
        async with self._keys:
            applied = await in_thread(apply_keys, wanted)
        await self._session.send(pb.GuestMessage(keys_applied=applied))

    async def _send_metrics(self, period: float) -> None:
        while True:
            sample = await metrics.sample(self._driver, self._runs())
            await self._session.send(pb.GuestMessage(metrics=sample))
            await asyncio.sleep(period)

    async def _send_info(self) -> None:
        while True:
            await asyncio.sleep(INFO_SECONDS)
            info = await in_thread(guest_info)
            if _lasting(info) != _lasting(self._told):
                self._told = info
                await self._session.send(pb.GuestMessage(info=info))

    def _apart(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._running.start(self._quietly(work), name)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        """One request that goes wrong is said, and must not end the agent."""
        try:
            await work
        except ConnectionError:
            pass  # whom the answer is for is gone
        except Exception:
            log.exception("a request of the bridge's failed")


def _lasting(info: pb.GuestInfo) -> bytes:
    """What of it does not change by itself all the time."""
    lasting = pb.GuestInfo()
    lasting.CopyFrom(info)
    for filesystem in lasting.filesystems:
        filesystem.ClearField("used_bytes")
        filesystem.ClearField("inodes_used")
    return lasting.SerializeToString()
