"""Which protocol is spoken over SPDY: chosen, or refused, in a kubelet's words (k8s.io/streaming, httpstream.go)."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from kubelet_bridge.kubelet_api.gate import plain

OFFERED = "X-Stream-Protocol-Version"
ACCEPTED = "X-Accepted-Stream-Protocol-Versions"


def asks_for_spdy(request: web.Request) -> bool:
    """Whether the request wants to become a SPDY connection."""
    connection = request.headers.get(hdrs.CONNECTION, "").lower()
    return "upgrade" in connection and "spdy/3.1" in request.headers.get(hdrs.UPGRADE, "").lower()


def negotiate(request: web.Request, supported: Sequence[str]) -> str | web.Response:
    """The first protocol the client offers that is ``supported``, or the answer that says why there is none."""
    if OFFERED not in request.headers:
        number = len(request.headers)
        return plain(400, f"unable to upgrade: header {OFFERED} does not exist in request with {number} headers")
    values = request.headers.getall(OFFERED)
    offered = [one.strip() for value in values for one in value.split(",") if one.strip()]
    if not offered:
        return plain(400, f"unable to upgrade: header {OFFERED} contains {_listed(values)}, but no valid protocols")
    chosen = next((one for one in offered if one in supported), None)
    if chosen is None:
        return _forbidden(offered, supported)
    if not asks_for_spdy(request):
        return plain(400, "unable to upgrade: missing upgrade headers in request")
    return chosen


def _forbidden(offered: Sequence[str], supported: Sequence[str]) -> web.Response:
    answer = plain(
        403,
        "unable to upgrade: unable to negotiate protocol: "
        f"client supports {_listed(offered)}, server accepts {_listed(supported)}",
    )
    for one in supported:
        answer.headers.add(ACCEPTED, one)
    return answer


def _listed(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"
