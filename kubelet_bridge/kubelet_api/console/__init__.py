"""The serial console of a machine, shared by all who look at it: KubeVirt lets in one at a time, the newest.

``consoles`` knows those that are open, ``shared`` keeps one, ``viewer`` is one who looks, and ``workload`` makes of it
what exec and attach fall back to.
"""
