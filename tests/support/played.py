"""A Pod of the chart, played by a process: no kubelet of the development cluster runs containers.

It has the Pod's arguments, environment, mounts, user and token, a read-only root and no capability. Its root is this
machine's; in place of what the image holds, the checkout, Python and its packages are at places that the user may read.
"""

import asyncio
import base64
import os
import shlex
import shutil
import signal
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from kubelet_bridge.devcluster.cluster import DevCluster
from kubelet_bridge.guest import bundle
from kubelet_bridge.kube.client import Client
from kubelet_bridge.model.resources import CONFIGMAPS, PODS, SECRETS, SERVICEACCOUNTS
from kubelet_bridge.settings import cache_root
from tests.support.bridge import decoded

Json = dict[str, Any]
CHECKOUT = Path(__file__).parents[2]
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_ENTER = """
set -eu
mount --make-rprivate /
cp -a /etc {root}/etc
mount --bind {checkout} /mnt
mount --bind {python} /media
mount --bind {packages} /srv
for path in /etc /var/lib /run; do
  mkdir -p "{root}$path"
  mount --bind "{root}$path" "$path"
done
{mounts}
for path in /etc /run /var/lib /mnt /media /srv /; do
  mount -o remount,ro,bind "$path"
done
cd /
exec setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
  env -i {environment} /media/bin/{interpreter} -m kubelet_bridge {arguments}
"""


class PlayedPod:
    """The Pod of one name; its claims' volumes outlive it."""

    def __init__(self, cluster: DevCluster, client: Client, namespace: str, name: str, directory: Path) -> None:
        self._cluster, self._client, self._namespace, self.name = cluster, client, namespace, name
        self._directory = directory
        self.log = directory / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._starts = 0

    async def start(self) -> None:
        """As the API server has the Pod now: made by a controller, changed by admission."""
        pod: Json = decoded(await self._client.get(PODS, self._namespace, self.name))
        (container,) = pod["spec"]["containers"]
        self._starts += 1
        root = self._directory / f"{self.name}-{self._starts}"
        volumes = {one["name"]: await self._volume(one, root, pod) for one in pod["spec"]["volumes"]}
        mounts = [self._mount(volumes[one["name"]], one) for one in container["volumeMounts"]]
        security = pod["spec"]["securityContext"] | container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        script = _ENTER.format(
            root=root, checkout=CHECKOUT, python=sys.base_prefix, packages=sysconfig.get_path("platlib"),
            interpreter=f"python{sys.version_info.major}.{sys.version_info.minor}", user=security["runAsUser"],
            group=security["runAsGroup"], environment=shlex.join(await self._environment(container, root)),
            arguments=shlex.join(container["args"]), mounts="\n".join(sorted(mounts)),
        )  # fmt: skip
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "unshare", "--mount", "sh", "-c", script, stdout=log, stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip

    async def ended(self) -> int:
        """Its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def _volume(self, volume: Json, root: Path, pod: Json) -> Path:
        kept = "persistentVolumeClaim" in volume
        place = self._directory / "claims" / volume["name"] if kept else root / "volumes" / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            found = decoded(await self._client.get(CONFIGMAPS, self._namespace, volume["configMap"]["name"]))
            files = {name: text.encode() for name, text in found["data"].items()}
        elif "secret" in volume:
            found = decoded(await self._client.get(SECRETS, self._namespace, volume["secret"]["secretName"]))
            files = {item["path"]: base64.b64decode(found["data"][item["key"]]) for item in volume["secret"]["items"]}
        elif "projected" in volume:
            files = await self._account(pod)
        else:
            assert kept or "emptyDir" in volume, volume
            group = pod["spec"]["securityContext"]["fsGroup"]
            os.chown(place, 0, group)
            place.chmod(0o2770)
            files = {}
        for name, content in files.items():
            (place / name).write_bytes(content)
        return place

    async def _account(self, pod: Json) -> dict[str, bytes]:
        body = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3607, "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
            }},
        }  # fmt: skip
        account = pod["spec"]["serviceAccountName"]
        made = decoded(
            await self._client.create(SERVICEACCOUNTS, self._namespace, body, name=account, subresource="token")
        )
        return {
            "token": made["status"]["token"].encode(), "namespace": self._namespace.encode(),
            "ca.crt": self._cluster.layout.certificate("ca").read_bytes(),
        }  # fmt: skip

    @staticmethod
    def _mount(source: Path, mount: Json) -> str:
        path = mount["mountPath"].replace("/var/run/", "/run/")
        readonly = f" && mount -o remount,ro,bind {path}" if mount.get("readOnly") else ""
        made = "" if path == "/tmp" else f"mkdir -p {path} && "
        return f"{made}mount --bind {source} {path}{readonly}"

    async def _environment(self, container: Json, root: Path) -> list[str]:
        fields = {"status.podIP": self._cluster.state.node_address}
        own = {
            one["name"]: one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
            for one in container.get("env", [])
        }
        agent = (await asyncio.to_thread(bundle.ensure, cache_root())).path
        (root / "run").mkdir()
        shutil.copyfile(agent, root / "run" / "agent.pyz")
        of_the_image = {
            "PATH": os.defpath, "PYTHONHOME": "/media", "PYTHONPATH": "/mnt:/srv", "PYTHONDONTWRITEBYTECODE": "1",
            "LD_LIBRARY_PATH": "/media/lib",  # a Python built with a shared library of its own
            "KUBELET_BRIDGE_AGENT_FILE": "/run/agent.pyz", "KUBELET_BRIDGE_CACHE": "/tmp/cache",
        }  # fmt: skip
        of_the_cluster = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._cluster.state.ports.apiserver),
        }
        return [f"{name}={value}" for name, value in (of_the_image | of_the_cluster | own).items()]

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def stop(self) -> int:
        """As a kubelet does: SIGTERM, and SIGKILL when the grace is over."""
        if self._process is None or self._process.returncode is not None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(30):
                return await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


def needs_root() -> None:
    """Mounts of one's own, and another user, take root."""
    if os.geteuid() != 0:
        pytest.skip("playing a Pod takes root: mounts of its own, and another user")
