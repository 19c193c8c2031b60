"""A real control plane on this machine for the demo and the tests: etcd, Kubernetes, KubeVirt, and a stand-in host.

Everything that has a real part runs the real part; only ``devhost`` plays a machine. Read ``cluster`` first, then
``bringup`` for the order of things. Imported by ``cli`` and the tests, never by the daemon.
"""
