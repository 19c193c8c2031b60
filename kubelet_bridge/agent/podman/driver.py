"""The ``Driver`` that runs containers by podman. They share the machine's network, names and memory segments."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from kubelet_bridge.agent import tasks
from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.driver import Driver, Exit, Process, Run, RunError
from kubelet_bridge.agent.podman import cgroups, ending, found, references
from kubelet_bridge.agent.podman.client import ApiError
from kubelet_bridge.agent.podman.files import Files
from kubelet_bridge.agent.podman.images import Images
from kubelet_bridge.agent.podman.service import Service
from kubelet_bridge.agent.podman.sessions import Sessions
from kubelet_bridge.agent.podman.spec import LABEL, container_name, labels, spec
from kubelet_bridge.agent.threads import in_thread
from kubelet_bridge.agent.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

_SETTLE_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_NEVER_STARTED = {"created", "configured", "initialized"}


class PodmanDriver:
    """Implements ``Driver``; ``host`` runs what is to run on the guest's own system."""

    def __init__(self, paths: Paths, host: Driver, *, service: Service | None = None) -> None:
        """Nothing happens yet."""
        self._service = service or Service(paths.run / "podman")
        self._client = self._service.client
        self._images = Images(self._service)
        self._files = Files(paths)
        self._sessions = Sessions(self._client)
        self._host = host

    async def prepare(self, manifest: pb.PodManifest) -> None:
        """As in ``Driver``."""
        volumes = asyncio.get_running_loop().run_in_executor(None, self._files.prepare, manifest)
        try:
            await self._service.ensure()
            await self._images.prepare(manifest)
        finally:
            await volumes

    async def runs(self) -> list[Run]:
        """As in ``Driver``. A container that was made and never started is no run."""
        await self._service.ensure()
        try:
            return await self._known()
        except (ApiError, OSError) as error:
            raise RunError("RuntimeError", f"podman does not tell its containers: {error}") from error

    async def _known(self) -> list[Run]:
        query = {"all": "true", "filters": f'{{"label":["{LABEL}pod-uid"]}}'}
        listed = await self._client.call("GET", "/containers/json", query) or []
        known = []
        for one in listed:
            inspected = await self._inspect(str(one["Id"]))
            if inspected is not None and inspected["State"]["Status"] not in _NEVER_STARTED:
                known.append(found.run(inspected, exit=await self._over(inspected)))
        return known

    async def image(
        self, manifest: pb.PodManifest, container: pb.Container, pulling: Callable[[], None]
    ) -> tuple[str, bool]:
        """As in ``Driver``."""
        del manifest
        await self._service.ensure()
        return await self._images.available(container, pulling)

    async def start(self, manifest: pb.PodManifest, container: pb.Container, attempt: int, image_id: str) -> Run:
        """As in ``Driver``. A run that exists already is returned as it is."""
        name = container_name(container.name, attempt, manifest.boot)
        existing = None
        try:
            request = await self._request(manifest, container, name, attempt, image_id)
            try:
                created = await self._create(request)
            except ApiError as error:
                existing = await self._inspect(name)
                if existing is None:
                    raise RunError("CreateContainerError", error.message) from error
                if existing["State"]["Status"] not in _NEVER_STARTED:
                    return found.run(existing, exit=await self._over(existing))
                await self._delete(name)  # an agent before us has got no further
                created = await self._create(request)
        except ApiError as error:
            raise RunError("CreateContainerError", error.message) from error
        except OSError as error:
            raise RunError("CreateContainerError", f"podman does not answer: {error}") from error
        return await self._start(created)

    async def wait(self, run: Run) -> Exit:
        """As in ``Driver``."""
        while True:
            inspected = await self._patiently(run.id)
            if inspected is None:
                return Exit(found.LOST_CODE, 0, False, run.started_at, time.time_ns(), "The container was removed")
            over = await self._over(inspected)
            if over is not None:
                return over
            await ending.process_ended(int(inspected["State"]["Pid"]), run.id)
            await asyncio.sleep(_SETTLE_SECONDS)  # conmon writes down the code after the process is gone

    async def stop(self, run: Run, signal: str, grace: float) -> None:
        """As in ``Driver``. Without a signal it is the one that the container was made with."""
        ended = tasks.start(self.wait(run), f"end of {run.container}")
        try:
            if grace > 0:
                await self._signal(run, signal or await self._stop_signal(run))
                await asyncio.wait({ended}, timeout=grace)
            if not ended.done():
                await self._signal(run, "SIGKILL")
            await ended
        finally:
            await tasks.end([ended])

    async def remove(self, run: Run) -> None:
        """As in ``Driver``."""
        name = container_name(run.container, run.attempt, run.boot)
        await self._delete(run.id)
        await in_thread(cgroups.forget, name)
        await in_thread(self._files.forget, name)

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
        """As in ``Driver``."""
        if run is None:
            return await self._host.exec(None, command, stdin=stdin, tty=tty, size=size, env=env)
        return await self._sessions.exec(run, command, stdin=stdin, tty=tty, size=size, env=env)

    async def attach(self, run: Run, *, stdin: bool, tty: bool) -> Process:
        """As in ``Driver``."""
        return await self._sessions.attach(run, stdin=stdin, tty=tty)

    async def usage(self, run: Run) -> pb.ContainerUsage:
        """As in ``Driver``; the writable layer is not counted, for that takes podman long."""
        name = container_name(run.container, run.attempt, run.boot)
        used = await in_thread(cgroups.usage, name)
        logged = await in_thread(_size, run.log_path)
        return pb.ContainerUsage(name=run.container, started_at=run.started_at, usage=used, log_bytes=logged)

    async def close(self) -> None:
        """As in ``Driver``: podman's service stays for the next agent."""

    async def _request(
        self, manifest: pb.PodManifest, container: pb.Container, name: str, attempt: int, image_id: str
    ) -> dict[str, Any]:
        places = await in_thread(self._files.places, container, attempt, name)
        target = await self._target(container.target) if container.target else ""
        return spec(
            manifest,
            container,
            name,
            references.full_name(container.image),
            str(self._images.config(container.image).get("User") or ""),
            places,
            labels(manifest, container, attempt, image_id, places.log),
            target,
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        )

    async def _create(self, request: dict[str, Any]) -> str:
        made = await self._client.call("POST", "/containers/create", body=request)
        return str(made["Id"])

    async def _start(self, created: str) -> Run:
        try:
            await self._client.call("POST", f"/containers/{created}/start")
        except ApiError as error:
            await self._delete(created)
            raise RunError("RunContainerError", error.message) from error
        except OSError as error:
            raise RunError("CreateContainerError", f"podman does not answer: {error}") from error
        inspected = await self._inspect(created)
        if inspected is None:
            raise RunError("CreateContainerError", "the container was removed while it was started")
        return found.run(inspected)

    async def _target(self, name: str) -> str:
        """Podman's name of a container that runs now, for one that is to see its processes."""
        runs = [run for run in await self.runs() if run.container == name and run.exit is None]
        if not runs:
            raise RunError("CreateContainerError", f'target container "{name}" does not run')
        return runs[-1].id

    async def _inspect(self, container: str) -> Any:
        """What podman knows of it; None when there is no such container."""
        try:
            return await self._client.call("GET", f"/containers/{container}/json")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def _patiently(self, container: str) -> Any:
        """Inspect it, however long podman's service takes to answer."""
        while True:
            try:
                return await self._inspect(container)
            except (ApiError, OSError) as error:
                log.warning("podman does not answer, asking again: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
            try:
                await self._service.ensure()
            except RunError as error:
                log.warning("%s", error)

    async def _over(self, inspected: Any) -> Exit | None:
        state, name = inspected["State"], str(inspected["Name"])
        if state["Status"] in found.RUNNING:
            return None
        message = await in_thread(self._files.message, name)
        oom = await in_thread(cgroups.oom_killed, name)
        return found.over(state, message=message, oom_killed=oom, now=time.time_ns())

    async def _stop_signal(self, run: Run) -> str:
        inspected = await self._patiently(run.id)
        number = 15 if inspected is None else int(inspected["Config"].get("StopSignal") or 15)
        return str(number)

    async def _signal(self, run: Run, name: str) -> None:
        try:
            await self._client.call("POST", f"/containers/{run.id}/kill", {"signal": name})
        except ApiError as error:
            if error.status not in {404, 409}:  # it is gone, or does not run any more
                log.warning("cannot signal %s: %s", run.container, error.message)
        except OSError as error:
            log.warning("cannot signal %s: %s", run.container, error)

    async def _delete(self, container: str) -> None:
        try:
            await self._client.call("DELETE", f"/containers/{container}", {"force": "true", "v": "true"})
        except (ApiError, OSError) as error:
            if getattr(error, "status", 0) != 404:
                log.warning("cannot remove a container: %s", error)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
