"""Probes and lifecycle hooks, run in the guest as a kubelet runs them on its node.

``probes.Probes`` and ``hooks.Hooks`` are what the Pod's lifecycle uses; ``once`` answers the bridge's own questions;
``checks`` does one check, ``verdicts`` decides what a series of them means.
"""
