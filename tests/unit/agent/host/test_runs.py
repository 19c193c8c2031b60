"""Commands on this machine, each watched by a real shim."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.host import cgroups, records
from kubelet_bridge.agent.host.crilog import parse
from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .conftest import Guest, processes_with

UNLIKELY = "98765.4321"


def output(path: str) -> list[tuple[bytes, bytes]]:
    return [(one.stream, one.data) for one in map(parse, Path(path).read_bytes().splitlines())]


@pytest.mark.parametrize("code", [0, 1, 3, 126, 127, 255])
async def test_exit_code(guest: Guest, code: int) -> None:
    run = await guest.start("sh", "-c", f"exit {code}")
    end = await guest.driver.wait(run)
    assert (end.exit_code, end.signal, end.oom_killed) == (code, 0, False)
    assert run.started_at == end.started_at < end.finished_at


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGPIPE"])
async def test_signal(guest: Guest, name: str) -> None:
    run = await guest.start("sh", "-c", f"kill -{name[3:]} $$")
    end = await guest.driver.wait(run)
    number = getattr(signal, name)
    assert (end.exit_code, end.signal) == (128 + number, number)


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"command": ["no-such-program"]}, 127, 'exec: "no-such-program": executable file not found in $PATH'),
        ({"command": ["/no/such"]}, 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ({"command": ["/etc/passwd"]}, 126, 'exec: "/etc/passwd": permission denied'),
        ({"command": ["true"], "working_dir": "/no/such"}, 128, "chdir to cwd"),
    ],
)
async def test_what_cannot_be_started(guest: Guest, fields: dict[str, object], code: int, message: str) -> None:
    container = pb.Container(name="main", **fields)  # type: ignore[arg-type]
    with pytest.raises(RunError) as failed:
        await guest.driver.start(guest.manifest, container, 0, "")
    assert failed.value.reason == "RunContainerError"
    assert failed.value.exit_code == code
    assert message in failed.value.message
    assert await guest.driver.runs() == []


async def test_a_file_that_is_no_program(guest: Guest, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x00\x01")
    program.chmod(0o755)
    with pytest.raises(RunError, match="exec format error") as failed:
        await guest.start(str(program))
    assert failed.value.exit_code == 126


async def test_run_as_non_root_is_refused_for_root(guest: Guest) -> None:
    with pytest.raises(RunError, match="will run as root") as failed:
        await guest.start("true", security=pb.Security(run_as_non_root=True))
    assert failed.value.reason == "CreateContainerConfigError"
    assert await guest.driver.runs() == []


async def test_streams_environment_directory_and_user(guest: Guest, public: Path) -> None:
    run = await guest.start(
        "sh",
        "-c",
        'echo "$NAME in $PWD as $(id -u):$(id -g) $(id -G)"; echo $SECRET >&2; env | grep -c . ; umask',
        working_dir=str(public),
        env=[pb.EnvVar(name="NAME", value="a b"), pb.EnvVar(name="SECRET", value="s")],
        security=pb.Security(run_as_user=4321, run_as_group=4322),
    )
    guest.manifest.security.supplemental_groups.append(7)
    await guest.driver.wait(run)
    lines = output(run.log_path)
    assert (b"stdout", f"a b in {public} as 4321:4322 4322".encode()) in lines
    assert (b"stderr", b"s") in lines
    assert (b"stdout", b"0022") in lines
    assert not list(guest.paths.run.rglob("*.spec")), "the order with its secrets stays nowhere"


async def test_nothing_of_ours_is_inherited(guest: Guest) -> None:
    run = await guest.start("sh", "-c", "ls /proc/$$/fd; cat /proc/self/oom_score_adj; env")
    await guest.driver.wait(run)
    said = [data for stream, data in output(run.log_path) if stream == b"stdout"]
    assert said[:3] == [b"0", b"1", b"2"]
    assert b"0" in said[3:5]
    assert sorted(line.split(b"=")[0] for line in said if b"=" in line) == [
        b"HOME", b"HOSTNAME", b"LOGNAME", b"PATH", b"PWD", b"USER"
    ]  # fmt: skip


async def test_descendants_end_with_the_command(guest: Guest) -> None:
    run = await guest.start("sh", "-c", f"(setsid sh -c 'sleep {UNLIKELY} & sleep {UNLIKELY}' &) ; sleep 0.3; exit 5")
    for _ in range(100):
        if len(processes_with(UNLIKELY)) == 2:
            break
        await asyncio.sleep(0.01)
    end = await guest.driver.wait(run)
    assert end.exit_code == 5
    assert processes_with(UNLIKELY) == []


async def test_stop_asks_and_then_forces(guest: Guest) -> None:
    polite = await guest.start("sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.01; done")
    await until_said(polite.log_path, b"up")
    await guest.driver.stop(polite, "", 30)
    assert (await guest.driver.wait(polite)).exit_code == 9
    stubborn = await guest.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done", attempt=1)
    await until_said(stubborn.log_path, b"up")
    await guest.driver.stop(stubborn, "SIGTERM", 0.2)
    assert (await guest.driver.wait(stubborn)).signal == signal.SIGKILL
    await guest.driver.stop(stubborn, "SIGTERM", 0.2)  # it has ended: nothing happens


async def test_termination_message(guest: Guest, tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    run = await guest.start("sh", "-c", f"printf 'it was me' > {path}", termination_message_path=str(path))
    assert (await guest.driver.wait(run)).message == "it was me"
    assert path.read_bytes() == b"", "each run has a file of its own"


@pytest.fixture
def writable_cgroups() -> None:
    made = cgroups.make("probe", pb.Resources())
    cgroups.remove("probe")
    if not made.events:
        pytest.skip("cgroups cannot be written here")


@pytest.mark.usefixtures("writable_cgroups")
async def test_memory_limit(guest: Guest) -> None:
    run = await guest.start(
        sys.executable, "-c", "x = bytearray(200 << 20)", resources=pb.Resources(memory_limit_bytes=48 << 20)
    )
    end = await guest.driver.wait(run)
    assert end.oom_killed
    assert end.exit_code == 137


async def test_usage(guest: Guest) -> None:
    run = await guest.start(
        sys.executable, "-c", "x = bytearray(30 << 20); print('up', flush=True); input()", stdin=True
    )
    await until_said(run.log_path, b"up")
    used = await guest.driver.usage(run)
    assert used.usage.memory_working_set_bytes > 30 << 20
    assert used.usage.cpu_nanoseconds > 0
    assert used.usage.processes >= 1
    assert used.log_bytes == Path(run.log_path).stat().st_size


async def test_a_flood_is_bounded_and_loses_no_order(guest: Guest) -> None:
    run = await guest.start("sh", "-c", "seq 1 7000000")  # 55 MB
    end = await guest.driver.wait(run)
    assert end.exit_code == 0
    path = Path(run.log_path)
    logs = [path.with_name(f"0.log.{number}") for number in (4, 3, 2, 1)] + [path]
    dropped = path.with_name("0.log.dropped")
    assert set(path.parent.glob("0.log*")) == {*logs, dropped}
    assert sum(one.stat().st_size for one in logs) < 60 * 1024 * 1024
    kept = sum(one.read_bytes().count(b"\n") for one in logs)
    assert kept + int(dropped.read_bytes()) == 7000000
    last = [parse(line).data for line in path.read_bytes().splitlines()]
    assert last[-1] == b"7000000"
    assert [int(one) for one in last] == list(range(int(last[0]), 7000001))


async def test_another_agent_finds_what_runs_and_what_ended(guest: Guest) -> None:
    long = await guest.start("sh", "-c", "read x; exit 4", stdin=True)
    short = await guest.start("sh", "-c", "exit 6", attempt=1)
    await guest.driver.wait(short)
    again = guest.another()
    found = {run.attempt: run for run in await again.runs()}
    assert found[0] == long
    assert found[1].exit is not None
    assert found[1].exit.exit_code == 6
    attached = await again.attach(found[0], stdin=True, tty=False)
    await attached.write(b"x\n")
    assert (await again.wait(found[0])).exit_code == 4
    await attached.kill()
    for run in found.values():
        await again.remove(run)
        assert Path(run.log_path).exists()
    assert await again.runs() == []


async def test_a_killed_agent_leaves_its_runs(guest: Guest, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"""
import asyncio, pathlib
from kubelet_bridge.agent.config import Paths
from kubelet_bridge.agent.host.driver import HostDriver
from kubelet_bridge.agent.v1 import agent_pb2 as pb
place = pathlib.Path({str(guest.paths.state.parent)!r})
async def main():
    driver = HostDriver(Paths(place / "agent.json", place / "state", place / "run"), root=place / "root", systemd=False)
    command = ["sh", "-c", "until [ -e {go} ]; do sleep 0.05; done; echo later; exit 7"]
    container = pb.Container(name="main", command=command)
    run = await driver.start(pb.PodManifest(boot="b1"), container, 2, "")
    print(run.id, run.started_at, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    agent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert agent.stdout is not None
    name, started = (await agent.stdout.readline()).split()
    agent.kill()
    await agent.wait()
    (run,) = await guest.driver.runs()
    assert (run.id, run.started_at, run.attempt, run.exit) == (name.decode(), int(started), 2, None)
    go.touch()
    assert (await guest.driver.wait(run)).exit_code == 7
    assert output(run.log_path) == [(b"stdout", b"later")]


async def test_a_killed_shim_is_an_unknown_end(guest: Guest) -> None:
    run = await guest.start("sleep", UNLIKELY)
    os.kill(int(processes_with(str(guest.paths.run / "shims" / run.id))[0]), signal.SIGKILL)
    end = await guest.driver.wait(run)
    assert (end.exit_code, end.signal) == (137, 9)
    assert end == (await guest.another().runs())[0].exit._replace(message=end.message)  # type: ignore[union-attr]
    for _ in range(200):
        if not processes_with(UNLIKELY):
            break
        await asyncio.sleep(0.01)
    assert processes_with(UNLIKELY) == [], "the command dies with its shim"


def test_an_order_that_nobody_took_is_taken_back(place: Guest) -> None:
    guest = place
    run = guest.driver._runs.make("main", 0, "b1", "")
    guest.driver._runs.give_order(run.id, "{}")
    assert asyncio.run(guest.another().runs()) == []
    assert not guest.driver._runs.directory(run.id).exists()
    assert not records.claim(str(guest.driver._runs.order(run.id)) + records.SPEC_SUFFIX)


async def until_said(path: str, word: bytes) -> None:
    while word not in Path(path).read_bytes():
        await asyncio.sleep(0.01)
