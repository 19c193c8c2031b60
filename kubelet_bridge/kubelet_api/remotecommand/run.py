"""``/run``: a command without streams, its output as the answer. Kubernetes itself has stopped using it."""

from aiohttp import web

from kubelet_bridge.errors import Terminal
from kubelet_bridge.kubelet_api.audit import Transfer, audited
from kubelet_bridge.kubelet_api.gate import plain
from kubelet_bridge.kubelet_api.ports import Ended, FindContainer, Process
from kubelet_bridge.kubelet_api.remotecommand.routes import container_of
from kubelet_bridge.kubelet_api.routing import served

_MOST = 16 * 1024 * 1024
"""Bytes of output: what a kubelet takes in one message of its container runtime (``maxMsgSize`` of cri-client)."""
_MOST_TOLD = 64 * 1024


class OutputTooLarge(Terminal):
    """A command wrote more than an answer may hold."""


def routes(find: FindContainer) -> list[web.RouteDef]:
    """With and without the Pod's uid."""

    async def run(request: web.Request) -> web.StreamResponse:
        container = container_of(request)
        workload = find(container)
        command = request.query.get("cmd", "").split(" ")  # as a kubelet does: no quoting
        subject = f"{container.namespace}/{container.pod}/{container.container}"
        with audited(request, "run", subject, command) as transfer:
            async with workload.exec(command, stdin=False, tty=False) as process:
                return await _answer(command, process, transfer)

    paths = ("/run/{namespace}/{pod}/{container}", "/run/{namespace}/{pod}/{uid}/{container}")
    return [route for path in paths for route in served(path, run, "POST")]


async def _answer(command: list[str], process: Process, transfer: Transfer) -> web.Response:
    """All of stdout, then all of stderr, labelled as JSON whatever it is: so does a kubelet (``writeJSONResponse``)."""
    stdout, stderr = bytearray(), bytearray()
    while (output := await process.read()) is not None:
        (stderr if output.stderr else stdout).extend(output.data)
        if len(stdout) + len(stderr) > _MOST:
            raise OutputTooLarge(f"the command wrote more than {_MOST} bytes")
    ended = await process.result()
    transfer.sent = len(stdout) + len(stderr)
    transfer.result = "error" if ended.error else f"exit code {ended.code}"
    if ended != Ended():
        return plain(500, ended.error or _failure(command, ended.code, bytes(stderr)))
    return web.Response(
        body=bytes(stdout + stderr), content_type="application/json", headers={"X-Content-Type-Options": "nosniff"}
    )


def _failure(command: list[str], code: int, stderr: bytes) -> str:
    told = stderr[:_MOST_TOLD].decode(errors="replace")
    return f"command '{' '.join(command)}' exited with {code}: {told}"
