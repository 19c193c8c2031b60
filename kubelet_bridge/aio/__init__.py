"""Asyncio tools that know no Kubernetes: owned tasks, the keyed workqueue, backoff, fail points.

Anybody above may import this package; it imports nothing of ours.
"""
