"""Containers from OCI images, by podman: a small client of its REST API (libpod, v4) and a ``Driver`` over it.

One ``podman system service`` serves everything; containers outlive it and the agent (conmon watches them).
"""
