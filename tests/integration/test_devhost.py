"""The dev host against the real API server, scheduler, virt-api and virt-controller: as a KubeVirt node to them."""

import ipaddress
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest

from kubelet_bridge.devcluster.devhost.addresses import host_index, share
from kubelet_bridge.devcluster.devhost.faults import Fault, FaultKind
from kubelet_bridge.devcluster.devhost.scripted import Timings
from kubelet_bridge.errors import ApiError, Conflict, NotFound
from kubelet_bridge.kube.client import PatchType
from kubelet_bridge.model.resources import (
    LEASES,
    NODES,
    PODS,
    VIRTUALMACHINEINSTANCEMIGRATIONS,
    VIRTUALMACHINEINSTANCES,
    VIRTUALMACHINES,
    VMI_SUBRESOURCES,
)
from tests.support.bridge import Json, condition, decoded, eventually
from tests.support.devhost import NODE, OTHER, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture
async def hosted(site: Site) -> AsyncIterator[Site]:
    """A site with one host, without any delay."""
    async with site.host():
        yield site
        await site.clear()


async def test_a_vm_lives_and_goes(hosted: Site) -> None:
    name = await hosted.vm()
    vmi = await hosted.ready(name)
    (pod,) = await hosted.launchers(name)
    address = pod["status"]["podIP"]
    assert ipaddress.ip_address(address) in share(hosted.cluster.state.pod_cidr, host_index(NODE))
    assert (vmi["status"]["nodeName"], vmi["status"]["interfaces"][0]["ipAddress"]) == (NODE, address)
    assert all(condition(vmi, kind) == "True" for kind in ("LiveMigratable", "AgentConnected"))
    phases = [entry["phase"] for entry in vmi["status"]["phaseTransitionTimestamps"]]
    assert phases == ["Pending", "Scheduling", "Scheduled", "Running"]
    await hosted.client.delete(VIRTUALMACHINES, hosted.namespace, name)
    await hosted.clear()
    assert await hosted.get(VIRTUALMACHINEINSTANCES, name) is None


async def test_delays_show(site: Site) -> None:
    """Nothing is skipped on the way: each step can be seen."""
    timings = Timings(start=0.5, boot=0.5)
    async with site.host(pull_seconds=0.5, timings=timings):
        name = await site.vm()
        vmi = await site.phase(name, "Scheduling")
        pod = await eventually(lambda: _pod_with_status(site, name), "a launcher seen by the kubelet", every=0.02)
        waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
        assert (pod["status"]["phase"], waiting) == ("Pending", "PodInitializing")
        await site.phase(name, "Scheduled")
        vmi = await site.phase(name, "Running")
        assert condition(vmi, "AgentConnected") is None
        await site.vmi(name, lambda vmi: condition(vmi, "AgentConnected") == "True", "with an agent")
        await site.clear()


async def _pod_with_status(site: Site, name: str) -> Json | None:
    pods = await site.launchers(name)
    return next((pod for pod in pods if pod["status"].get("containerStatuses")), None)


async def test_a_readiness_probe_waits_for_the_guest(site: Site) -> None:
    async with site.host(timings=Timings(boot=1.0)):
        name = await site.vm(readinessProbe={"tcpSocket": {"port": 80}})
        await site.vmi(name, lambda vmi: vmi["status"]["phase"] == "Running" and condition(vmi, "Ready"), "running")
        vmi = await site.phase(name, "Running")
        assert condition(vmi, "Ready") == "False"
        await site.ready(name)
        await site.clear()


async def test_the_console_is_a_session_with_the_guest(hosted: Site) -> None:
    name = await hosted.vm(run="Once")
    await hosted.ready(name)
    async with hosted.stream(name, "console") as console:
        assert console.protocol == "plain.kubevirt.io"
        for line in ("root\r", "x\r", "echo hello there\r"):
            await console.send_bytes(line.encode())
        await _hear(console, b"hello there\r\n")
        async with hosted.stream(name, "console") as second:
            await second.send_bytes(b"hostname\r")
            await _hear(second, name.encode())
            assert (await console.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
            await second.send_bytes(b"poweroff\r")
            vmi = await hosted.phase(name, "Succeeded")
    assert vmi["status"]["phaseTransitionTimestamps"][-1]["phase"] == "Succeeded"
    pod = await eventually(lambda: _ended(hosted, name), "the launcher's end")
    assert pod["status"]["phase"] == "Succeeded"


async def _hear(socket: aiohttp.ClientWebSocketResponse, wanted: bytes) -> None:
    heard = b""
    while wanted not in heard:
        message = await socket.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.BINARY, (message, heard)
        heard += message.data


async def _ended(site: Site, name: str) -> Json | None:
    pods = await site.launchers(name)
    return next((pod for pod in pods if pod["status"]["phase"] in ("Succeeded", "Failed")), None)


async def test_a_screen_answers(hosted: Site) -> None:
    name = await hosted.vm()
    await hosted.ready(name)
    async with hosted.stream(name, "vnc") as screen:
        await _hear(screen, b"RFB 003.008\n")
        await screen.send_bytes(b"RFB 003.008\n")
        await _hear(screen, b"\x01\x01")


async def test_pause_freeze_and_questions(hosted: Site) -> None:
    name = await hosted.vm()
    await hosted.ready(name)
    await hosted.act(name, "pause")
    await hosted.vmi(name, lambda vmi: condition(vmi, "Paused") == "True", "paused")
    await hosted.vmi(name, lambda vmi: condition(vmi, "Ready") == "False", "not ready")
    with pytest.raises(Conflict, match="already paused"):
        await hosted.act(name, "pause")
    await hosted.act(name, "unpause")
    await hosted.ready(name)
    with pytest.raises(ApiError, match="is no duration"):
        await hosted.act(name, "freeze", b'{"unfreezeTimeout": "soon"}')
    await hosted.act(name, "freeze", b'{"unfreezeTimeout": "1h"}')
    await hosted.vmi(name, lambda vmi: vmi["status"].get("fsFreezeStatus") == "frozen", "frozen")
    await hosted.act(name, "unfreeze")
    await hosted.vmi(name, lambda vmi: "fsFreezeStatus" not in vmi["status"], "thawed")
    await hosted.act(name, "softreboot")
    await hosted.act(name, "reset")
    answers = {}
    for question in ("guestosinfo", "userlist", "filesystemlist"):
        path = VMI_SUBRESOURCES.path(hosted.namespace, name, question)
        answers[question] = decoded(await hosted.client.request("GET", path))
    assert answers["guestosinfo"]["hostname"] == name
    assert answers["userlist"]["items"] == []
    assert answers["filesystemlist"]["items"][0]["mountPoint"] == "/"


async def test_started_paused(hosted: Site) -> None:
    name = await hosted.vm(startStrategy="Paused")
    await hosted.vmi(name, lambda vmi: condition(vmi, "Paused") == "True", "paused")
    await hosted.act(name, "unpause")
    await hosted.ready(name)


@pytest.mark.parametrize(("image", "phase"), [("crash-after-0.3", "Failed"), ("shutdown-after-0.3", "Succeeded")])
async def test_an_image_that_ends_its_guest(hosted: Site, image: str, phase: str) -> None:
    once = await hosted.vm(f"fault.test/{image}:1", run="Once")
    again = await hosted.vm(f"fault.test/{image}:1", run="Always")
    first = (await hosted.phase(again, "Running"))["metadata"]["uid"]
    await hosted.phase(once, phase)
    await hosted.vmi(again, lambda vmi: vmi["metadata"]["uid"] != first, "started again")
    await hosted.printable(once, "Stopped")


async def test_rerun_on_failure_is_not_rerun_on_success(hosted: Site) -> None:
    crashing = await hosted.vm("fault.test/crash-after-0.3", run="RerunOnFailure")
    stopping = await hosted.vm("fault.test/shutdown-after-0.3", run="RerunOnFailure")
    first = (await hosted.phase(crashing, "Running"))["metadata"]["uid"]
    await hosted.vmi(crashing, lambda vmi: vmi["metadata"]["uid"] != first, "started again")
    await hosted.printable(stopping, "Stopped")


async def test_an_image_that_cannot_be_pulled(hosted: Site) -> None:
    rule = Fault(FaultKind.PULL_ERROR, f"{hosted.namespace}/*", id="pull")
    await hosted.faults(lambda client: client.set(rule))
    assert await hosted.faults(lambda client: client.list()) == [rule]
    name = await hosted.vm()
    await hosted.printable(name, "ErrImagePull")
    await hosted.printable(name, "ImagePullBackOff")
    assert await hosted.faults(lambda client: client.clear("pull")) == 1
    await hosted.ready(name)


async def test_never_ready_and_then_ready(hosted: Site) -> None:
    await hosted.faults(lambda client: client.set(Fault(FaultKind.NEVER_READY, id="nr")))
    name = await hosted.vm()
    vmi = await hosted.vmi(
        name, lambda vmi: vmi["status"]["phase"] == "Running" and condition(vmi, "Ready") == "False", "running, unready"
    )
    assert vmi["status"]["nodeName"] == NODE
    (pod,) = await hosted.launchers(name)
    assert [one["ready"] for one in pod["status"]["containerStatuses"]] == [False]
    await hosted.faults(lambda client: client.clear())
    await hosted.ready(name)


async def test_a_crash_on_demand_happens_once(hosted: Site) -> None:
    name = await hosted.vm()
    first = (await hosted.ready(name))["metadata"]["uid"]
    await hosted.faults(lambda client: client.set(Fault(FaultKind.CRASH, f"*/{name}", once=True, id="c")))
    await hosted.vmi(
        name, lambda vmi: vmi["metadata"]["uid"] != first and condition(vmi, "Ready") == "True", "running again"
    )
    assert await hosted.faults(lambda client: client.list()) == []


async def test_a_cordoned_host_takes_nothing(hosted: Site) -> None:
    await hosted.faults(lambda client: client.set(Fault(FaultKind.UNSCHEDULABLE, id="u")))
    assert decoded(await hosted.client.get(NODES, None, NODE))["spec"]["unschedulable"]
    name = await hosted.vm()
    await hosted.printable(name, "ErrorUnschedulable")
    await hosted.faults(lambda client: client.clear())
    await hosted.ready(name)


async def test_a_guest_that_hangs_is_switched_off(hosted: Site) -> None:
    name = await hosted.vm("fault.test/hang", run="Once", grace=1)
    await hosted.ready(name)
    await hosted.client.delete(VIRTUALMACHINES, hosted.namespace, name)
    vmi = await hosted.vmi(name, lambda vmi: vmi["status"]["phase"] in ("Failed", "Succeeded"), "ended")
    assert vmi["status"]["phase"] == "Failed"
    await hosted.clear()


async def test_a_launcher_deleted_under_its_guest(hosted: Site) -> None:
    """Asked nicely the guest shuts down; a launcher that is gone by force has taken its guest along."""
    nicely, by_force = await hosted.vm(run="Once"), await hosted.vm(run="Once")
    for name, grace in ((nicely, None), (by_force, 0)):
        await hosted.ready(name)
        (pod,) = await hosted.launchers(name)
        await hosted.client.delete(PODS, hosted.namespace, pod["metadata"]["name"], grace_seconds=grace)
    await hosted.phase(nicely, "Succeeded")
    await hosted.phase(by_force, "Failed")


async def test_a_restart_of_the_host_is_not_one_of_its_guests(site: Site) -> None:
    async with site.host():
        name = await site.vm()
        uid = (await site.ready(name))["metadata"]["uid"]
        await site.act(name, "pause")
        before = await site.vmi(name, lambda vmi: condition(vmi, "Paused") == "True", "paused")
        (pod,) = await site.launchers(name)
    async with site.host():
        second = await site.vm()
        await site.ready(second)
        after = await site.get(VIRTUALMACHINEINSTANCES, name)
        assert after is not None
        assert (after["metadata"]["uid"], condition(after, "Paused")) == (uid, "True")
        assert after["status"]["interfaces"] == before["status"]["interfaces"]
        assert [one["metadata"]["uid"] for one in await site.launchers(name)] == [pod["metadata"]["uid"]]
        (other,) = await site.launchers(second)
        assert other["status"]["podIP"] != pod["status"]["podIP"]
        await site.act(name, "unpause")
        await site.ready(name)
        await site.clear()


async def test_what_was_deleted_while_the_host_was_away(site: Site) -> None:
    async with site.host():
        name = await site.vm()
        await site.ready(name)
    await site.client.delete(VIRTUALMACHINES, site.namespace, name)
    await site.vmi(name, lambda vmi: "deletionTimestamp" in vmi["metadata"], "being deleted")
    async with site.host():
        await site.clear()
    assert await site.get(VIRTUALMACHINES, name) is None


async def test_any_other_pod_runs_too(hosted: Site) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain"},
        "spec": {"nodeName": NODE, "containers": [{"name": "app", "image": "nginx"}],
                 "initContainers": [{"name": "first", "image": "busybox"}]},
    }  # fmt: skip
    await hosted.client.create(PODS, hosted.namespace, pod)

    async def ready() -> Json | None:
        found = await hosted.get(PODS, "plain")
        return found if found and condition(found, "Ready") == "True" else None

    found = await eventually(ready, "the Pod ready", every=0.05)
    assert found["status"]["phase"] == "Running"
    assert found["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    await hosted.client.delete(PODS, hosted.namespace, "plain")

    async def gone() -> bool:
        return await hosted.get(PODS, "plain") is None

    await eventually(gone, "the Pod gone", every=0.05)


async def test_the_node_is_kept_alive_and_comes_back(hosted: Site) -> None:
    node = decoded(await hosted.client.get(NODES, None, NODE))
    assert node["metadata"]["labels"]["kubevirt.io/schedulable"] == "true"
    assert node["status"]["allocatable"]["devices.kubevirt.io/kvm"] == "2500"
    lease = decoded(await hosted.client.get(LEASES, "kube-node-lease", NODE))
    assert (lease["spec"]["holderIdentity"], lease["metadata"]["ownerReferences"][0]["uid"]) == (
        NODE, node["metadata"]["uid"],
    )  # fmt: skip
    await hosted.client.delete(NODES, None, NODE)

    async def back() -> bool:
        try:
            found = decoded(await hosted.client.get(NODES, None, NODE))
        except NotFound:
            return False
        return bool(found["metadata"]["uid"] != node["metadata"]["uid"])

    await eventually(back, "the node registered again")


async def _migrate(site: Site, name: str) -> str:
    body = {
        "apiVersion": VIRTUALMACHINEINSTANCEMIGRATIONS.api_version, "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": f"{name}-move"}, "spec": {"vmiName": name},
    }  # fmt: skip
    await site.client.create(VIRTUALMACHINEINSTANCEMIGRATIONS, site.namespace, body)
    return f"{name}-move"


async def _migrated(site: Site, name: str, phase: str) -> Json:
    async def check() -> Json | None:
        found = await site.get(VIRTUALMACHINEINSTANCEMIGRATIONS, name)
        return found if found and found.get("status", {}).get("phase") == phase else None

    found: Json = await eventually(check, f"migration {phase}", every=0.05)
    return found


async def test_a_guest_moves_and_back(site: Site) -> None:
    # Of two launchers on a node KubeVirt takes the younger, and creation times are whole seconds (CurrentVMIPod).
    timings = Timings(migrate=1.2)
    async with site.host(timings=timings), site.host(node=OTHER, timings=timings):
        name = await site.vm()
        before = await site.ready(name)
        source = before["status"]["nodeName"]
        await _migrated(site, await _migrate(site, name), "Succeeded")
        after = await site.vmi(name, lambda vmi: vmi["status"]["nodeName"] != source, "elsewhere")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["status"]["interfaces"][0]["ipAddress"] != before["status"]["interfaces"][0]["ipAddress"]
        assert "kubevirt.io/migrationTargetNodeName" not in after["metadata"]["labels"]
        left = await eventually(lambda: _ended(site, name), "the end of the launcher it left")
        assert (left["spec"]["nodeName"], left["status"]["phase"]) == (source, "Succeeded")
        await site.client.delete(VIRTUALMACHINEINSTANCEMIGRATIONS, site.namespace, f"{name}-move")
        await eventually(lambda: _no_migration(site, name), "the migration object gone")
        await _migrated(site, await _migrate(site, name), "Succeeded")
        await site.vmi(name, lambda vmi: vmi["status"]["nodeName"] == source, "back")
        await site.ready(name)
        await site.clear()


async def _no_migration(site: Site, name: str) -> bool:
    return await site.get(VIRTUALMACHINEINSTANCEMIGRATIONS, f"{name}-move") is None


async def test_a_migration_called_off(site: Site) -> None:
    timings = Timings(migrate=60)
    async with site.host(timings=timings), site.host(node=OTHER, timings=timings):
        name = await site.vm()
        before = await site.ready(name)
        move = await _migrate(site, name)
        await _migrated(site, move, "Running")
        await site.client.delete(VIRTUALMACHINEINSTANCEMIGRATIONS, site.namespace, move)
        after = await site.vmi(name, lambda vmi: vmi["status"]["migrationState"].get("failed"), "called off")
        assert after["status"]["migrationState"]["abortStatus"] == "Succeeded"
        assert after["status"]["nodeName"] == before["status"]["nodeName"]
        await eventually(lambda: _ended(site, name), "the end of the target launcher")
        await site.ready(name)
        await site.clear()


async def test_a_live_resize_goes_all_the_way(site: Site) -> None:
    timings = Timings(migrate=0.1)
    async with site.host(timings=timings), site.host(node=OTHER, timings=timings):
        name = await site.vm()
        uid = (await site.ready(name))["metadata"]["uid"]
        domain = {"cpu": {"sockets": 2}, "memory": {"guest": "2Gi"}}
        body = {"spec": {"template": {"spec": {"domain": domain}}}}
        await site.client.patch(VIRTUALMACHINES, site.namespace, name, body, kind=PatchType.MERGE)

        def resized(vmi: Json) -> bool:
            status = vmi["status"]
            return bool(status["currentCPUTopology"]["sockets"] == 2 and status["memory"]["guestCurrent"] == "2Gi")

        vmi = await site.vmi(name, resized, "resized")
        assert vmi["metadata"]["uid"] == uid
        assert condition(vmi, "HotVCPUChange") is None
        assert condition(vmi, "HotMemoryChange") is None
        await site.clear()


async def test_only_virt_api_may_ask_the_handler(hosted: Site) -> None:
    """A certificate is asked for, and another name signed by the same authority will not do."""
    name = await hosted.vm()
    await hosted.ready(name)
    handler = decoded(await hosted.client.get(PODS, "kubevirt", f"virt-handler-{NODE}"))
    url = f"https://{handler['status']['podIP']}:{hosted.cluster.state.ports.virt_handler}/healthz"
    context = ssl.create_default_context(cafile=str(hosted.cluster.layout.certificate("kubevirt-ca")))
    context.check_hostname = False
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(url, ssl=context)
        for certificate, status in (("virt-handler-server", 403), ("virt-handler-client", 200)):
            layout = hosted.cluster.layout
            context.load_cert_chain(layout.certificate(certificate), layout.key(certificate))
            async with http.get(url, ssl=context, headers={"Connection": "close"}) as response:
                assert response.status == status


async def test_many_at_once(hosted: Site) -> None:
    names = [await hosted.vm() for _ in range(20)]
    vmis = [await hosted.ready(name) for name in names]
    addresses = {vmi["status"]["interfaces"][0]["ipAddress"] for vmi in vmis}
    assert len(addresses) == len(names)
