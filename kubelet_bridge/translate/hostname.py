"""The guest's name.

Source: ``GeneratePodHostNameAndDomain`` in ``pkg/kubelet/kubelet_pods.go``; KubeVirt takes a DNS label only.
"""

import re

from kubelet_bridge.model.core import Pod

_LONGEST = 63


def hostname(pod: Pod) -> str:
    """``hostnameOverride``, ``hostname`` or the Pod's name, cut to 63 characters and made a DNS label."""
    name = pod.spec.hostname_override or pod.spec.hostname or pod.metadata.name
    return re.sub(r"[^a-z0-9-]", "-", name.lower())[:_LONGEST].strip("-") or "pod"


def fqdn(pod: Pod, cluster_domain: str) -> str:
    """``HOST.SUBDOMAIN.NAMESPACE.svc.DOMAIN``; empty without a subdomain, or when the hostname is overridden."""
    if not pod.spec.subdomain or pod.spec.hostname_override:
        return ""
    return f"{hostname(pod)}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"
