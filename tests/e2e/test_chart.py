"""The chart on a real cluster: installed by helm, its Pod played with exactly what was rendered, used, and gone."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelet_bridge.devcluster import binaries
from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.devcluster.ports import free_port
from kubelet_bridge.devcluster.progress import Progress
from kubelet_bridge.errors import NotFound
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import NAMESPACES, NODES
from tests.support.bridge import condition, eventually
from tests.support.chart import CHART, RELEASE
from tests.support.kubectl import Kubectl
from tests.support.played import PlayedPod, needs_root
from tests.support.rights import requests

pytestmark = [pytest.mark.cluster, pytest.mark.helm, pytest.mark.timeout(300)]

Json = dict[str, Any]
NOT_OURS = "a Secret that kubelet-bridge did not make"
DRY = "--dry-run=server"
OUTAGE = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}


class Installed:
    """One release in a namespace of its own."""

    def __init__(self, cluster: DevCluster, client: Client, helm: Path, directory: Path) -> None:
        unique = uuid.uuid4().hex[:8]
        self.cluster, self._helm, self._directory = cluster, helm, directory
        self.namespace, self.node = f"kb-{unique}", f"chart-{unique}"
        self.kubectl = Kubectl(cluster, self.namespace)
        self.users = Kubectl(cluster, f"work-{unique}")
        self.runtime_class, self.storage_class = f"vm-{unique}", f"disk-{unique}"
        self.pod = PlayedPod(cluster, client, self.namespace, f"{RELEASE}-0", directory)
        self.trial = PlayedPod(cluster, client, self.namespace, f"{RELEASE}-test", directory)
        ports = [free_port() for _ in range(4)]
        address = cluster.state.node_address
        self.values: Json = {
            "node": {"name": self.node, "capacity": {"cpu": "100", "memory": "1Ti", "pods": 100}},
            "bridge": {"port": ports[0], "adminPort": ports[1], "listenAddress": address, "logType": "console"},
            "guests": {
                "port": ports[2], "filesPort": ports[3], "address": f"{address}:{ports[2]}",
                "filesAddress": f"{address}:{ports[3]}",
            },
            "runtime": {"image": ""}, "tls": {"approval": "automatic"},
            "csiDriver": {"create": False},  # the development cluster has it
            "storageClass": {"name": self.storage_class}, "runtimeClass": {"name": self.runtime_class},
            "rbac": {"namespaces": [self.users.namespace]},
            "nodeSelector": {"played": "by-a-test"},  # nobody else is to take the Pod
        }  # fmt: skip

    async def helm(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(self._helm), *arguments, "--namespace", self.namespace, env=self.kubectl.env,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert process.returncode == 0, f"helm {' '.join(arguments)}: {err.decode()}"
        return out.decode()

    async def upgrade(self, **more: Json) -> None:
        """Install, or upgrade to other values."""
        file = self._directory / "values.yaml"
        file.write_text(yaml.safe_dump(self.values | more))
        await self.helm("upgrade", "--install", RELEASE, str(CHART), "--values", str(file))
        await self.pod_made()

    async def pod_made(self) -> None:
        """The Pod to be played is that of the StatefulSet as it is now."""

        async def made() -> bool:
            found = await self.kubectl.json("get", "statefulset", RELEASE)
            code, out, _ = await self.kubectl.run("get", "pod", f"{RELEASE}-0", "-o", "json")
            seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
            return seen and not code and _revision(json.loads(out)) == found["status"]["updateRevision"]

        await eventually(made, "the StatefulSet's Pod")

    async def ready(self) -> None:
        async def check() -> bool:
            assert self.pod.alive, f"the bridge has ended: {self.pod.tail()}"
            code, out, _ = await self.kubectl.run("get", "node", self.node, "-o", "json")
            return code == 0 and condition(yaml.safe_load(out), "Ready") == "True"

        await eventually(check, lambda: f"node {self.node} Ready; {self.pod.tail()}")

    def manifest(self, name: str, **spec: Any) -> Json:
        """A Pod that opts in with one line."""
        return {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "runtimeClassName": self.runtime_class, "nodeSelector": {"kubernetes.io/hostname": self.node},
                "terminationGracePeriodSeconds": 1, **spec,
                "containers": [{
                    "name": "vm", "image": "example.test/disk:1", "env": [{"name": "A", "value": "b"}],
                    "resources": {"limits": {"cpu": "1", "memory": "128Mi"}},
                }],
            },
        }  # fmt: skip

    async def run_pod(self, name: str, **spec: Any) -> Json:
        """When it is Ready."""
        await self.users.apply(self.manifest(name, **spec))
        try:
            await self.users("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        except AssertionError as error:
            events = await self.users("get", "events")
            raise AssertionError(f"{error}\n{events}\n{self.pod.tail()}") from None
        found: Json = await self.users.json("get", "pod", name)
        return found

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{RELEASE}"


async def _has_account(kubectl: Kubectl) -> bool:
    return not (await kubectl.run("get", "serviceaccount", "default"))[0]


@pytest.fixture
async def installed(dev_cluster: DevCluster, admin: Client, tmp_path: Path) -> AsyncIterator[Installed]:
    needs_root()
    helm = await asyncio.to_thread(binaries.helm, Progress())
    one = Installed(dev_cluster, admin, helm, tmp_path)
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    await one.kubectl.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one.namespace, "labels": labels}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one.users.namespace}},
    )

    try:
        await eventually(lambda: _has_account(one.users), "the default ServiceAccount")
        await one.upgrade()
        yield one
    finally:
        await one.users.run("delete", "pod", "--all", "--timeout=30s")
        await one.trial.stop()
        await one.pod.stop()
        with contextlib.suppress(AssertionError):
            await one.helm("uninstall", RELEASE, "--ignore-not-found")
        for resource, name in ((NODES, one.node), (NAMESPACES, one.namespace), (NAMESPACES, one.users.namespace)):
            with contextlib.suppress(NotFound):
                await admin.delete(resource, None, name)


async def test_a_node_that_runs_pods_with_the_rights_it_has(installed: Installed) -> None:
    """Nothing is refused. That nothing is granted in vain, only all tests together tell: ``make rights-audit``."""
    await installed.pod.start()
    await installed.ready()
    pod = await installed.run_pod("web")
    assert pod["spec"]["nodeName"] == installed.node
    assert pod["spec"]["overhead"] == {"memory": "360Mi"}
    lasting = {one["key"]: one.get("tolerationSeconds") for one in pod["spec"]["tolerations"] if one["key"] in OUTAGE}
    assert lasting == dict.fromkeys(OUTAGE)
    assert await installed.kubectl("get", "--raw", f"/api/v1/nodes/{installed.node}/proxy/healthz") == "ok"

    await installed.users.apply({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}},
            "storageClassName": installed.storage_class,
        },
    })  # fmt: skip
    await installed.run_pod("disk", volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
    await installed.users("delete", "pod", "disk", "web", "--timeout=60s")
    await installed.users("delete", "pvc", "data", "--timeout=60s")
    await _signed(installed)

    seen = requests(installed.cluster.layout.audit_log, installed.user)
    assert [(one.right, one.why_not) for one in seen if one.why_not] == []
    needed = {("", "pods/status", "patch"), ("kubevirt.io", "virtualmachines", "create"), ("", "nodes/status", "patch")}
    assert needed <= {one.right[:3] for one in seen}


async def test_a_namespace_that_is_not_named_has_no_vms(installed: Installed) -> None:
    """``rbac.namespaces``: a Pod of another says what is forbidden, and ends as any other."""
    await installed.pod.start()
    await installed.ready()
    others = Kubectl(installed.cluster, f"{installed.users.namespace}-not")
    await others.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": others.namespace}})
    try:
        await eventually(lambda: _has_account(others), "the default ServiceAccount")
        await others.apply(installed.manifest("web"))

        async def told() -> bool:
            return "forbidden" in json.dumps((await others.json("get", "pod", "web"))["status"])

        await eventually(told, lambda: installed.pod.tail())
        assert await others("get", "vm,secret", "-o", "name") == ""
        await others("delete", "pod", "web", "--timeout=30s")
    finally:
        await others("delete", "namespace", others.namespace, "--wait=false")


async def _signed(installed: Installed) -> None:
    """The API server's signer has signed what the bridge has approved for itself."""

    async def issued() -> bool:
        found = await installed.kubectl.json("get", "certificatesigningrequests")
        ours = [one for one in found["items"] if one["spec"]["username"] == installed.user]
        return any(one.get("status", {}).get("certificate") for one in ours)

    await eventually(issued, lambda: f"a signed certificate; {installed.pod.tail()}")


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("delete", "pod", "other", "--wait=false", DRY), "a Pod of another node"),
        (("patch", "secret", "theirs", "--patch", '{"data": {"a": "Yg=="}}', DRY), NOT_OURS),
        (("create", "secret", "generic", "mine", DRY), NOT_OURS),
        (("create", "token", "default"), "a token that is bound to no Pod"),
        (("create", "-f", "-", DRY), "a Node of another name"),
    ],
)  # fmt: skip
async def test_the_guard(installed: Installed, verb: tuple[str, ...], said: str) -> None:
    """What RBAC lets the bridge's account do, and admission does not."""
    container = {"name": "a", "image": "a"}
    await installed.users.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": {"containers": [container]}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}, "data": {"a": "YQ=="}},
    )
    node = yaml.safe_dump({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "another"}})

    async def refused() -> bool:  # a policy counts a moment after it is there
        code, _, err = await installed.users.run(*verb, f"--as={installed.user}", stdin=node)
        return code != 0 and said in err

    await eventually(refused, said, seconds=30)


async def test_vms_outlive_upgrade_rollback_and_uninstall(installed: Installed) -> None:
    await installed.pod.start()
    await installed.ready()
    await installed.run_pod("web")
    before = await installed.users("get", "vm,vmi", "-o", "jsonpath={.items[*].metadata.uid}")
    assert len(before.split()) == 2

    for change in ("upgrade", "rollback"):
        if change == "upgrade":
            await installed.upgrade(terminationGracePeriodSeconds=20)
        else:
            await installed.helm("rollback", RELEASE, "1")
            await installed.pod_made()
        assert await installed.pod.stop() == 0
        await installed.pod.start()
        await installed.ready()
        assert await installed.users("get", "vm,vmi", "-o", "jsonpath={.items[*].metadata.uid}") == before

    assert await installed.pod.stop() == 0
    await installed.helm("uninstall", RELEASE)
    kinds = await installed.kubectl(
        "api-resources", "--namespaced=false", "--verbs=list", "-o", "name", "--cached=false"
    )
    left = await installed.kubectl(
        "get", ",".join(kinds.split()), "--selector", f"app.kubernetes.io/instance={RELEASE}", "-o", "name",
        "--ignore-not-found",
    )  # fmt: skip
    assert left == ""
    assert await installed.users("get", "vm,vmi", "-o", "jsonpath={.items[*].metadata.uid}") == before
    assert await installed.kubectl("get", "node", installed.node, "-o", "name") == f"node/{installed.node}\n"


@pytest.mark.parametrize("restricted", [False, True])
async def test_helm_test(installed: Installed, restricted: bool) -> None:
    """In a namespace that takes launchers as they are; in the release's, which takes those with a seccomp profile."""
    if not restricted:
        await installed.upgrade(test={"namespace": installed.users.namespace})
    await installed.pod.start()
    await installed.ready()
    async with (
        _launchers_with_seccomp(installed) if restricted else contextlib.nullcontext(),
        asyncio.TaskGroup() as group,
    ):
        said = group.create_task(installed.helm("test", RELEASE, "--timeout", "90s"))
        name = installed.trial.name

        async def made() -> bool:
            return not (await installed.kubectl.run("get", "pod", name))[0]

        await eventually(made, f"Pod {name}")
        await installed.trial.start()
        async with asyncio.timeout(60):
            assert await installed.trial.ended() == 0, installed.trial.tail() + installed.pod.tail()
        assert installed.trial.tail() == f"Ready on {installed.node}\n"
        status = json.dumps({"status": {"phase": "Succeeded"}})
        await installed.kubectl("patch", "pod", name, "--subresource=status", "--patch", status)
    assert "Phase:          Succeeded" in said.result()
    assert await installed.kubectl("get", "pod", name, "--ignore-not-found") == ""


@contextlib.asynccontextmanager
async def _launchers_with_seccomp(installed: Installed) -> AsyncIterator[None]:
    """What README.md says of namespaces with the restricted standard."""
    patch = ("patch", "kubevirt", "kubevirt", "-n", "kubevirt", "--type", "merge", "--patch")

    def profile(default: bool | None) -> str:
        inner = {"virtualMachineInstanceProfile": {"customProfile": {"runtimeDefaultProfile": default}}}
        return json.dumps({"spec": {"configuration": {"seccompConfiguration": inner if default else None}}})

    await installed.kubectl(*patch, profile(True))
    try:
        yield
    finally:
        await installed.kubectl(*patch, profile(None))


def _revision(pod: Json) -> str:
    return str(pod["metadata"]["labels"]["controller-revision-hash"])
