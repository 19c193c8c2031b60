"""Does the work of CDI's Pods on one host: one task for each, run again when it fails as its container would be."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from kubelet_bridge.devcluster.devhost.cdi import cloning, credentials, importer, progress, uploading, work
from kubelet_bridge.devcluster.devhost.cdi.lookups import Lookups
from kubelet_bridge.devcluster.devhost.cdi.run import Run, Step, backoff
from kubelet_bridge.devcluster.devhost.cdi.work import Clone, Import, Upload, Work
from kubelet_bridge.devcluster.devhost.faultbook import FaultBook
from kubelet_bridge.devcluster.devhost.storage.claimed import ClaimedImage, ClaimedImages
from kubelet_bridge.errors import BridgeError, Terminal, Transient
from kubelet_bridge.model.core import Pod

log = structlog.get_logger(__name__)

_FAILED_SECONDS = 1.0
"""How long a run that failed is shown as such, before it is waited with or run again."""

_CREATION_SECONDS = 0.5


class _Job(msgspec.Struct):
    task: asyncio.Task[None]
    run: Run


class Worker:
    """The Pods of CDI's on this host that have begun. ``changed`` is told the uid of a Pod that got further."""

    def __init__(
        self, images: ClaimedImages, lookups: Lookups, faults: FaultBook, tls: Callable[[], ssl.SSLContext],
        clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._images = images
        self._lookups = lookups
        self._faults = faults
        self._tls = tls
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._group: asyncio.TaskGroup | None = None
        self._subscribers: list[Callable[[str], None]] = []
        self._other_faults = asyncio.Event()
        faults.subscribe(self._faults_changed)

    def subscribe(self, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with the uid of a Pod whose run is at another step."""
        self._subscribers.append(changed)

    async def run(self) -> None:
        """Own the tasks, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await asyncio.Event().wait()

    def is_for(self, pod: Pod) -> bool:
        """Whether a Pod is one of those that are worked for here."""
        try:
            return work.of(pod) is not None
        except Terminal:
            return True

    def look(self, pod: Pod, address: str) -> Run:
        """How far a Pod is; its work begins with the first look. A restart of the host begins it again."""
        uid = pod.metadata.uid
        if (job := self._jobs.get(uid)) is None:
            if self._group is None:
                return Run()
            statuses = pod.status.container_statuses
            restarts = statuses[0].restart_count if statuses else 0
            step = Step.RUNNING if pod.status.phase == "Running" else Step.CREATING
            first = Run(step, restarts if isinstance(restarts, int) else 0, serving=step is not Step.RUNNING)
            task = self._group.create_task(self._work(pod, address), name=f"cdi-{pod.metadata.name}")
            job = self._jobs[uid] = _Job(task, first)
        return job.run

    def forget(self, uid: str) -> None:
        """The Pod has gone, or is over: end what still runs of it."""
        if (job := self._jobs.pop(uid, None)) is not None:
            job.task.cancel()

    async def _work(self, pod: Pod, address: str) -> None:
        uid = pod.metadata.uid
        tls = await asyncio.to_thread(self._tls)
        while True:
            try:
                message = await self._once(pod, address, tls)
            except BridgeError as error:
                await self._again(uid, error.message)
            except OSError as error:
                await self._again(uid, f"Unable to process data: {error}")
            else:
                self._set(uid, step=Step.DONE, message=message, ended=self._now(), progress=100.0)
                return

    async def _once(self, pod: Pod, address: str, tls: ssl.SSLContext) -> str:
        """One run of the container, once it can be created; the termination message of one that ended well."""
        uid, task = pod.metadata.uid, work.of(pod)
        if task is None:
            raise Terminal("not a Pod of CDI's")
        image = await self._prepared(task)
        self._set(uid, step=Step.RUNNING, serving=not isinstance(task, Upload))
        await self._misbehave(task, image)
        match task:
            case Import():
                return await self._import(uid, task, image, address, tls)
            case Upload():
                return await self._upload(uid, task, image, address)
            case Clone():
                return await self._clone(uid, task, image, address, tls)

    async def _import(self, uid: str, task: Import, image: ClaimedImage, address: str, tls: ssl.SSLContext) -> str:
        async with progress.served(address, tls, self._series(uid, progress.IMPORT, task.owner)):
            try:
                await importer.run(task, image, lambda percent: self._got_to(uid, percent))
            except importer.ChecksumMismatch as error:  # the importer ends without an error: it is not to be restarted
                return _message(f"Unable to process data: {error.message}")
            except (Terminal, Transient) as error:
                raise Transient(_unable(error.message), reason=error.reason) from error
        return _message(importer.COMPLETE, scratchSpaceRequired=False, preallocationApplied=False)

    async def _upload(self, uid: str, task: Upload, image: ClaimedImage, address: str) -> str:
        secret = await self._lookups.secret(task.namespace, task.secret)
        context = await asyncio.to_thread(credentials.server, secret)
        kind = await uploading.serve(task, image, address, context, listening=lambda: self._set(uid, serving=True))
        return _message(f"{kind} Complete", preallocationApplied=False)

    async def _clone(self, uid: str, task: Clone, image: ClaimedImage, address: str, tls: ssl.SSLContext) -> str:
        secret = await self._lookups.secret(task.namespace, task.secret)
        context = await asyncio.to_thread(credentials.client, secret, task.authority)
        target = await self._lookups.server_address(*cloning.service(task.url))
        async with progress.served(address, tls, self._series(uid, progress.CLONE, task.owner)):
            await cloning.send(task, image, target, context, lambda percent: self._got_to(uid, percent))
        return _message("Clone Complete")

    def _series(self, uid: str, metric: str, owner: str) -> Callable[[], str]:
        def render() -> str:
            job = self._jobs.get(uid)
            return progress.text(metric, owner, job.run.progress if job else 0.0)

        return render

    async def _prepared(self, task: Work) -> ClaimedImage:
        """What a kubelet waits for before it creates the container, without end: its volume, and its Secret.

        The Pod is pending meanwhile, as it must be: CDI makes the Secret of no Pod that is seen to run
        (pkg/controller/clone-controller.go, ensureCertSecret).
        """
        said = ""
        while True:
            try:
                return await self._needed(task)
            except BridgeError as error:
                if error.message != said:
                    log.info("container not created", claim=task.claim, namespace=task.namespace, error=error.message)
                    said = error.message
                await asyncio.sleep(_CREATION_SECONDS)

    async def _needed(self, task: Work) -> ClaimedImage:
        found = await self._images.find(task.namespace, task.claim)
        if found is None:
            raise Terminal(f"claim {task.claim} is on storage that no dev host has", reason="ForeignStorage")
        if not isinstance(task, Import):
            await self._lookups.secret(task.namespace, task.secret)
        return found

    async def _misbehave(self, task: Work, image: ClaimedImage) -> None:
        """What the faults set for the claim say."""
        effects = self._faults.effects(task.namespace, image.for_claim, ())
        if (fault := effects.import_error) is not None:
            await asyncio.sleep(fault.after)
            await self._faults.used(fault)
            raise Terminal("fault.test: the import fails", reason="Fault")
        while self._faults.effects(task.namespace, image.for_claim, ()).import_stall:
            await self._other_faults.wait()

    def _faults_changed(self) -> None:
        before, self._other_faults = self._other_faults, asyncio.Event()
        before.set()

    async def _again(self, uid: str, message: str) -> None:
        self._set(uid, step=Step.FAILED, message=message, ended=self._now())
        await asyncio.sleep(_FAILED_SECONDS)
        job = self._jobs.get(uid)
        restarts = job.run.restarts if job else 0
        if (wait := backoff(restarts)) > 0:
            self._set(uid, step=Step.BACKOFF)
            await asyncio.sleep(wait)
        self._set(uid, step=Step.RUNNING, serving=False, restarts=restarts + 1, progress=0.0)

    def _now(self) -> datetime:
        """In whole seconds, as the API server keeps it: what is reported must equal what was."""
        return self._clock().replace(microsecond=0)

    def _got_to(self, uid: str, percent: float) -> None:
        """Asked for when somebody looks; nobody is told."""
        if (job := self._jobs.get(uid)) is not None:
            job.run = msgspec.structs.replace(job.run, progress=percent)

    def _set(self, uid: str, **fields: object) -> None:
        if (job := self._jobs.get(uid)) is None:
            return
        job.run = msgspec.structs.replace(job.run, **fields)
        for changed in self._subscribers:
            changed(uid)


def _message(text: str, **fields: bool) -> str:
    """A termination message of CDI's (pkg/common, TerminationMessage)."""
    return msgspec.json.encode({**fields, "message": text}).decode()


def _unable(message: str) -> str:
    return message if message.startswith(("Unable", "Unknown")) else f"Unable to process data: {message}"
