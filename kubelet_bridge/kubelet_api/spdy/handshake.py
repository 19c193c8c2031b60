"""Which protocol is spoken on a SPDY connection: the client offers some, the first that we know is taken.

As ``Handshake`` and ``UpgradeResponse`` of k8s.io/streaming's httpstream, with their statuses and words.
"""

from collections.abc import Sequence

from aiohttp import hdrs, web

from kubelet_bridge.kubelet_api.gate import plain

OFFERED = "X-Stream-Protocol-Version"
ACCEPTED = "X-Accepted-Stream-Protocol-Versions"


def negotiated(request: web.Request, supported: Sequence[str]) -> str | web.Response:
    """The protocol, or the refusal. ``supported`` is in the order in which a refusal names them."""
    values = request.headers.getall(OFFERED, None)
    if values is None:
        count = len(request.headers)
        return plain(400, f"unable to upgrade: header {OFFERED} does not exist in request with {count} headers")
    offered = [name.strip(" ") for value in values for name in value.split(",") if name.strip(" ")]
    if not offered:
        return plain(400, f"unable to upgrade: header {OFFERED} contains no valid protocols")
    chosen = next((name for name in offered if name in supported), None)
    if chosen is None:
        refusal = plain(
            403, "unable to upgrade: unable to negotiate protocol: "
            f"client supports [{' '.join(offered)}], server accepts [{' '.join(supported)}]",
        )  # fmt: skip
        for name in supported:
            refusal.headers.add(ACCEPTED, name)
        return refusal
    connection, upgrade = (request.headers.get(name, "").lower() for name in (hdrs.CONNECTION, hdrs.UPGRADE))
    if "upgrade" not in connection or "spdy/3.1" not in upgrade:
        return plain(400, "unable to upgrade: missing upgrade headers in request")
    return chosen
