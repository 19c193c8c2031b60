"""virt-handler's Prometheus endpoint: the few series of it that the bridge reads, for guests that can be measured.

Names and labels: pkg/monitoring/metrics/virt-handler/domainstats in KubeVirt. No client certificate is asked for.
"""

import asyncio
import ssl
from pathlib import Path

from aiohttp import web

from kubelet_bridge.devcluster.devhost.domains import Domains
from kubelet_bridge.devcluster.devhost.runtime import GuestSpec, GuestUsage

_CPU, _RESIDENT = "kubevirt_vmi_cpu_usage_seconds_total", "kubevirt_vmi_memory_resident_bytes"


async def serve_metrics(domains: Domains, node: str, address: str, port: int, tls: ssl.SSLContext) -> None:
    """Serve for ever; a cluster made before there was a port for it has none."""
    runner = web.AppRunner(_application(domains, node), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        if port:
            await web.TCPSite(runner, address, port, ssl_context=tls).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def metrics_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS with virt-handler's certificate. Reads files: not for the event loop."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _application(domains: Domains, node: str) -> web.Application:
    async def metrics(_request: web.Request) -> web.Response:
        guests = [one.guest for one in domains.all() if one.guest.state.running]
        measured = [(guest.spec, usage) for guest in guests if (usage := await guest.usage()) is not None]
        return web.Response(text="".join(_series(node, measured)))

    application = web.Application()
    application.add_routes([web.get("/metrics", metrics)])
    return application


def _series(node: str, measured: list[tuple[GuestSpec, GuestUsage]]) -> list[str]:
    cpu, resident = [f"# TYPE {_CPU} counter\n"], [f"# TYPE {_RESIDENT} gauge\n"]
    for spec, usage in measured:
        labels = f'{{name="{spec.name}",namespace="{spec.namespace}",node="{node}"}}'
        cpu.append(f"{_CPU}{labels} {usage.cpu_seconds}\n")
        resident.append(f"{_RESIDENT}{labels} {usage.resident}\n")
    return [*cpu, *resident]
