"""Environment variables that tell a container where Services are.

Source: ``pkg/kubelet/envvars/envvars.go`` and ``getServiceEnvVarMap`` in Kubernetes.
"""

from collections.abc import Iterable

from kubelet_bridge.model.core import Service, ServicePort

_ALWAYS = ("default", "kubernetes")


def service_variables(services: Iterable[Service], namespace: str, *, links: bool) -> dict[str, str]:
    """Variables of ``default/kubernetes``, and with ``links`` of every Service of ``namespace`` that has an address."""
    visible: dict[str, Service] = {}
    for service in services:
        if service.spec.cluster_ip in ("", "None") or not service.spec.ports:
            continue
        where = (service.metadata.namespace, service.metadata.name)
        if where == _ALWAYS:
            visible.setdefault(service.metadata.name, service)
        elif links and service.metadata.namespace == namespace:
            visible[service.metadata.name] = service
    variables: dict[str, str] = {}
    for name in sorted(visible):
        variables |= _of_service(visible[name])
    return variables


def _of_service(service: Service) -> dict[str, str]:
    name, address, ports = _variable(service.metadata.name), service.spec.cluster_ip, service.spec.ports
    variables = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(ports[0].port)}
    variables |= {f"{name}_SERVICE_PORT_{_variable(port.name)}": str(port.port) for port in ports if port.name}
    variables[f"{name}_PORT"] = _url(address, ports[0])
    for port in ports:
        link = f"{name}_PORT_{port.port}_{_protocol(port).upper()}"
        variables |= {
            link: _url(address, port),
            f"{link}_PROTO": _protocol(port).lower(),
            f"{link}_PORT": str(port.port),
            f"{link}_ADDR": address,
        }
    return variables


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()


def _protocol(port: ServicePort) -> str:
    return port.protocol or "TCP"


def _url(address: str, port: ServicePort) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{_protocol(port).lower()}://{host}:{port.port}"
