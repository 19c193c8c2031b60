"""The installer, by the shells and Pythons that images have, as root of a file system that is thrown away after."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelet_bridge.agent import install
from kubelet_bridge.guest.bundle import Bundle
from tests.support.guestbridge import GuestBridge
from tests.unit.agent.whole.conftest import Files

# This machine's own root, and over it a directory in memory that takes every change; processes end with the first one.
ENTER = """
set -e
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE/up" "$PLACE/work" "$PLACE/root"
cp -a "$GIVEN/." "$PLACE/up/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/up,workdir=$PLACE/work" "$PLACE/root"
mount --rbind /dev "$PLACE/root/dev"
mount -t proc proc "$PLACE/root/proc"
cd "$PLACE/root"
chroot . /usr/bin/env -i PATH=/given/bin:/usr/bin:/bin $SHELL_LINE /etc/kubelet-bridge/install.sh && echo installed
cat
"""
RECORDING = '#!/bin/sh\necho "$(basename "$0") $*" >>/given/calls\n'


def can_enter() -> bool:
    tried = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return os.geteuid() == 0 and subprocess.run(tried, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not can_enter(), reason="needs root and mount namespaces"),
]

SHELLS = [
    pytest.param(line, marks=pytest.mark.skipif(shutil.which(line.split()[0]) is None, reason=f"no {line} here"))
    for line in ("dash", "busybox sh", "bash --posix")
]


def pythons() -> list[str]:
    """Every Python from 3.8 on that is on this machine, one per minor version."""
    found = {}
    for place in [Path(sys.executable).resolve().parent, *Path("~/.pyenv/versions").expanduser().glob("3.*/bin")]:
        for minor in range(8, 20):
            if (place / f"python3.{minor}").exists():
                found[minor] = str(place / f"python3.{minor}")
    return [found[minor] for minor in sorted(found)]


class Image:
    """What a machine brings besides this one's own files, and what has become of it."""

    def __init__(self, directory: Path) -> None:
        self.given, self.place = directory / "given", directory / "place"
        self.place.mkdir()
        (self.given / "given" / "bin").mkdir(parents=True)
        (self.given / "etc" / "kubelet-bridge").mkdir(parents=True)
        self.write("etc/kubelet-bridge/install.sh", install.installer())
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, path: str, content: str, mode: int = 0o600) -> None:
        (self.given / path).parent.mkdir(parents=True, exist_ok=True)
        (self.given / path).write_text(content)
        (self.given / path).chmod(mode)

    def program(self, name: str, target: str) -> None:
        (self.given / "given" / "bin" / name).symlink_to(target)

    def records(self, *names: str) -> None:
        for name in names:
            self.write(f"given/bin/{name}", RECORDING, 0o755)

    def begin(self, shell: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PLACE": str(self.place), "GIVEN": str(self.given), "SHELL_LINE": shell}
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        return self._process

    def file(self, path: str) -> str:
        """From within, while it is there."""
        assert self._process is not None
        (child,) = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return Path(f"/proc/{child}/root{self.place}/root/{path}").read_text()

    def said(self) -> bytes:
        """Its first line."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@pytest.fixture
def image(bridge: GuestBridge, files: Files, built: Bundle, tmp_path: Path) -> Iterator[Image]:
    made = Image(tmp_path)
    offer = files.offer(built.path.read_bytes())
    seed = bridge.seed()
    document = {
        "version": 1, "pod_uid": seed.pod_uid, "address": f"{seed.host}:{seed.port}", "server_name": seed.server_name,
        "ca": seed.ca, "token": seed.token,
        "agent": {"version": offer.version, "digest": offer.digest, "url": offer.url, "size": offer.size},
    }  # fmt: skip
    made.write("etc/kubelet-bridge/agent.json", json.dumps(document))
    made.program("python3", pythons()[-1])
    yield made
    made.close()


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
async def test_every_python_runs_what_was_installed(
    image: Image, bridge: GuestBridge, built: Bundle, python: str
) -> None:
    (image.given / "given" / "bin" / "python3").unlink()
    image.program("python3", python)
    await asyncio.to_thread(image.begin, "dash")
    assert b"neither systemd nor OpenRC" in await asyncio.to_thread(image.said)
    stream = await bridge.streams.get()
    assert stream.hello.agent_digest == built.digest
    await stream.heard("heartbeat")


@pytest.mark.parametrize("shell", SHELLS)
async def test_systemd_is_given_units_that_it_understands(image: Image, shell: str, tmp_path: Path) -> None:
    (image.given / "run" / "systemd" / "system").mkdir(parents=True)
    image.records("systemctl")
    await asyncio.to_thread(image.begin, shell)
    assert await asyncio.to_thread(image.said) == b"installed\n"
    agent, workload = "kubelet-bridge-agent.service", "kubelet-bridge-workload.service"
    assert (await asyncio.to_thread(image.file, "given/calls")).splitlines() == [
        "systemctl daemon-reload",
        f"systemctl enable --quiet {agent} {workload}",
        f"systemctl start --no-block {agent} {workload}",
    ]
    for name in (agent, workload):
        (tmp_path / name).write_text(await asyncio.to_thread(image.file, f"etc/systemd/system/{name}"))
        assert "=/given/bin/python3 -I -S /var/lib/kubelet-bridge/agent/current.pyz" in (tmp_path / name).read_text()
    if shutil.which("systemd-analyze"):
        units = [str(tmp_path / name) for name in (agent, workload)]
        for unit in units:  # it looks whether the program is there
            Path(unit).write_text(Path(unit).read_text().replace("/given/bin/python3", sys.executable))
        checked = await asyncio.create_subprocess_exec(
            "systemd-analyze", "verify", "--man=no", *units, stderr=asyncio.subprocess.PIPE
        )
        _, said = await checked.communicate()
        assert (checked.returncode, [line for line in said.splitlines() if b"kubelet-bridge" in line]) == (0, [])


@pytest.mark.parametrize("shell", SHELLS)
async def test_openrc_is_given_its_scripts(image: Image, shell: str) -> None:
    image.records("rc-update", "rc-service")
    await asyncio.to_thread(image.begin, shell)
    assert await asyncio.to_thread(image.said) == b"installed\n"
    assert (await asyncio.to_thread(image.file, "given/calls")).splitlines() == [
        "rc-update -q add kubelet-bridge-agent default",
        "rc-update -q add kubelet-bridge-workload default",
        "rc-service kubelet-bridge-agent start",
        "rc-service kubelet-bridge-workload start",
    ]
    script = await asyncio.to_thread(image.file, "etc/init.d/kubelet-bridge-agent")
    assert script.startswith("#!/sbin/openrc-run\n")
    assert "\ncommand=/given/bin/python3\n" in script
    stop = await asyncio.to_thread(image.file, "etc/init.d/kubelet-bridge-workload")
    assert "\t/given/bin/python3 -I -S /var/lib/kubelet-bridge/agent/current.pyz stop\n" in stop


@pytest.mark.parametrize("shell", SHELLS)
async def test_an_image_without_python_says_so(image: Image, shell: str) -> None:
    missing = ["python3", *(f"python3.{minor}" for minor in range(8, 15))]
    (image.given / "given" / "bin" / "python3").unlink()
    for name in missing:  # of the versions this machine has, the one that is found first is none
        image.write(f"given/bin/{name}", "#!/bin/sh\nexit 1\n", 0o755)
    await asyncio.to_thread(image.begin, shell)
    assert b"this image has no Python 3.8 or later" in await asyncio.to_thread(image.said)


async def test_a_damaged_agent_is_fetched_again(image: Image, bridge: GuestBridge, built: Bundle) -> None:
    agents = "var/lib/kubelet-bridge/agent"
    image.write(f"{agents}/{built.digest}.pyz", "a disk may do that")
    (image.given / agents / "current.pyz").symlink_to(f"{built.digest}.pyz")
    await asyncio.to_thread(image.begin, "dash")
    assert (await bridge.streams.get()).hello.agent_digest == built.digest
