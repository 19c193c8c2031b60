"""Words of the Kubernetes API that the way back is written in: phases, policies, reasons, condition types.

Sources, in Kubernetes: ``staging/src/k8s.io/api/core/v1/types.go``, ``pkg/kubelet/status/generate.go`` and
``pkg/kubelet/container``.
"""

from enum import StrEnum

from kubelet_bridge.model.meta import PREFIX


class Phase(StrEnum):
    """``Pod.status.phase``."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


TERMINAL = (Phase.SUCCEEDED, Phase.FAILED)


class RestartPolicy(StrEnum):
    """``Pod.spec.restartPolicy``."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


class RunStrategy(StrEnum):
    """``VirtualMachine.spec.runStrategy``: the ones that change what an absent instance means."""

    HALTED = "Halted"
    RERUN_ON_FAILURE = "RerunOnFailure"
    ONCE = "Once"


class Reason(StrEnum):
    """Reasons of Pods, conditions and container states, as the kubelet spells them; the last block is ours."""

    COMPLETED = "Completed"
    ERROR = "Error"
    OOM_KILLED = "OOMKilled"
    CONTAINER_STATUS_UNKNOWN = "ContainerStatusUnknown"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"

    CONTAINER_CREATING = "ContainerCreating"
    POD_INITIALIZING = "PodInitializing"
    CREATE_CONTAINER_ERROR = "CreateContainerError"
    CREATE_CONTAINER_CONFIG_ERROR = "CreateContainerConfigError"
    RUN_CONTAINER_ERROR = "RunContainerError"
    INVALID_IMAGE_NAME = "InvalidImageName"
    ERR_IMAGE_PULL = "ErrImagePull"
    ERR_IMAGE_NEVER_PULL = "ErrImageNeverPull"
    IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
    UNSCHEDULABLE = "Unschedulable"

    POD_COMPLETED = "PodCompleted"
    POD_FAILED = "PodFailed"
    CONTAINERS_NOT_READY = "ContainersNotReady"
    CONTAINERS_NOT_INITIALIZED = "ContainersNotInitialized"
    READINESS_GATES_NOT_READY = "ReadinessGatesNotReady"

    PROVISIONING = "Provisioning"
    POWERED_OFF = "PoweredOff"
    PAUSED = "Paused"
    STOPPED = "VirtualMachineStopped"
    MACHINE_ENDED = "VirtualMachineEnded"
    AGENT_CONNECTED = "Connected"
    AGENT_OUTDATED = "AgentOutdated"
    AGENT_AWAY = "Disconnected"
    AGENT_UNSEEN = "NotConnectedYet"
    AGENT_UNSERVED = "NoGuestServer"
    PLUGGED = "Plugged"
    PLUGGING = "Plugging"
    FAILED_ATTACH_VOLUME = "FailedAttachVolume"
    LOCAL_DISK = "LocalDisk"
    DISK_NOT_SHARED = "DiskNotShared"


class PodCondition(StrEnum):
    """``type`` of the Pod conditions that we write."""

    SCHEDULED = "PodScheduled"
    READY_TO_START_CONTAINERS = "PodReadyToStartContainers"
    INITIALIZED = "Initialized"
    CONTAINERS_READY = "ContainersReady"
    READY = "Ready"
    PAUSED = f"{PREFIX}/Paused"
    MIGRATING = f"{PREFIX}/Migrating"
    LIVE_MIGRATABLE = f"{PREFIX}/LiveMigratable"
    GUEST_AGENT_CONNECTED = f"{PREFIX}/GuestAgentConnected"
    DISKS_PLUGGED = f"{PREFIX}/DisksPlugged"
    PINNED_TO_NODE = f"{PREFIX}/PinnedToNode"


KUBELET_CONDITIONS = frozenset(
    {
        PodCondition.SCHEDULED,
        PodCondition.READY_TO_START_CONTAINERS,
        PodCondition.INITIALIZED,
        PodCondition.CONTAINERS_READY,
        PodCondition.READY,
    }
)
VM_CONDITIONS = frozenset(PodCondition) - KUBELET_CONDITIONS
