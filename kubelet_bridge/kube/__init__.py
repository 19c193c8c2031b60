"""Adapter for the API server: credentials, raw JSON client, watch, informer cache, KubeVirt subresources.

It transports and caches, and holds no rule about Pods. Imported by ``daemon``, ``cli`` and ``devcluster``; never by its
siblings.
"""
