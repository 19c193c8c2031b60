"""kubelet-bridge: a virtual Kubernetes node whose Pods are KubeVirt virtual machines.

The corridor, read from top to bottom: a Pod (``kube.informer``) becomes an intent (``store``), the intent a
VirtualMachine (``translate``, ``reconcile``), the VirtualMachine's state a Pod status (``translate.podstatus``), and
that goes back to the Pod.
"""

__version__ = "0.1.0"
