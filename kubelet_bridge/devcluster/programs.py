"""The programs a cluster runs: which Go package each one is, and the versions that go.mod pins."""

import re
from pathlib import Path

import msgspec

from kubelet_bridge.errors import Terminal

GO_MODULES = Path(__file__).parent / "go"
OLDEST_KUBERNETES = (1, 35)


_CDI = "kubevirt.io/containerized-data-importer"


class Program(msgspec.Struct, frozen=True):
    """A program: its file name, the Go module here that builds it, and the package.

    Attributes:
        upstream: the package that ``package`` is a copy of, with what the module's ``patches.json`` says changed in it;
            empty when ``package`` is built as it is.
    """

    name: str
    module: str
    package: str
    upstream: str = ""


PROGRAMS = (
    Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Program("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    Program("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Program("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Program("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Program("virt-api", "kubevirt", "kubevirt.io/kubevirt/cmd/virt-api"),
    Program("virt-controller", "kubevirt", "kubevirt.io/kubevirt/cmd/virt-controller"),
    Program("kubevirt-manifests", "kubevirt", "./manifests"),
    Program("cdi-apiserver", "cdi", "./cdi-apiserver", f"{_CDI}/cmd/cdi-apiserver"),
    Program("cdi-controller", "cdi", "./cdi-controller", f"{_CDI}/cmd/cdi-controller"),
    Program("cdi-manifests", "cdi", "./manifests"),
)

OLD_KUBECTL = Program("kubectl", "oldkubectl", "k8s.io/kubernetes/cmd/kubectl")
"""1.29, which speaks SPDY only; no part of a cluster."""

HELM = Program("helm", "helm", "helm.sh/helm/v3/cmd/helm")
"""For the chart and its tests; no part of a cluster."""

_MAIN_REQUIREMENT = {
    "etcd": "go.etcd.io/etcd/server/v3", "kubernetes": "k8s.io/kubernetes", "oldkubectl": "k8s.io/kubernetes",
    "kubevirt": "kubevirt.io/kubevirt", "cdi": _CDI, "helm": "helm.sh/helm/v3",
}  # fmt: skip


def pinned_version(module: str) -> str:
    """The version our go.mod of ``module`` asks for, such as ``1.36.3``."""
    return _required(module, _MAIN_REQUIREMENT[module])


def _required(module: str, path: str) -> str:
    text = (GO_MODULES / module / "go.mod").read_text()
    found = re.search(rf"^(?:require)?\s+{re.escape(path)} v(\S+)", text, re.MULTILINE)
    if found is None:
        raise Terminal(f"go.mod of {module} names no version of {path}")
    return found[1]


def go_version(module: str) -> str:
    """The Go language version that building ``module`` needs."""
    found = re.search(r"^go (\S+)", (GO_MODULES / module / "go.mod").read_text(), re.MULTILINE)
    return found[1] if found else "1.26.0"


def check_kubernetes_version(text: str) -> str:
    """``1.36.3`` from ``1.36.3`` or ``v1.36.3``.

    Raises:
        Terminal: it is not a whole version, or too old for us.
    """
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise Terminal(f"Kubernetes version {text!r}: give all three numbers, such as {pinned_version('kubernetes')}")
    if (int(found[1]), int(found[2])) < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        raise Terminal(f"Kubernetes {text} is too old: the development cluster needs {oldest} or newer")
    return f"{found[1]}.{found[2]}.{found[3]}"


def linker_flags(module: str, version: str) -> str:
    """``-ldflags`` that leave symbols out and stamp the version as the projects' own release builds do."""
    stamps: dict[str, str] = {}
    if module in ("kubernetes", "oldkubectl"):
        major, minor, _ = version.split(".")
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            stamps |= {
                f"{package}.gitVersion": f"v{version}", f"{package}.gitMajor": major, f"{package}.gitMinor": minor,
            }  # fmt: skip
    elif module == "kubevirt":
        stamps["kubevirt.io/client-go/version.gitVersion"] = f"v{version}"
    elif module == "helm":
        stamps["helm.sh/helm/v3/internal/version.version"] = f"v{version}"
        minor = _required(module, "k8s.io/client-go").split(".")[1]
        for package in ("lint/rules", "chartutil"):  # the Kubernetes that is rendered for when no cluster is asked
            stamps |= {
                f"helm.sh/helm/v3/pkg/{package}.k8sVersionMajor": "1",
                f"helm.sh/helm/v3/pkg/{package}.k8sVersionMinor": minor,
            }  # fmt: skip
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])
