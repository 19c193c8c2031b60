"""Watches one running command until it and all it started have ended: its outputs, its clients, its signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from kubelet_bridge.agent.host import becoming, crilog, wire
from kubelet_bridge.agent.host.shim import descendants
from kubelet_bridge.agent.host.shim.clients import Client
from kubelet_bridge.agent.host.shim.launch import Command
from kubelet_bridge.agent.host.shim.spec import Spec

_CHUNK = 64 * 1024
# Input that the command does not read waits up to here; then those who type have to wait.
_STDIN_PENDING = 64 * 1024
# When all is over: how long clients may take to fetch what is left.
_FAREWELL_SECONDS = 5.0
# How exactly deadlines are kept, while there are any.
_TICK_MILLISECONDS = 100
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


class Supervisor:
    """One command's watcher; ``watch`` is all there is to do with it."""

    def __init__(self, spec: Spec, command: Command, listener: socket.socket, log: crilog.CriLog) -> None:
        self._spec = spec
        self._command = command
        self._listener = listener
        self._log = log
        self._clients: list[Client] = []
        self._outputs = {command.stdout: (crilog.STDOUT, wire.STDOUT)}
        if command.stderr >= 0:
            self._outputs[command.stderr] = (crilog.STDERR, wire.STDERR)
        self._stdin = command.stdin
        self._typed = bytearray()
        self._stdin_ends = False
        self._kill_at = 0.0
        self._woken, self._wake = _waker()

    def watch(self) -> int:
        """The command's wait status, when everything is over."""
        status = self._until_it_ends()
        cgroup = self._spec.cgroups[0] if self._spec.cgroups else ""
        descendants.kill_all(cgroup)
        for descriptor in list(self._outputs):
            while descriptor in self._outputs and self._output(descriptor):
                pass
        self._farewell()
        return status

    def _until_it_ends(self) -> int:
        while True:
            self._turn()
            status = descendants.collect(self._command.pid)
            if status is not None:
                return status
            if self._kill_at and time.monotonic() >= self._kill_at:
                os.kill(self._command.pid, signal.SIGKILL)
                self._kill_at = time.monotonic() + 1.0

    def _farewell(self) -> None:
        """Give those attached what is still on its way to them."""
        give_up = time.monotonic() + _FAREWELL_SECONDS
        while time.monotonic() < give_up:
            poll = select.poll()
            left = [client for client in self._clients if client.waiting and not client.gone]
            if not left:
                return
            for client in left:
                poll.register(client.descriptor, select.POLLOUT)
            poll.poll(_TICK_MILLISECONDS)
            for client in left:
                client.flush()

    def _turn(self) -> None:
        """Wait for something, and deal with it."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._listener.fileno(), select.POLLIN)
        held = [client for client in self._clients if client.full()]
        if not held:
            for descriptor in self._outputs:
                typing = self._typed and descriptor == self._stdin
                poll.register(descriptor, select.POLLIN | (select.POLLOUT if typing else 0))
        for client in self._clients:
            wanted = (select.POLLOUT if client.waiting else 0) | (select.POLLIN if self._takes_input() else 0)
            poll.register(client.descriptor, wanted)
        if self._typed and self._stdin >= 0 and self._stdin not in self._outputs:
            poll.register(self._stdin, select.POLLOUT)
        self._deal_with(dict(poll.poll(_TICK_MILLISECONDS if self._kill_at or held else None)))

    def _deal_with(self, ready: dict[int, int]) -> None:
        if self._woken in ready:
            self._signals(os.read(self._woken, 512))
        for descriptor in [one for one in self._outputs if one in ready]:
            self._output(descriptor)
        for client in list(self._clients):
            events = ready.get(client.descriptor, 0)
            if events & select.POLLOUT:
                client.flush()
            if events & _READABLE:
                self._input(client)
            if client.gone:
                self._leave(client)
        if self._listener.fileno() in ready:
            self._accept()
        if self._typed:
            self._type()

    def _signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers:
            self._signal(signal.SIGTERM, self._spec.grace)

    def _signal(self, number: int, grace: float) -> None:
        """Signal the command; SIGKILL follows after ``grace``, or sooner if somebody said so before."""
        os.kill(self._command.pid, number)  # it has not been collected, so the number is still its own
        kill_at = time.monotonic() + grace
        self._kill_at = min(self._kill_at, kill_at) if self._kill_at else kill_at

    def _output(self, descriptor: int) -> bool:
        """Read once; False when there was nothing."""
        stream, kind = self._outputs[descriptor]
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        if not data:
            del self._outputs[descriptor]
            if descriptor != self._stdin:
                os.close(descriptor)
            return False
        self._log.write(stream, data)
        for client in self._clients:
            if client.attached and not client.gone:
                client.send(kind, data)
        return True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._clients.append(Client(connection))

    def _input(self, client: Client) -> None:
        client.receive()
        while True:
            taken = client.take()
            if taken is None:
                return
            self._obey(client, *taken)

    def _obey(self, client: Client, kind: bytes, body: bytes) -> None:
        if kind == wire.ATTACH:
            client.attached = True
        elif kind == wire.STDIN:
            client.typed = True
            if self._stdin >= 0 and not self._stdin_ends:
                self._typed += body
        elif kind == wire.STDIN_END:
            client.typed = True
            self._input_over()
        elif kind == wire.RESIZE and len(body) == 4 and self._spec.tty and self._stdin >= 0:
            becoming.set_size(self._stdin, int.from_bytes(body[:2], "big"), int.from_bytes(body[2:], "big"))
        elif kind == wire.SIGNAL and len(body) == 12:
            self._signal(int.from_bytes(body[:4], "big"), int.from_bytes(body[4:], "big") / 1000)

    def _leave(self, client: Client) -> None:
        self._clients.remove(client)
        client.connection.close()
        if client.typed:
            self._input_over()

    def _input_over(self) -> None:
        """With stdinOnce the first who typed was the only one; else stdin stays open for the next."""
        if self._spec.stdin_once and not self._spec.tty:
            self._stdin_ends = True
            self._type()

    def _takes_input(self) -> bool:
        return len(self._typed) < _STDIN_PENDING

    def _type(self) -> None:
        """Give the command what was typed, as much as it takes."""
        try:
            if self._typed and self._stdin >= 0:
                del self._typed[: os.write(self._stdin, self._typed[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._typed.clear()  # it reads no more
        if self._stdin_ends and not self._typed and self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1


def _waker() -> tuple[int, int]:
    """A pipe that tells signals as bytes."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _nothing)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return reading, writing


def _nothing(*_: object) -> None:
    """The wake-up pipe says it."""
