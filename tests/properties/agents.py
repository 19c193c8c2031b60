"""Agents in the simulation's guests, and what the bridge knows of them: ``GuestPort`` without a network."""

from collections.abc import Iterable

import msgspec

from kubelet_bridge.model.guest import Guest, GuestContainer, GuestReport, GuestTermination
from kubelet_bridge.model.intent import Intent
from kubelet_bridge.model.meta import LABEL_POD_UID, PodKey
from tests.properties.simulation import Cluster, Crasher, Json


class Agents:
    """One per cluster: guests, and the bridge's table of them, outlive the bridge's process."""

    def __init__(self, cluster: Cluster, rows: dict[str, Intent]) -> None:
        self.cluster, self.rows = cluster, rows
        self.crasher = Crasher()
        self.guests: dict[str, Guest] = {}
        self.boots: dict[str, str] = {}
        self.shut: list[str] = []

    # What the bridge asks for.
    def get(self, uid: str) -> Guest | None:
        return self.guests.get(uid)

    def expect(self, key: PodKey, *, boot: str) -> None:
        self.guests.setdefault(key.uid, Guest())
        self.boots[key.uid] = boot

    def refresh(self, key: PodKey) -> None:
        assert key.uid in self.boots, "nobody is expected"

    def shut_down(self, uid: str, *, grace: int, reason: str) -> None:
        assert grace >= 0
        self.shut.append(uid)

    async def forget(self, uid: str) -> None:
        self.crasher.before()
        self.guests.pop(uid, None)
        self.boots.pop(uid, None)
        self.crasher.done()

    # What happens in the guests.
    def advance(self) -> None:
        """Each agent whose machine runs reports: new containers in a new boot, ends of those that were asked to end."""
        for vmi in self._running():
            uid = vmi["metadata"]["labels"][LABEL_POD_UID]
            boot, intent = vmi["metadata"]["uid"], self.rows.get(uid)
            if intent is None or self.boots.get(uid) != boot:
                continue
            report = self.guests[uid].report
            if report is None or report.boot != boot:
                self._report(uid, boot, _begun(boot, intent, self.containers(uid)))
            elif uid in self.shut:
                self._report(uid, boot, [_ended(one, 143) for one in report.containers])

    def exit(self, uid: str, code: int) -> None:
        """Every container ends; the Pod is over unless it is to be restarted."""
        report = self.guests[uid].report if uid in self.guests else None
        if report is None or not self._runs(uid):
            return
        policies = [pod["spec"]["restartPolicy"] for pod in self.cluster.pods.values() if _uid(pod) == uid]
        policy = policies[0] if policies else "Always"
        over = policy == "Never" or (policy == "OnFailure" and code == 0)
        ends = [_ended(one, code) for one in report.containers]
        self._report(uid, report.boot, ends if over else [_again(one) for one in ends], finished=over)

    def containers(self, uid: str) -> list[str]:
        pods = [pod for pod in self.cluster.pods.values() if _uid(pod) == uid]
        return [one["name"] for pod in pods for one in pod["spec"]["containers"]]

    def _report(self, uid: str, boot: str, containers: Iterable[GuestContainer], *, finished: bool = False) -> None:
        last = self.guests[uid].report
        number = last.number + 1 if last is not None else 1
        report = GuestReport(number=number, boot=boot, containers=list(containers), finished=finished)
        self.guests[uid] = Guest(connected=True, since=self.cluster.clock(), report=report)

    def _running(self) -> list[Json]:
        return [vmi for vmi in self.cluster.vmis.values() if vmi["status"]["phase"] == "Running"]

    def _runs(self, uid: str) -> bool:
        return any(vmi["metadata"]["labels"][LABEL_POD_UID] == uid for vmi in self._running())


def _begun(boot: str, intent: Intent, names: list[str]) -> list[GuestContainer]:
    return [
        GuestContainer(
            name, started_at=intent.accepted_at, ready=True, started=True, container_id=f"{name}-{boot}",
            restart_count=intent.carried[name].restarts if name in intent.carried else 0,
        )
        for name in names
    ]  # fmt: skip


def _ended(one: GuestContainer, code: int) -> GuestContainer:
    if one.termination is not None:
        return one
    end = GuestTermination(code, "Error" if code else "Completed", container_id=one.container_id)
    return msgspec.structs.replace(one, started_at=None, ready=False, started=False, termination=end)


def _again(one: GuestContainer) -> GuestContainer:
    return msgspec.structs.replace(
        one, restart_count=one.restart_count + 1, last_termination=one.termination, termination=None,
        waiting_reason="CrashLoopBackOff",
    )  # fmt: skip


def _uid(pod: Json) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid
