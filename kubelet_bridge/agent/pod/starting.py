"""Bringing one container to life: its image, its start, its postStart hook, and the waiting reasons on the way."""

from __future__ import annotations

import enum

from kubelet_bridge.agent.driver import Run, RunError
from kubelet_bridge.agent.pod import backoff, words
from kubelet_bridge.agent.pod.policy import Member
from kubelet_bridge.agent.pod.ports import HookFailed
from kubelet_bridge.agent.pod.record import stillborn
from kubelet_bridge.agent.pod.state import State

# How long a kubelet waits before it looks again at a Pod that it could not bring up (pod_workers: backOffPeriod).
RETRY_SECONDS = 10.0
# For so long a failed pull is shown as what it is, before it is shown as being waited for.
ERROR_SHOWN_SECONDS = 3.0


class Phase(enum.Enum):
    """How far a start has come; only ``STARTING`` must not be interrupted, for it has to end as a run or as none."""

    IMAGE = "image"
    STARTING = "starting"
    HOOK = "hook"


class Starter:
    """Starts containers; tells what it does and records what comes of it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._phases: dict[str, Phase] = {}
        self._pull_delays: dict[str, float] = {}

    def interruptible(self, name: str) -> bool:
        """Whether the task that starts this container may be cancelled now."""
        return self._phases.get(name) is not Phase.STARTING

    async def start(self, member: Member, attempt: int) -> Run | None:
        """Pull and start; None when that failed, with the reason recorded and the next try held back."""
        name = member.container.name
        try:
            self._phases[name] = Phase.IMAGE
            image_id = await self._image(member)
            if image_id is None:
                return None
            self._phases[name] = Phase.STARTING
            return await self._run(member, attempt, image_id)
        finally:
            self._phases.pop(name, None)

    async def post_start(self, member: Member, run: Run) -> bool:
        """Run the hook, if there is one; whether the container may live on."""
        name, container = member.container.name, member.container
        if container.HasField("post_start"):
            self._phases[name] = Phase.HOOK
            try:
                await self._state.parts.hooks.run(self._state.manifest, container, run, container.post_start)
            except HookFailed as error:
                self._state.tell(member, "FailedPostStartHook", f"PostStartHook failed: {error}", warning=True)
                self._state.hold(name, 0, "PostStartHookError", f"PostStartHook failed: {error}")
                return False
            finally:
                self._phases.pop(name, None)
        record = self._state.memory.of(name)
        if record.run == run.id and record.running:
            started = not container.HasField("startup")
            ready = not container.HasField("readiness")
            self._state.record(name, record._replace(hooked=True, started=started, ready=ready))
        return True

    async def _image(self, member: Member) -> str | None:
        state, image = self._state, member.container.image
        begun = state.time.now()

        def pulling() -> None:
            state.tell(member, "Pulling", words.pulling(image))

        try:
            image_id, pulled = await state.parts.driver.image(state.manifest, member.container, pulling)
        except RunError as error:
            await self._no_image(member, error)
            return None
        self._pull_delays.pop(image, None)
        if pulled:
            state.tell(member, "Pulled", words.pulled(image, (state.time.now() - begun) / backoff.SECOND))
        elif image:
            state.tell(member, "Pulled", words.present(image))
        return image_id

    async def _no_image(self, member: Member, error: RunError) -> None:
        state, name, image = self._state, member.container.name, member.container.image
        if error.reason != "ErrImagePull":
            kind = "InspectFailed" if error.reason == "InvalidImageName" else error.reason
            state.tell(member, kind, error.message, warning=True)
            state.tell(member, "Failed", f"Error: {error.reason}", warning=True)
            state.hold(name, RETRY_SECONDS, error.reason, error.message)
            return
        delay = self._pull_delays[image] = backoff.longer(self._pull_delays.get(image, 0.0))
        state.tell(member, "Failed", words.pull_failed(image, error.message), warning=True)
        state.tell(member, "Failed", "Error: ErrImagePull", warning=True)
        state.hold(name, delay, "ErrImagePull", error.message)
        await state.time.sleep(ERROR_SHOWN_SECONDS)
        state.tell(member, "BackOff", words.pull_back_off(image))
        state.tell(member, "Failed", "Error: ImagePullBackOff", warning=True)
        why = f"{words.pull_back_off(image)}: ErrImagePull: {error.message}"
        state.wait_because(name, "ImagePullBackOff", why)

    async def _run(self, member: Member, attempt: int, image_id: str) -> Run | None:
        state, name = self._state, member.container.name
        try:
            run = await state.parts.driver.start(state.manifest, member.container, attempt, image_id)
        except RunError as error:
            if error.reason == "RunContainerError":
                state.tell(member, "Created", f"Created container: {name}")
                record = state.memory.of(name)
                image = member.container.image
                state.record(name, stillborn(record, attempt, image, error, state.time.now()))
            state.tell(member, "Failed", f"Error: {error.message}", warning=True)
            state.hold(name, RETRY_SECONDS, error.reason, error.message)
            return None
        state.tell(member, "Created", f"Created container: {name}")
        state.tell(member, "Started", f"Started container {name}")
        state.waiting.pop(name, None)
        state.holds.pop(name, None)
        return run
