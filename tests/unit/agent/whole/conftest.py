from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.server
import json
import os
import signal
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelet_bridge.agent.config import Seed
from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.guest import bundle
from kubelet_bridge.guest.bundle import Bundle
from tests.support.guestbridge import GuestBridge


def cache() -> Path:
    chosen = os.environ.get("KUBELET_BRIDGE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(chosen) if chosen else base / "kubelet-bridge"


@pytest.fixture(scope="session")
def built() -> Bundle:
    """The agent as guests get it."""
    return bundle.ensure(cache())


@pytest.fixture
async def bridge() -> AsyncIterator[GuestBridge]:
    bridge = await asyncio.to_thread(GuestBridge)
    await bridge.start()
    yield bridge
    await bridge.stop()


class Machine:
    """A guest's directories, and the agent's processes in them."""

    def __init__(self, directory: Path, file: Path) -> None:
        self.directory = directory
        self.file = file
        self.said = directory / "said"
        self._processes: list[asyncio.subprocess.Process] = []

    def write_seed(self, seed: Seed) -> None:
        (self.directory / "agent.json").write_text(
            json.dumps(
                {
                    "version": 1,
                    "pod_uid": seed.pod_uid,
                    "address": f"{seed.host}:{seed.port}",
                    "server_name": seed.server_name,
                    "ca": seed.ca,
                    "token": seed.token,
                }
            )
        )

    async def start(self, command: str = "run", *arguments: str) -> asyncio.subprocess.Process:
        places = ["--config", "agent.json", "--state", "state", "--run", "run"]
        with self.said.open("ab") as said:  # not a pipe: containers outlive the agent, and hold it open
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(self.file), command, *places, *arguments,
                cwd=self.directory, stderr=said, stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        self._processes.append(process)
        return process

    async def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        for started in (self.directory / "state" / "runs").glob("*/started.json"):
            if not started.with_name("exit.json").exists():  # its shim ends with it
                with contextlib.suppress(ProcessLookupError):
                    os.kill(json.loads(started.read_bytes())["pid"], signal.SIGKILL)


@pytest.fixture
async def machine(bridge: GuestBridge, built: Bundle, tmp_path: Path) -> AsyncIterator[Machine]:
    machine = Machine(tmp_path, built.path)
    machine.write_seed(bridge.seed())
    yield machine
    await machine.close()


NEWER = "99.0.0"


class Files:
    """The bridge's file server: what it answers is the test's to say."""

    def __init__(self, bridge: GuestBridge, private: Path) -> None:
        self.content = b""
        self.answers = 0
        certificate = bridge.authority.issue(now=datetime.now(UTC))
        pem = private / "files.pem"
        pem.write_bytes(certificate.key + certificate.certificate)
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files.answers += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(files.content)))
                self.end_headers()
                self.wfile.write(files.content)

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def offer(self, content: bytes, digest: str = "") -> pb.AgentOffer:
        self.content = content
        digest = digest or hashlib.sha256(content).hexdigest()
        url = f"https://127.0.0.1:{self.server.server_port}/agent/{digest}.pyz"
        return pb.AgentOffer(version=NEWER, digest=digest, url=url, size=len(content))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def files(bridge: GuestBridge, tmp_path: Path) -> Iterator[Files]:
    private = tmp_path / "private"
    private.mkdir()
    made = Files(bridge, private)
    yield made
    made.close()
