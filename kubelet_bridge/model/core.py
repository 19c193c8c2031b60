"""The fields of core Kubernetes objects that we read or write. Field names are Kubernetes', in snake case.

Everything unknown is skipped while decoding: an object of a newer API server must never break us.
"""

from datetime import datetime
from typing import Any

import msgspec

from kubelet_bridge.model.meta import Condition, ObjectMeta


class _Spec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of every struct here: camelCase on the wire, absent fields take their default, defaults are not written."""


class KeySelector(_Spec, frozen=True):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class FieldSelector(_Spec, frozen=True):
    """``fieldRef`` of the downward API."""

    field_path: str = ""


class ResourceFieldSelector(_Spec, frozen=True):
    """``resourceFieldRef`` of the downward API."""

    resource: str = ""
    container_name: str = ""
    divisor: str | int | None = None


class EnvVarSource(_Spec, frozen=True):
    """Where an environment variable's value comes from: exactly one is set."""

    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    file_key_ref: dict[str, Any] | None = None


class EnvVar(_Spec, frozen=True):
    """One environment variable of a container."""

    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class ObjectSelector(_Spec, frozen=True):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class EnvFromSource(_Spec, frozen=True):
    """All keys of a ConfigMap or Secret as environment variables."""

    prefix: str = ""
    config_map_ref: ObjectSelector | None = None
    secret_ref: ObjectSelector | None = None


class ContainerPort(_Spec, frozen=True):
    """A declared port."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = msgspec.field(name="hostIP", default="")


class ResourceRequirements(_Spec, frozen=True):
    """Requests and limits, as the user wrote the quantities."""

    requests: dict[str, str | int | float] = {}
    limits: dict[str, str | int | float] = {}
    claims: list[dict[str, str]] = []


class HttpHeader(_Spec, frozen=True):
    """One header of an HTTP probe."""

    name: str = ""
    value: str = ""


class HttpGetAction(_Spec, frozen=True):
    """HTTP probe or hook."""

    port: int | str = 0
    path: str = ""
    host: str = ""
    scheme: str = ""
    http_headers: list[HttpHeader] = []


class TcpSocketAction(_Spec, frozen=True):
    """TCP probe."""

    port: int | str = 0
    host: str = ""


class ExecAction(_Spec, frozen=True):
    """A command inside the container."""

    command: list[str] = []


class GrpcAction(_Spec, frozen=True):
    """gRPC health probe."""

    port: int = 0
    service: str = ""


class Probe(_Spec, frozen=True):
    """A probe, with Kubernetes' defaults (seconds and counts)."""

    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    exec: ExecAction | None = None
    grpc: GrpcAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class SleepAction(_Spec, frozen=True):
    """A hook that only waits."""

    seconds: int = 0


class LifecycleHandler(_Spec, frozen=True):
    """What a hook does: exactly one is set."""

    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    exec: ExecAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(_Spec, frozen=True):
    """Hooks after a container's start and before its end, and the signal that ends it."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class Capabilities(_Spec, frozen=True):
    """Linux capabilities."""

    add: list[str] = []
    drop: list[str] = []


class SecurityContext(_Spec, frozen=True):
    """A container's security context."""

    privileged: bool = False
    capabilities: Capabilities | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    proc_mount: str | None = None
    se_linux_options: dict[str, Any] | None = None
    windows_options: dict[str, Any] | None = None


class PodSecurityContext(_Spec, frozen=True):
    """The Pod's security context."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    sysctls: list[dict[str, str]] = []
    supplemental_groups: list[int] = []
    windows_options: dict[str, Any] | None = None


class VolumeMount(_Spec, frozen=True):
    """Where a container mounts a volume."""

    name: str = ""
    mount_path: str = ""
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: str = ""


class VolumeDevice(_Spec, frozen=True):
    """A block volume in a container."""

    name: str = ""
    device_path: str = ""


class Container(_Spec, frozen=True):
    """A container, init container or ephemeral container (which alone has a ``target_container_name``)."""

    name: str = ""
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    ports: list[ContainerPort] = []
    env: list[EnvVar] = []
    env_from: list[EnvFromSource] = []
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: list[VolumeMount] = []
    volume_devices: list[VolumeDevice] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    image_pull_policy: str = ""
    security_context: SecurityContext | None = None
    restart_policy: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    termination_message_path: str = ""
    termination_message_policy: str = ""
    target_container_name: str = ""


class Toleration(_Spec, frozen=True):
    """A toleration."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class LocalReference(_Spec, frozen=True):
    """An object of the same namespace, by name."""

    name: str = ""


class PodOS(_Spec, frozen=True):
    """``spec.os``."""

    name: str = ""


class PodSpec(_Spec, frozen=True):
    """What the user wants. ``volumes`` stay dictionaries: one key besides ``name`` tells the source."""

    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    ephemeral_containers: list[Container] = []
    volumes: list[dict[str, Any]] = []
    restart_policy: str = "Always"
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    hostname: str = ""
    subdomain: str = ""
    hostname_override: str | None = None
    set_hostname_as_fqdn: bool = msgspec.field(name="setHostnameAsFQDN", default=False)
    dns_policy: str = ""
    dns_config: dict[str, Any] | None = None
    host_aliases: list[dict[str, Any]] = []
    host_network: bool = False
    host_pid: bool = msgspec.field(name="hostPID", default=False)
    host_ipc: bool = msgspec.field(name="hostIPC", default=False)
    host_users: bool | None = None
    share_process_namespace: bool | None = None
    node_selector: dict[str, str] = {}
    affinity: dict[str, Any] | None = None
    tolerations: list[Toleration] = []
    topology_spread_constraints: list[dict[str, Any]] = []
    priority_class_name: str = ""
    priority: int | None = None
    runtime_class_name: str | None = None
    scheduler_name: str = ""
    service_account_name: str = ""
    enable_service_links: bool | None = None
    image_pull_secrets: list[LocalReference] = []
    readiness_gates: list[dict[str, str]] = []
    resource_claims: list[dict[str, Any]] = []
    resources: ResourceRequirements | None = None
    overhead: dict[str, str | int | float] = {}
    security_context: PodSecurityContext | None = None
    os: PodOS | None = None


class ContainerStateRunning(_Spec, frozen=True):
    """Running since."""

    started_at: datetime | None = None


class ContainerStateWaiting(_Spec, frozen=True):
    """Waiting, and why."""

    reason: str = ""
    message: str = ""


class ContainerStateTerminated(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Ended, and how. ``exitCode`` is required by the API and must be written even when it is 0."""

    exit_code: int | msgspec.UnsetType = msgspec.UNSET
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    container_id: str = msgspec.field(name="containerID", default="")


class ContainerState(_Spec, frozen=True):
    """Exactly one of the three; none at all means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What is reported of a container; ``ready``, ``restartCount``, ``image`` and ``imageID`` are required by the API.

    Attributes:
        container_id: ``kubevirt://<VMI uid>``, or ``kubelet-bridge://<VMI uid>/<run>`` of one that an agent runs; it
            must change at each restart: probes, logs and crash detection are keyed on it.
    """

    name: str
    ready: bool | msgspec.UnsetType = msgspec.UNSET
    restart_count: int | msgspec.UnsetType = msgspec.UNSET
    image: str | msgspec.UnsetType = msgspec.UNSET
    image_id: str | msgspec.UnsetType = msgspec.field(name="imageID", default=msgspec.UNSET)
    container_id: str = msgspec.field(name="containerID", default="")
    state: ContainerState | None = None
    last_state: ContainerState | None = None
    started: bool | None = None
    resources: ResourceRequirements | None = None
    allocated_resources: dict[str, str | int | float] = {}


class Ip(_Spec, frozen=True):
    """One entry of ``podIPs`` or ``hostIPs``."""

    ip: str = ""


class PodStatus(_Spec, frozen=True):
    """What we report of a Pod, and what others have written there (``conditions``)."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    host_ip: str = msgspec.field(name="hostIP", default="")
    host_ips: list[Ip] = msgspec.field(name="hostIPs", default_factory=list)
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: list[Ip] = msgspec.field(name="podIPs", default_factory=list)
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []
    ephemeral_container_statuses: list[ContainerStatus] = []
    observed_generation: int = 0
    qos_class: str = ""


class Pod(_Spec, frozen=True):
    """A Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ConfigMap(_Spec, frozen=True):
    """A ConfigMap (``binaryData`` is for volumes; as environment a kubelet skips it, too)."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}


class Secret(_Spec, frozen=True):
    """A Secret; msgspec decodes the base64 of ``data``."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = ""
    data: dict[str, bytes] = {}


class ServicePort(_Spec, frozen=True):
    """A port of a Service."""

    port: int = 0
    name: str = ""
    protocol: str = "TCP"


class ServiceSpec(_Spec, frozen=True):
    """What service environment variables need."""

    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    ports: list[ServicePort] = []


class Service(_Spec, frozen=True):
    """A Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class NodeSpec(_Spec, frozen=True):
    """What we read of a real Node's spec."""

    unschedulable: bool = False
    taints: list[Toleration] = []


class NodeAddress(_Spec, frozen=True):
    """One address of a Node."""

    type: str = ""
    address: str = ""


class NodeStatusRead(_Spec, frozen=True):
    """What we read of a Node's status."""

    allocatable: dict[str, str | int | float] = {}
    capacity: dict[str, str | int | float] = {}
    conditions: list[Condition] = []
    addresses: list[NodeAddress] = []


class Node(_Spec, frozen=True):
    """A Node, as far as we read one."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatusRead = NodeStatusRead()


class ObjectReference(_Spec, frozen=True):
    """``involvedObject`` of an Event."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    field_path: str = ""


class Event(_Spec, frozen=True):
    """A core/v1 Event, as far as we read one."""

    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int = 0
