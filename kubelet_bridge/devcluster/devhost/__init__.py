"""The stand-in for one cloud host: the kubelet of a real Node, and virt-handler for the VirtualMachineInstances on it.

Everything else of the cluster is real, so this must speak to it exactly as the two originals do; where a file here
follows one of theirs, it says which. How a guest runs is behind ``runtime.GuestRuntime``. Read ``host`` first: it puts
the parts together. Imported by ``devcluster.commands`` and the tests, never by the daemon.
"""
