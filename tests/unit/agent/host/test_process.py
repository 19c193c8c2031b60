"""Processes somebody is connected to."""

import asyncio

import pytest

from kubelet_bridge.agent.driver import RunError
from kubelet_bridge.agent.host import process
from kubelet_bridge.agent.host.environment import environment
from kubelet_bridge.agent.host.identity import local_user
from kubelet_bridge.agent.v1 import agent_pb2 as pb

from .conftest import processes_with


def shell(script: str) -> process.Command:
    who = local_user()
    return process.Command(["sh", "-c", script], environment(who, "", (), tty=True), "/", who)


async def everything(running: process.LocalProcess) -> dict[int, bytes]:
    said = {int(pb.CHANNEL_STDOUT): b"", int(pb.CHANNEL_STDERR): b""}
    while (piece := await running.read()) is not None:
        said[piece[0]] += piece[1]
    return said


async def test_exit_codes() -> None:
    for code in (0, 1, 2, 3, 63, 64, 125, 126, 127, 128, 129, 137, 254, 255):
        running = await process.run(shell(f"exit {code}"), stdin=False, tty=False)
        assert await running.wait() == (code, 0)
        await running.kill()


async def test_both_channels_and_half_close() -> None:
    running = await process.run(shell("sort; echo done >&2"), stdin=True, tty=False)
    await running.write(b"b\na\n")
    await running.close_stdin()
    assert await everything(running) == {pb.CHANNEL_STDOUT: b"a\nb\n", pb.CHANNEL_STDERR: b"done\n"}
    assert await running.wait() == (0, 0)
    await running.kill()


async def test_terminal_and_its_size() -> None:
    running = await process.run(shell("stty size; read x; stty size; tty -s"), stdin=True, tty=True, size=(100, 40))
    said = b""
    while b"40 100" not in said:
        piece = await running.read()
        assert piece is not None
        said += piece[1]
    await running.resize(120, 50)
    await running.write(b"\n")
    assert b"50 120" in (await everything(running))[pb.CHANNEL_STDOUT]
    assert await running.wait() == (0, 0)
    await running.kill()


async def test_a_terminal_gets_the_signal() -> None:
    running = await process.run(
        shell("trap 'echo resized; exit 3' WINCH; echo up; while :; do sleep 0.01; done"), stdin=True, tty=True
    )
    while b"up" not in ((await running.read()) or (0, b""))[1]:
        pass
    await running.resize(90, 30)
    assert b"resized" in (await everything(running))[pb.CHANNEL_STDOUT]
    assert await running.wait() == (3, 0)
    await running.kill()


async def test_kill_ends_the_whole_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HANGUP_SECONDS", 0.2)
    running = await process.run(shell("trap '' HUP; sleep 87654.321 & echo up; wait; wait"), stdin=False, tty=False)
    await running.read()
    await running.kill()
    assert (await running.wait())[1] in (9, 0)
    for _ in range(100):
        if not processes_with("87654.321"):
            break
        await asyncio.sleep(0.01)
    assert processes_with("87654.321") == []
    assert await running.read() is None


async def test_what_is_left_behind_does_not_keep_it_open() -> None:
    running = await process.run(shell("sleep 3 & echo said"), stdin=False, tty=False)
    assert (await everything(running))[pb.CHANNEL_STDOUT] == b"said\n"
    assert await running.wait() == (0, 0)
    await running.kill()


async def test_writing_to_what_does_not_read() -> None:
    running = await process.run(shell("exit 2"), stdin=True, tty=False)
    await running.wait()
    await running.write(b"x" * 200_000)
    await running.close_stdin()
    assert await running.wait() == (2, 0)
    await running.kill()


@pytest.mark.parametrize(("name", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
@pytest.mark.parametrize("tty", [True, False])
async def test_what_cannot_be_run(name: str, code: int, tty: bool) -> None:
    command = shell("")._replace(argv=[name])
    with pytest.raises(RunError) as failed:
        await process.run(command, stdin=False, tty=tty)
    assert (failed.value.reason, failed.value.exit_code) == ("CannotRun", code)


async def test_kill_ends_what_writes_more_than_anybody_reads() -> None:
    child = await process.run(shell("exec yes"), stdin=False, tty=False)
    await child.read()
    await asyncio.sleep(0.2)  # now as much is read ahead as may be, and the pipe is full
    await child.kill()
    assert await child.wait() == (129, 1)
