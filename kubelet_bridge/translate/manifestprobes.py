"""Probes and hooks for the agent: named ports resolved, Kubernetes' defaults filled in."""

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.core import Container, GrpcAction, HttpGetAction, LifecycleHandler, Probe, TcpSocketAction
from kubelet_bridge.translate.probes import UnknownPort, port_number


def probe(container: Container, spec: Probe | None) -> pb.Probe | None:
    """The probe as the agent carries it out; None when there is none, or its handler is of an unknown kind.

    Raises:
        UnknownPort: it names a port that its container does not declare.
    """
    if spec is None:
        return None
    action = _action(container, spec.http_get, spec.tcp_socket, spec.grpc)
    if spec.exec is not None:
        action = pb.Handler(exec=pb.Exec(command=spec.exec.command))
    if action is None:
        return None
    return pb.Probe(
        handler=action,
        initial_delay_seconds=spec.initial_delay_seconds,
        timeout_seconds=spec.timeout_seconds,
        period_seconds=spec.period_seconds,
        success_threshold=spec.success_threshold,
        failure_threshold=spec.failure_threshold,
        termination_grace_seconds=spec.termination_grace_period_seconds,
    )


def hook(container: Container, spec: LifecycleHandler | None) -> pb.Handler | None:
    """The hook as the agent carries it out; None when there is none.

    A port that nobody declares is no reason not to run the container: as with a kubelet, such a hook is left out.
    """
    if spec is None:
        return None
    if spec.exec is not None:
        return pb.Handler(exec=pb.Exec(command=spec.exec.command))
    if spec.sleep is not None:
        return pb.Handler(sleep_seconds=spec.sleep.seconds)
    try:
        return _action(container, spec.http_get, spec.tcp_socket, None)
    except UnknownPort:
        return None


def _action(
    container: Container, http: HttpGetAction | None, tcp: TcpSocketAction | None, grpc: GrpcAction | None
) -> pb.Handler | None:
    if http is not None:
        return pb.Handler(http_get=_http(container, http))
    if tcp is not None:
        return pb.Handler(tcp_socket=pb.TcpSocket(host=tcp.host, port=port_number(container, tcp.port)))
    if grpc is not None:
        return pb.Handler(grpc=pb.Grpc(port=grpc.port, service=grpc.service))
    return None


def _http(container: Container, action: HttpGetAction) -> pb.HttpGet:
    return pb.HttpGet(
        scheme=action.scheme or "HTTP",
        host=action.host,
        port=port_number(container, action.port),
        path=action.path or "/",
        headers=[pb.HttpHeader(name=one.name, value=one.value) for one in action.http_headers],
    )
