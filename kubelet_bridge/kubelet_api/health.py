"""Named checks and their report, in the form of Kubernetes' healthz (apiserver/pkg/server/healthz)."""

from collections.abc import Callable, Collection, Mapping

from aiohttp import web

from kubelet_bridge.kubelet_api.gate import plain

Check = Callable[[], str | None]
"""None when all is well, else what is wrong."""


def report(
    path: str, checks: Mapping[str, Check], *, verbose: bool = False, exclude: Collection[str] = ()
) -> tuple[int, str]:
    """Status and text: ``ok``, or with ``verbose`` or a failure a line for each check."""
    faults = {name: check() for name, check in checks.items() if name not in exclude}
    lines = [f"[-]{name} failed: {fault}" if fault else f"[+]{name} ok" for name, fault in faults.items()]
    lines += [f"[+]{name} excluded: ok" for name in exclude if name in checks]
    title = path.strip("/")
    if any(faults.values()):
        return 500, "\n".join([*lines, f"{title} check failed"])
    return 200, "\n".join([*lines, f"{title} check passed"]) if verbose else "ok"


def routes(path: str, checks: Mapping[str, Check]) -> list[web.RouteDef]:
    """``path`` for all checks together (``?verbose``, ``?exclude=``), and ``path/NAME`` for each."""

    async def together(request: web.Request) -> web.Response:
        exclude = request.query.getall("exclude", [])
        status, text = report(path, checks, verbose="verbose" in request.query, exclude=exclude)
        return answer(status, text)

    async def single(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in checks:
            return plain(404, "404 page not found")
        return answer(*report(f"{path}/{name}", {name: checks[name]}))

    return [
        web.get(path, together, allow_head=False),
        web.get(f"{path}/{{name}}", single, allow_head=False),
    ]


def answer(status: int, text: str) -> web.Response:
    """The report as a response; ``ok`` comes without a newline, as clients compare it."""
    response = plain(status, text)
    if text == "ok":
        response.text = text
    return response
