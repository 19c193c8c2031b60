"""`kubelet-bridge intents` as a person types it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from kubelet_bridge.cli import main
from kubelet_bridge.model.storage import ReclaimPolicy
from kubelet_bridge.model.volumeintent import Promise, VolumeIntent, VolumeStatus
from kubelet_bridge.store.intents import IntentStore
from kubelet_bridge.store.lock import StateLock
from kubelet_bridge.store.standalone import standalone
from kubelet_bridge.store.volumes import VolumeStore
from tests.support.intents import NOW, intent, later


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with standalone(tmp_path) as database:
            store = await IntentStore.load(database)
            await store.save(intent(1), reason="Accepted", now=NOW)
            await store.save(intent(2, restart_count=4), reason="Accepted", now=NOW)
            await store.destroy("uid-2", reason="PodGone", now=later(60))

    asyncio.run(fill())
    return tmp_path


@pytest.fixture
def held(directory: Path) -> Iterator[Path]:
    lock = StateLock(directory)
    lock.acquire()
    yield directory
    lock.release()


def test_list_as_a_table(directory: Path) -> None:
    result = run("intents", "list", "--state-dir", directory)
    header, line = result.output.splitlines()
    assert " ".join(header.split()) == "ID NAMESPACE NAME STATUS VM CPU MEMORY RESTARTS OUTCOME AGE"
    assert " ".join(line.split()[:-1]) == "dpl_00000001 default web-1 provisioning web-1 2 1Gi 0 -"


def test_list_as_json_with_the_destroyed(directory: Path) -> None:
    result = run("intents", "list", "--all", "--output", "json", "--state-dir", directory)
    found = msgspec.json.decode(result.output)
    assert [(one["id"], one["status"], one["restart_count"]) for one in found] == [
        ("dpl_00000001", "provisioning", 0), ("dpl_00000002", "destroyed", 4),
    ]  # fmt: skip


def test_show_for_people_and_for_programs(directory: Path) -> None:
    text = run("intents", "show", "default/web-2", "--state-dir", directory).output
    assert "Status:          destroyed" in text
    assert "PodGone" in text
    shown = run("intents", "show", "dpl_00000002", "-o", "json", "--state-dir", directory).output
    assert msgspec.json.decode(shown)["history"][-1]["reason"] == "PodGone"


def test_listing_beside_a_daemon(held: Path) -> None:
    assert "dpl_00000001" in run("intents", "list", "--state-dir", held).output


def test_nothing_to_list(tmp_path: Path) -> None:
    async def create() -> None:
        async with standalone(tmp_path):
            pass

    asyncio.run(create())
    assert run("intents", "list", "--state-dir", tmp_path).output == "no intents\n"


def test_an_error_is_one_line(directory: Path) -> None:
    result = run("intents", "show", "dpl_0000000x", "--state-dir", directory)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no intent 'dpl_0000000x'; the nearest is 'dpl_0000000")
    assert len(result.stderr.splitlines()) == 1


def test_rebuild_without_a_cluster_leaves_the_database_alone(directory: Path) -> None:
    before = (directory / "intents.db").read_bytes()
    command = [sys.executable, "-m", "kubelet_bridge", "intents", "rebuild", "--kubeconfig", "/nowhere/config"]
    done = subprocess.run(
        [*command, "--state-dir", str(directory)], capture_output=True, text=True, timeout=25, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: kubeconfig /nowhere/config")
    assert (directory / "intents.db").read_bytes() == before
    assert not list(directory.glob("*replaced*"))


def test_rebuild_is_refused_while_a_daemon_runs(held: Path) -> None:
    result = run("intents", "rebuild", "--state-dir", held)
    assert result.exit_code == 1
    assert "in use by process" in result.stderr


def test_help_imports_no_subcommand() -> None:
    program = (
        "import sys\n"
        "from kubelet_bridge.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print(sorted(name for name in sys.modules if name in ('aiohttp', 'kubernetes_asyncio', 'aiosqlite')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(f"  {name} " in done.stdout for name in ("run", "render", "intents", "dev"))


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    async def fill() -> None:
        async with standalone(tmp_path) as database:
            store = await VolumeStore.load(database)
            made = disk(1)
            await store.save(made, reason="Accepted", now=NOW)
            await store.save(msgspec.structs.replace(made, status=VolumeStatus.BOUND), reason="Bound", now=later(2))
            await store.save(disk(2), reason="Accepted", now=NOW)
            await store.destroy("claim-2", reason="ClaimGone", now=later(60))

    asyncio.run(fill())
    return tmp_path


def disk(number: int) -> VolumeIntent:
    promise = Promise(
        size="20Gi", access_modes=["ReadWriteOnce"], volume_mode="Filesystem", storage_class="vm-disk",
        reclaim=ReclaimPolicy.DELETE, backing_class="fast", source="blank",
    )  # fmt: skip
    return VolumeIntent(
        uid=f"claim-{number}", id=f"vol_0000000{number}", namespace="shop", name="data", promise=promise,
        datavolume=f"data-{number}", accepted_at=NOW,
    )  # fmt: skip


def test_disks_as_a_table_and_as_json(disks: Path) -> None:
    header, line = run("intents", "volumes", "--state-dir", disks).output.splitlines()
    assert " ".join(header.split()) == "ID NAMESPACE CLAIM STATUS DATAVOLUME SIZE CLASS SOURCE AGE"
    assert " ".join(line.split()[:-1]) == "vol_00000001 shop data bound data-1 20Gi fast blank"
    found = msgspec.json.decode(run("intents", "volumes", "--all", "-o", "json", "--state-dir", disks).output)
    assert [(one["id"], one["status"]) for one in found] == [("vol_00000001", "bound"), ("vol_00000002", "destroyed")]


@pytest.mark.parametrize("wanted", ["vol_00000001", "claim-1", "shop/data"])
def test_one_disk_with_its_history(disks: Path, wanted: str) -> None:
    lines = run("intents", "volumes", wanted, "--state-dir", disks).output.splitlines()
    assert "Datavolume:      data-1" in lines
    assert [line.split()[2:] for line in lines[-2:]] == [
        ["-", "provisioning", "Accepted"],
        ["provisioning", "bound", "Bound"],
    ]
    detail = msgspec.json.decode(run("intents", "volumes", wanted, "-o", "json", "--state-dir", disks).output)
    assert detail["intent"]["promise"]["backing_class"] == "fast"


def test_a_disk_that_is_not_there(disks: Path) -> None:
    result = run("intents", "volumes", "vol_x", "--state-dir", disks)
    assert result.exit_code == 1
    assert "no disk 'vol_x'" in result.output


def test_no_disks(directory: Path) -> None:
    assert run("intents", "volumes", "--state-dir", directory).output == "no disks\n"
